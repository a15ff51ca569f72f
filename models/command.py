"""What the commands of this package have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable

from codenet.errors import CodenetError


def exit_status(work: Callable[[], int | None]) -> int:
    """Exit status of a command: 2, and the message on standard error, if ``work`` raises `CodenetError`; otherwise what it returns, None being 0."""
    try:
        return work() or 0
    except CodenetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
