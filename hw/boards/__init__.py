# SPDX-License-Identifier: Apache-2.0
"""Designs of boards around the accelerator: processor block, clock, reset, lights."""
