# SPDX-License-Identifier: Apache-2.0
"""A session: frames through a detector to outputs, for as long as there are any, whatever the camera does."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from codenet.errors import DeviceError, FormatError
from codenet.live.feed import Feed
from codenet.live.outputs import Output, Seen
from codenet.runtime.detector import Detector
from codenet.runtime.stream import Result, Stream
from codenet.vision.image import Source

DELAYS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each attempt to find a lost camera again; the last is that of all others."""

WINDOW = 2.0
"""Seconds over which frames are counted for their rate."""


@dataclass
class Controls:
    """What others may change while a session runs, from any thread.

    Attributes
    ----------
    threshold:
        Smallest score, in (0, 1), from the next frame on.
    profile:
        The next frame shall have its counters read; the session takes this back.
    """

    threshold: float
    profile: bool = False


class Rate:
    """Frames a second, over the last :data:`WINDOW` seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def tick(self, now: float) -> float:
        """Count a frame at ``now``, seconds; the rate so far, 0 for the first one."""
        self._times.append(now)
        while len(self._times) > 2 and now - self._times[0] > WINDOW:
            self._times.popleft()
        passed = now - self._times[0]
        return (len(self._times) - 1) / passed if passed > 0 else 0.0


class Session:
    """Runs in the thread that calls :meth:`run`.

    A camera that fails before its first frame is an error, afterwards it is lost: outputs are told so once, and it is
    opened again and again until frames come. A photo that cannot be read is left out.

    Parameters
    ----------
    detector:
        With no other stream open.
    outputs:
        Told in this order; they stay the caller's to close.
    workers:
        As of :meth:`codenet.runtime.detector.Detector.stream`.
    rate:
        Frames a second at most; ``None``: as they come.
    delays:
        Seconds, instead of :data:`DELAYS`.
    on_bad:
        Called with the error of each photo that is left out.
    """

    def __init__(
        self,
        detector: Detector,
        feed: Feed,
        outputs: Sequence[Output],
        *,
        controls: Controls | None = None,
        workers: int = 0,
        rate: float | None = None,
        delays: Sequence[float] | None = None,
        on_bad: Callable[[FormatError | OSError], object] = lambda error: None,
    ) -> None:
        self.controls = Controls(detector.threshold) if controls is None else controls
        self._detector, self._feed, self._outputs = detector, feed, outputs
        self._workers, self._delays, self._on_bad = workers, delays or DELAYS, on_bad
        self._period = 0.0 if rate is None else 1 / rate
        self._stop = threading.Event()
        self._opened = False
        self._failure: DeviceError | None = None
        self._lost = False
        self._number = 0

    def run(self) -> int:
        """Until the feed ends, or :meth:`stop`; how many frames there were.

        Raises
        ------
        DeviceError
            The camera cannot be opened, or the accelerator failed.
        FormatError, OSError
            The feed cannot be opened, or an output cannot write.
        """
        attempt = 0
        while not self._stop.is_set():
            before = self._number
            self._failure = None
            with closing(self._frames()) as frames:
                self._pass(frames)
            found = self._number > before
            if self._failure is not None:
                attempt = 0 if found else attempt
                self._tell_lost(str(self._failure))
                self._stop.wait(self._delays[min(attempt, len(self._delays) - 1)])
                attempt += 1
            elif not (self._feed.loop and found):
                break
        return self._number

    def stop(self) -> None:
        """Let :meth:`run` return after the frame that it is at; from any thread."""
        self._stop.set()

    def _frames(self) -> Generator[Source, None, None]:
        """Of the feed, opened anew, in its time. A camera's failure ends them, and is kept."""
        due = time.monotonic()
        try:
            with closing(self._feed.open()) as frames:  # type: ignore[type-var]
                for frame in frames:
                    self._opened = True
                    if self._stop.wait(max(0.0, due - time.monotonic())):
                        return
                    due = max(due, time.monotonic() - self._period) + self._period
                    yield frame
        except DeviceError as error:
            if not (self._feed.lasting and self._opened):
                raise
            self._failure = error

    def _pass(self, frames: Iterator[Source]) -> None:
        """Once through ``frames``."""
        rate = Rate()
        with self._detector.stream(frames, threshold=self.controls.threshold, workers=self._workers) as stream:
            while not self._stop.is_set():
                self._adjust(stream)
                try:
                    result = next(stream)
                except StopIteration:
                    return
                except (FormatError, OSError) as error:
                    if isinstance(error, DeviceError):  # A timeout is both.
                        raise
                    self._on_bad(error)
                    continue
                self._number += 1
                self._tell_back()
                seen = self._seen(result, rate.tick(time.monotonic()))
                for output in self._outputs:
                    output.seen(seen)

    def _adjust(self, stream: Stream) -> None:
        stream.threshold = self.controls.threshold
        if self.controls.profile:
            self.controls.profile = False
            stream.profile_next()

    def _seen(self, result: Result, rate: float) -> Seen:
        return Seen(
            number=self._number,
            time=time.time(),
            rate=rate,
            threshold=self.controls.threshold,
            clock_hz=self._detector.device.clock_hz,
            **vars(result),
        )

    def _tell_lost(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            for output in self._outputs:
                output.lost(reason)

    def _tell_back(self) -> None:
        if self._lost:
            self._lost = False
            for output in self._outputs:
                output.back(self._feed.name)
