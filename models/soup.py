# SPDX-License-Identifier: Apache-2.0
"""The mean of several checkpoints' weights, one network that is often better than each:
``python -m models.soup CHECKPOINT CHECKPOINT ... -o FILE``.

A model soup (Wortsman et al., *Model soups: averaging weights of multiple fine-tuned models*, ICML 2022). It works
where all were fine-tuned from the same network, or one from another, so that their weights lie in one basin of the
loss; not for networks that were trained apart, nor for quantized ones that were calibrated apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codenet import command
from codenet.errors import CodenetError
from models.command import check_outputs
from models.network.checkpoints import load_checkpoint, mean_state, write_checkpoint

#: What all checkpoints of a soup must have in common, and what of them it has. A checkpoint of W4A8 has no precision.
IDENTITY = ("kind", "config", "classes", "precision")


def _check_fits(path: Path, checkpoint: dict[str, Any], first: dict[str, Any], first_path: Path) -> None:
    """`CodenetError` naming ``path`` unless its checkpoint is of the same network as the first, with the same keys and
    shapes.
    """
    for key in IDENTITY:
        if checkpoint.get(key) != first.get(key):
            raise CodenetError(
                f"checkpoint {path}: {key} is {checkpoint.get(key)!r}, expected {first.get(key)!r} as in {first_path}"
            )
    state, expected = checkpoint["average"], first["average"]
    if different := expected.keys() ^ state.keys():
        raise CodenetError(f"checkpoint {path}: {min(different)}: only in some of the states, expected in all")
    for key, value in expected.items():
        if state[key].shape != value.shape:
            raise CodenetError(
                f"checkpoint {path}: {key}: shape is {list(state[key].shape)}, expected {list(value.shape)}"
            )


def soup(paths: Sequence[Path]) -> dict[str, Any]:
    """A checkpoint's content with the mean of the averaged weights of those at ``paths``; no training can resume from
    it.

    `CodenetError` for fewer than two, and naming the file that is no checkpoint or of another network than the first.
    """
    if len(paths) < 2:
        raise CodenetError(f"{len(paths)} checkpoints, expected at least 2")
    checkpoints = [load_checkpoint(path) for path in paths]
    first = checkpoints[0]
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        _check_fits(path, checkpoint, first, paths[0])
    average = mean_state([checkpoint["average"] for checkpoint in checkpoints])
    return {**{key: first[key] for key in IDENTITY if key in first}, "network": average, "average": average}


def _run(options: argparse.Namespace) -> None:
    if options.output.exists():
        raise CodenetError(f"{options.output}: exists, expected a new file")
    check_outputs([options.output])
    state = soup(options.checkpoints)
    write_checkpoint(state, options.output, keep=False)


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for checkpoints that do not fit one another."""
    parser = command.Parser(prog="python -m models.soup", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path, help="of the same network, floating-point or quantized")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new checkpoint")
    options = parser.parse_args(arguments)
    return command.run("models.soup", lambda: _run(options))


if __name__ == "__main__":
    sys.exit(main())
