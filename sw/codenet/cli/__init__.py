# SPDX-License-Identifier: Apache-2.0
"""The command ``codenet`` and its parts."""

from __future__ import annotations

from collections.abc import Sequence

from codenet.command import run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status. An interrupt while all is imported, seconds on a board, is one line
    too.
    """

    def work() -> int:
        from codenet.cli.command import main

        return main(arguments)

    return run("codenet", work)
