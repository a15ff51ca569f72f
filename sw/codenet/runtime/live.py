# SPDX-License-Identifier: Apache-2.0
"""A stream of results for people to look at: pictures with boxes a few times a second, frame rate, where the time goes.

What a notebook shows, kept where tests reach it. Nothing here needs Jupyter; with it, pictures appear in the notebook.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from PIL import Image

from codenet.runtime.stream import Stream, Times
from codenet.vision.draw import caption, draw

View: TypeAlias = Callable[[Image.Image], None]
"""Shows a picture in the place of the one before."""


@dataclass(frozen=True)
class Summary:
    """Of :func:`watch`: ``times`` are means over the frames, ``pictures`` how many of them were shown."""

    frames: int
    pictures: int
    seconds: float
    times: Times
    clock_hz: float | None

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        t = self.times
        accelerator = f"{t.cycles} cycles" if t.cycles else "no clock"
        if t.cycles and self.clock_hz:
            accelerator += f", {1e3 * t.cycles / self.clock_hz:.2f} ms"
        return (
            f"{self.frames} frames in {self.seconds:.1f} s: {self.rate:.1f} a second; each: prepare {t.prepare_ms:.2f} "
            f"ms, wait {t.wait_ms:.2f} ms, decode {t.decode_ms:.2f} ms, accelerator {accelerator}"
        )


def watch(
    stream: Stream,
    view: View,
    *,
    seconds: float = float("inf"),
    pictures_per_second: float = 5.0,
    clock_hz: float | None = None,
) -> Summary:
    """Run a stream, and show what it finds.

    Drawing takes longer than finding: only some pictures are shown, the first and, for each, the frame that is there
    when it is due.

    Parameters
    ----------
    stream:
        Closed at the end, and when the keyboard (or Jupyter's stop button) interrupts, which ends the watching and not
        more.
    seconds:
        How long; at least one frame.
    clock_hz:
        Of the accelerator, for the summary.
    """
    total, count, pictures = Times(), 0, 0
    begin = time.perf_counter()
    due = begin
    try:
        with stream:
            for result in stream:
                count += 1
                for name, value in vars(result.times).items():
                    setattr(total, name, getattr(total, name) + value)
                now = time.perf_counter()
                if now >= due:
                    picture = draw(result.photo, result.detections)
                    caption(picture, f"{count / (now - begin):.1f} frames a second")
                    view(picture)
                    pictures += 1
                    due = now + 1 / pictures_per_second
                if now - begin >= seconds:
                    break
    except KeyboardInterrupt:
        pass
    elapsed = time.perf_counter() - begin
    share = max(count, 1)
    mean = Times(total.prepare_ms / share, total.wait_ms / share, total.decode_ms / share, round(total.cycles / share))
    return Summary(count, pictures, elapsed, mean, clock_hz)


def notebook_view() -> View:
    """A view in the output of a notebook's cell; without Jupyter, one that keeps pictures to itself."""
    try:
        from IPython import display
    except ImportError:
        return lambda picture: None
    handle: Any = None

    def show(picture: Image.Image) -> None:
        nonlocal handle
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=80)
        image = display.Image(data=data.getvalue(), format="jpeg")
        if handle is None:
            handle = display.display(image, display_id=True)
        else:
            handle.update(image)

    return show
