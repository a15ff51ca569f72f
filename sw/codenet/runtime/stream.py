# SPDX-License-Identifier: Apache-2.0
"""Photos through an accelerator, one after the other, with two frames in flight.

While the accelerator runs, the next photo is made ready in its other input; as soon as it has finished, the next frame
is started, and only then the last one's peaks are read. A frame takes as long as the slower of the two.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

import numpy as np

from codenet.errors import ConfigError
from codenet.fit import Placement
from codenet.program import InputLayout
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.frame import Outputs
from codenet.runtime.profile import StepProfile
from codenet.vision.boxes import Detection
from codenet.vision.image import Levels, Prepared, Source, prepare

Decoder: TypeAlias = "Callable[[Outputs, Placement], list[Detection]]"
"""From outputs and where the photo lies in the input to detections."""


@dataclass
class Times:
    """Where a frame's time went, in milliseconds on the wall of the host.

    Attributes
    ----------
    prepare_ms:
        Decoding the photo, fitting it into the input, and writing the accelerator's input.
    wait_ms:
        Waiting for the accelerator, beyond what ran meanwhile.
    decode_ms:
        From peaks to detections.
    cycles:
        Of the accelerator; 0 where the device has no clock.
    """

    prepare_ms: float = 0.0
    wait_ms: float = 0.0
    decode_ms: float = 0.0
    cycles: int = 0


@dataclass(frozen=True)
class Result:
    """What was found in a photo.

    Attributes
    ----------
    photo:
        What was given.
    photo_size:
        Its height and width in pixels, upright: what boxes are in.
    profile:
        Counters of each step, if :meth:`Stream.profile_next` asked for them.
    """

    photo: Source
    detections: list[Detection]
    times: Times
    photo_size: tuple[int, int]
    profile: list[StepProfile] | None = None


@dataclass
class _Job:
    """A photo on its way. ``error``: why it will not arrive."""

    photo: Source
    times: Times = field(default_factory=Times)
    placement: Placement | None = None
    error: Exception | None = None
    started: bool = False


class Stream:
    """Iterator over the results of photos, in their order (:meth:`codenet.runtime.detector.Detector.stream`).

    What is wrong with one photo is raised in its place, and so is what the device says to one frame: ``next`` goes on
    with the photo after it. An error of ``photos`` itself comes after the results of the photos before it, and ends the
    stream.

    Close it (it is a context manager; the end of ``photos``, and Python when nobody holds it any more, do it too):
    until then a frame may be running, and the accelerator takes no other.

    Parameters
    ----------
    accelerator:
        Opened with ``frames=2``.
    photos:
        One is taken from it while the one before is in the accelerator.
    decode:
        Makes detections of outputs.
    score:
        Smallest of a peak, as :meth:`codenet.runtime.accelerator.Accelerator.start` takes it.
    levels:
        As of :func:`codenet.vision.image.load`.
    workers:
        Threads that prepare photos ahead: so many more are taken from ``photos`` before the first result is given.
    brief:
        Others wait for it instead of being told that the accelerator is busy.

    Raises
    ------
    ConfigError
        ``workers`` is negative, or no integer.
    """

    _closed = True  # Until there is something to close.

    def __init__(
        self,
        accelerator: Accelerator,
        photos: Iterable[Source],
        decode: Decoder,
        *,
        score: float | None,
        levels: Levels | None,
        workers: int,
        brief: bool,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int | np.integer) or workers < 0:
            raise ConfigError(f"workers {workers!r}: expected 0 or more threads")
        self._accelerator = accelerator
        self._photos = iter(photos)
        self._decode = decode
        self._score = score
        self._profile_wanted = False
        self._levels = levels
        self._workers = int(workers)
        self._brief = brief
        self._claimed = False
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[_Job, Future[Prepared]]] = deque()
        self._exhausted = False
        self._current: _Job | None = None
        self._following: _Job | None = None
        if workers > 0:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="codenet-prepare")
        self._closed = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Result:
        """The next result.

        Raises
        ------
        DeviceError
            Another stream of the accelerator is open; or the device failed.
        FormatError, OSError
            Something is wrong with the photo.
        """
        if self._closed:
            raise StopIteration
        if not self._claimed:
            self._accelerator.claim.take("a call" if self._brief else "a stream", brief=self._brief)
            self._claimed = True
        if self._current is None:
            self._current = self._prepared()
        job = self._current
        if job is None:
            self.close()
            raise StopIteration
        self._start(job)
        if self._following is None:
            self._following = self._prepared()
        try:
            outputs = self._finish(job)
            profile = self._profile()
        finally:
            self._current, self._following = self._following, None
            if self._current is not None:
                self._start(self._current)
        begin = time.perf_counter()
        assert job.placement is not None, "a frame runs only with its photo in place"
        detections = self._decode(outputs, job.placement)
        job.times.decode_ms = _since(begin)
        return Result(job.photo, detections, job.times, job.placement.photo_size, profile)

    @property
    def threshold(self) -> float | None:
        """Smallest score of frames that are started from now on; ``None``: the program's own.

        Raises
        ------
        GraphError
            Set to what is not within (0, 1).
        """
        return self._score

    @threshold.setter
    def threshold(self, score: float) -> None:
        self._accelerator.program.threshold_for(score)
        self._score = score

    def profile_next(self) -> None:
        """Let the next result have its ``profile``. Reading the counters keeps the accelerator waiting meanwhile.

        On a device that is shared, ``next`` raises DeviceError if another program's frame came between.
        """
        self._profile_wanted = True

    def close(self) -> None:
        """Stop the frame that runs; no more results. Calling it twice does no harm."""
        self._close(self._accelerator.stop)

    def _close(self, stop: Callable[[], None]) -> None:
        if self._closed:
            return
        self._closed = True
        if self._pool is not None:
            # What a worker makes now is its own, and goes with it.
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._ahead.clear()
        if self._claimed:
            if self._current is not None and self._current.started:
                stop()
            self._accelerator.claim.release()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            self._close(self._accelerator.abandon)

    def _profile(self) -> list[StepProfile] | None:
        """Of the frame that has just finished, as long as no other runs."""
        if not self._profile_wanted:
            return None
        self._profile_wanted = False
        return self._accelerator.profile()

    def _prepared(self) -> _Job | None:
        """The next photo, in the accelerator's free input if nothing is wrong with it; ``None`` at the end."""
        while not self._exhausted and len(self._ahead) <= self._workers:
            self._take()
        if not self._ahead:
            return None
        job, prepared = self._ahead.popleft()
        try:
            small = prepared.result()
            begin = time.perf_counter()
            small.write(self._accelerator.pixels)
            job.times.prepare_ms += _since(begin)
            job.placement = small.placement
        except Exception as error:  # Whatever it is, it is this photo's, and not of the one that runs.
            job.error = error
        return job

    def _take(self) -> None:
        prepared: Future[Prepared] = Future()
        layout = self._accelerator.program.input
        try:
            job = _Job(next(self._photos))
        except StopIteration:
            self._exhausted = True
            return
        except Exception as error:
            self._exhausted = True
            job = _Job("")
            prepared.set_exception(error)
        else:
            if self._pool is not None:
                prepared = self._pool.submit(_prepare, job, layout, self._levels)
            else:
                try:
                    prepared.set_result(_prepare(job, layout, self._levels))
                except Exception as error:
                    prepared.set_exception(error)
        self._ahead.append((job, prepared))

    def _start(self, job: _Job) -> None:
        if job.error is not None or job.started:
            return
        try:
            self._accelerator.start(score=self._score)
            job.started = True
        except Exception as error:
            job.error = error

    def _finish(self, job: _Job) -> Outputs:
        if job.error is not None:
            raise job.error
        begin = time.perf_counter()
        outputs = self._accelerator.finish()
        job.times.wait_ms = _since(begin)
        job.times.cycles = outputs.cycles
        return outputs


def _prepare(job: _Job, layout: InputLayout, levels: Levels | None) -> Prepared:
    """In a worker's thread, which must not hold the stream: then nobody would close it while a photo is slow."""
    begin = time.perf_counter()
    small = prepare(job.photo, layout.height, layout.width, layout.fit, levels=levels)
    job.times.prepare_ms = _since(begin)
    return small


def _since(begin: float) -> float:
    return 1e3 * (time.perf_counter() - begin)
