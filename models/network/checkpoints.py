# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on disk: written so that a kill at any moment leaves a whole one, read with clear errors."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from codenet import files
from codenet.errors import CodenetError
from models.network.config import NetworkConfig
from models.network.detector import CoDeNet

logger = logging.getLogger(__name__)


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at ``path`` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write_checkpoint(state: dict[str, Any], path: Path, keep: bool = True) -> None:
    """Write ``state`` to ``path``; what was there is kept as `previous` if ``keep``.

    The new file is complete on the disk before it takes the name, so that a kill or a power cut leaves the old one.
    OSError naming ``path`` if it cannot be written, on a full disk for example.
    """
    content = io.BytesIO()  # a full disk then is an OSError, where PyTorch's own writer raises others
    torch.save(state, content)
    with files.writing(path) as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())  # before the old one is moved
        if keep:
            with contextlib.suppress(FileNotFoundError):
                path.replace(previous(path))
    with contextlib.suppress(OSError):  # not all file systems can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def compact(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy of a network's state on the CPU with its convolution weights in float16: what ``load_state_dict`` takes at
    half the size.

    Norms and biases stay: variances reach beyond float16, and they are few.
    """
    return {key: (v.half() if v.ndim == 4 else v).detach().cpu().clone() for key, v in state.items()}


def mean_state(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of states with the same keys and shapes, in the first one's dtypes; of integers (counters) the first
    one's.
    """
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for key, value in states[0].items()
    }


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; `CodenetError` naming the file if it is none."""
    state = read_torch(path, "checkpoint")
    if not isinstance(state, dict) or not {"kind", "network", "average", "config", "classes"} <= state.keys():
        raise CodenetError(
            f"checkpoint {path}: not a checkpoint of this project, expected one of models.train or models.qat"
        )
    return state


def read_torch(path: Path, what: str) -> Any:
    """Content of a PyTorch file of tensors and plain values; `CodenetError` that calls it ``what`` if it is none, or
    its checksums do not match.
    """
    try:
        _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CodenetError(f"{what} {path}: cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise CodenetError(
            f"{what} {path}: no PyTorch file, or one with more than tensors and plain values, which is not loaded"
        ) from error
    except Exception as error:  # torch.load raises many kinds
        raise CodenetError(f"{what} {path}: no PyTorch file, or a damaged one") from error


def _check_sums(path: Path) -> None:
    """BadZipFile if a member of the archive is damaged: PyTorch does not look at their checksums."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged}: checksum does not match")


def misfit(error: RuntimeError | TypeError) -> str:
    """The first of the faults that `load_state_dict` finds, in short."""
    lines = str(error).splitlines()
    return textwrap.shorten(lines[min(1, len(lines) - 1)], 200, placeholder=" ...")


def restore(path: Path, network: CoDeNet, state: dict[str, Any]) -> CoDeNet:
    """``network`` with the averaged weights of ``state``, the checkpoint at ``path``; in evaluation mode.

    `CodenetError` if they are of another network.
    """
    try:
        network.load_state_dict(state["average"])
    except (RuntimeError, TypeError) as error:
        raise CodenetError(f"checkpoint {path}: its weights do not fit its configuration: {misfit(error)}") from error
    return network.eval()


def described_network(path: Path, state: dict[str, Any]) -> CoDeNet:
    """A new network of the configuration and classes of the checkpoint ``state``; `CodenetError` if these are none."""
    try:
        return CoDeNet(NetworkConfig.from_dict(state["config"]), tuple(state["classes"]))
    except (TypeError, AttributeError) as error:
        raise CodenetError(f"checkpoint {path}: its configuration is none of this version: {error}") from error


def load_newest(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint at ``path``, or the one before it if that is missing or cannot be read; None if there is neither.

    `CodenetError` if there are files, and none of them can be read.
    """
    problem = None
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            return candidate, load_checkpoint(candidate)
        except CodenetError as error:
            problem = problem or error
            logger.warning("%s", error)
    if problem is not None:
        raise CodenetError(f"{problem}; nor is there an older one that can be: start anew with --overwrite")
    return None


def load_network(path: Path) -> CoDeNet:
    """The averaged floating-point network of a checkpoint, in evaluation mode."""
    state = load_checkpoint(path)
    if state["kind"] != "float":
        raise CodenetError(f"checkpoint {path}: kind is {state['kind']!r}, expected 'float'")
    return restore(path, described_network(path, state), state)


def float_identity(network: CoDeNet) -> dict[str, Any]:
    """What a checkpoint must have in common with the network that resumes from it."""
    return {"kind": "float", "config": network.config.to_dict(), "classes": list(network.classes)}


def start_from(network: CoDeNet, path: Path) -> None:
    """Take the averaged weights of another run's checkpoint; `CodenetError` if they are of another shape.

    A network with another number of classes keeps the last layer of its heatmap, and takes the rest: so one starts from
    a shipped detector with classes of one's own.
    """
    state, own = dict(load_checkpoint(path)["average"]), network.state_dict()
    for key in ("heads.heatmap.out.weight", "heads.heatmap.out.bias"):
        if key in state and state[key].shape[1:] == own[key].shape[1:]:
            state[key] = state[key] if len(state[key]) == len(own[key]) else own[key]
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CodenetError(
            f"checkpoint {path}: does not fit a network {network.config.name}: {misfit(error)}"
        ) from error
