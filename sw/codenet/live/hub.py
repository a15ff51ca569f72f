# SPDX-License-Identifier: Apache-2.0
"""The latest picture, for any number of viewers: encoded once, when the first of them wants it, and never for nobody.

A viewer says which version it has, and gets the newest one as soon as there is another. One that is slow misses
pictures; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from codenet.live.outputs import Output, Seen
from codenet.live.session import Controls
from codenet.registers import ProfileCounter
from codenet.runtime.profile import StepProfile
from codenet.vision.draw import COLOURS
from codenet.vision.image import Levels, Source, load

logger = logging.getLogger(__name__)

SIDE = 1280
"""Pixels of the longer side of a picture, at most."""

QUALITY = 80


class Hub(Output):
    """What viewers see. The methods of an output are for any thread, the coroutines for that of ``loop``.

    Parameters
    ----------
    about:
        What never changes, for the page.
    rate:
        Pictures a second, at most.

    Attributes
    ----------
    encodings:
        How many pictures have been encoded.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        about: dict[str, Any] | None = None,
        *,
        rate: float = 15.0,
        levels: Levels | None = None,
    ) -> None:
        self.encodings = 0
        self._loop, self._levels = loop, levels
        self._about = {"colours": ["#" + bytes(colour).hex() for colour in COLOURS], **(about or {})}
        self._period, self._due = 1 / rate, 0.0
        self._version = 0
        self._seen: Seen | None = None
        self._lost: str | None = None
        self._profile: list[StepProfile] | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._encoding: asyncio.Task[bytes] | None = None
        self._encoded = 0
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._pool = ThreadPoolExecutor(1, "codenet-encode")

    def seen(self, seen: Seen) -> None:
        changes: dict[str, Any] = {} if seen.profile is None else {"_profile": seen.profile}
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._period
            changes |= {"_seen": seen, "_lost": None}
        if changes:
            self._tell(**changes)

    def lost(self, reason: str) -> None:
        self._tell(_lost=reason)

    def back(self, name: str) -> None:
        self._tell(_lost=None)

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    async def picture(self, version: int) -> bytes:
        """The newest version, as soon as it is not ``version``: :func:`pack` of what is seen and a JPEG, empty before
        the first frame.
        """
        while self._version == version:
            await self._changed()
        # One at a time: what is being encoded is newer than what anybody has.
        if self._encoding is None or (self._encoding.done() and self._encoded != self._version):
            self._encoded = self._version
            self._encoding = self._loop.create_task(self._encode())
        return await asyncio.shield(self._encoding)

    async def profile(self, controls: Controls) -> dict[str, Any]:
        """That of the next frame, which is asked for, as JSON has it: names of counters, name and counts of steps."""
        self._profile = None
        controls.profile = True
        while self._profile is None:
            await self._changed()
        counters = list(ProfileCounter)[: ProfileCounter.READ_BEATS]
        return {
            "counters": [counter.name.lower() for counter in counters],
            "steps": [{"name": s.name, "counts": [s[counter] for counter in counters]} for s in self._profile],
        }

    def _tell(self, **changes: Any) -> None:
        """Make changes and wake all who wait, in the loop's thread."""

        def tell() -> None:
            vars(self).update(changes)
            self._version += "_lost" in changes  # A profile alone is nothing to see.
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell)

    async def _changed(self) -> None:
        future = self._loop.create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    async def _encode(self) -> bytes:
        seen = self._seen
        value = {
            "version": self._version,
            "lost": self._lost,
            "about": self._about,
            "seen": None if seen is None else seen.to_dict(),
        }
        if seen is not None and seen.number != self._jpeg[0]:
            self.encodings += 1
            self._jpeg = (
                seen.number,
                await self._loop.run_in_executor(self._pool, encode, seen.photo, self._levels),
            )
        return pack(value, self._jpeg[1])


def encode(photo: Source, levels: Levels | None = None) -> bytes:
    """A photo as a JPEG of at most :data:`SIDE` pixels a side; empty if it cannot be read any more."""
    data = io.BytesIO()
    try:
        image = load(photo, levels=levels)
        image.thumbnail((SIDE, SIDE))
        image.save(data, "JPEG", quality=QUALITY)
    except Exception as error:  # A file that has changed since must not end anything.
        logger.warning("no picture for the page: %s", error)
        return b""
    return data.getvalue()


def pack(value: dict[str, Any], picture: bytes) -> bytes:
    """JSON and a picture in one piece: the length of the JSON in four bytes, most significant first, and both."""
    text = json.dumps(value, separators=(",", ":")).encode()
    return len(text).to_bytes(4, "big") + text + picture
