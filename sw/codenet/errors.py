# SPDX-License-Identifier: Apache-2.0
"""Errors that CoDeNet raises on purpose. Every message names the thing, its value and what was expected."""


class CodenetError(Exception):
    """Base of all errors raised on purpose by this project."""


class ConfigError(CodenetError, ValueError):
    """A configuration value is outside what the accelerator supports."""


class GraphError(CodenetError, ValueError):
    """A graph is malformed: unknown tensor, wrong shape, dtype or range."""


class CompileError(CodenetError):
    """A valid graph cannot be mapped to the accelerator; names the operation, its shape and the limit it breaks."""


class FormatError(CodenetError, ValueError):
    """A file (graph, program, photo) is truncated, corrupted, of another version or not of its kind."""


class DamagedError(FormatError):
    """Data differ from the checksum that is kept beside them."""


class DeviceError(CodenetError, RuntimeError):
    """A device is missing, does not answer, does not match the program, or reported an error."""


class DeviceTimeout(DeviceError, TimeoutError):
    """A device did not finish in time; the message has step, status, error cause and counters."""
