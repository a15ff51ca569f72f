# SPDX-License-Identifier: Apache-2.0
"""Who has an accelerator's inputs and frames: one stream at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from codenet.errors import DeviceError


@dataclass(frozen=True)
class _Owner:
    what: str
    thread: threading.Thread
    brief: bool

    def __str__(self) -> str:
        return f"{self.what} of {self.thread.name}"


class Claim:
    """One owner at a time of what ``name`` says."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._change = threading.Condition()
        self._owner: _Owner | None = None

    def take(self, what: str, *, brief: bool) -> None:
        """Become the owner, until :meth:`release`; ``what`` the owner is, is for others to read.

        A ``brief`` owner in another thread is waited for.

        Raises
        ------
        DeviceError
            There is another owner.
        """
        thread = threading.current_thread()
        with self._change:
            while self._owner is not None:
                if not self._owner.brief or self._owner.thread is thread:
                    raise DeviceError(f"{self._name} is busy with {self._owner}; close it first")
                self._change.wait()
            self._owner = _Owner(what, thread, brief)

    def release(self) -> None:
        """Let others take it."""
        with self._change:
            self._owner = None
            self._change.notify()
