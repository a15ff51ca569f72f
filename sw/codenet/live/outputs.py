# SPDX-License-Identifier: Apache-2.0
"""Where the boxes of a session go: what every output is told, and those that need neither network nor page."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from codenet import files
from codenet.runtime.profile import StepProfile
from codenet.runtime.stream import Times
from codenet.vision.boxes import Detection
from codenet.vision.draw import draw
from codenet.vision.image import Levels, Source

PICTURE = re.compile(r"codenet-\d{8}T\d{6}\.\d{6}Z\.jpg")
"""Names of the pictures that :class:`Pictures` writes, and may remove."""


@dataclass(frozen=True)
class Seen:
    """A frame, and what was found in it.

    Attributes
    ----------
    number:
        From 1.
    time:
        When it was done, seconds since 1970.
    photo, photo_size, detections, times, profile:
        As of :class:`codenet.runtime.stream.Result`.
    rate:
        Frames a second, lately.
    threshold:
        Smallest score asked for.
    clock_hz:
        Of the accelerator, if it has a clock.
    """

    number: int
    time: float
    photo: Source
    photo_size: tuple[int, int]
    detections: list[Detection]
    times: Times
    rate: float
    threshold: float
    clock_hz: float | None = None
    profile: list[StepProfile] | None = None

    @property
    def accelerator_ms(self) -> float | None:
        """Milliseconds of the accelerator; ``None`` without a clock."""
        return 1e3 * self.times.cycles / self.clock_hz if self.times.cycles and self.clock_hz else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Boxes are left, top, right, bottom in pixels of the photo; times in milliseconds."""
        height, width = self.photo_size
        times = {name: round(value, 3) for name, value in vars(self.times).items()}
        milliseconds = self.accelerator_ms
        return {
            "frame": self.number,
            "time": round(self.time, 3),
            "file": os.fspath(self.photo) if isinstance(self.photo, str | os.PathLike) else None,
            "width": width,
            "height": height,
            "detections": [
                {
                    "label": d.label,
                    "class_index": d.class_index,
                    "score": round(d.score, 4),
                    "box": [round(edge, 2) for edge in d.box],
                }
                for d in self.detections
            ],
            "times": {**times, "accelerator_ms": None if milliseconds is None else round(milliseconds, 3)},
            "rate": round(self.rate, 2),
            "threshold": self.threshold,
        }


class Output:
    """What a session tells its outputs, in its thread; none of it may take long. Nothing is done with it here."""

    def seen(self, seen: Seen) -> None:
        """A frame is done."""

    def lost(self, reason: str) -> None:
        """The camera is gone, and waited for."""

    def back(self, name: str) -> None:
        """The camera ``name`` is there again."""

    def close(self) -> None:
        """Nothing more will come."""


class Notices(Output):
    """Lines about the camera, for people."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def lost(self, reason: str) -> None:
        self._say(f"{reason}; waiting for it")

    def back(self, name: str) -> None:
        self._say(f"{name}: is back")


class JsonLines(Output):
    """A JSON object a line: ``"event"`` is ``"frame"``, with what :meth:`Seen.to_dict` says, ``"lost"`` or
    ``"back"``.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def seen(self, seen: Seen) -> None:
        self._line({"event": "frame", **seen.to_dict()})

    def lost(self, reason: str) -> None:
        self._line({"event": "lost", "reason": reason})

    def back(self, name: str) -> None:
        self._line({"event": "back"})

    def _line(self, value: dict[str, Any]) -> None:
        print(json.dumps(value), file=self._file, flush=True)


class Text(Output):
    """A window of text: in a terminal the same lines over and over, ``rate`` times a second; elsewhere a line a
    frame.
    """

    def __init__(self, file: TextIO, rate: float = 8.0) -> None:
        self._file = file
        self._period = 1 / rate
        self._due = 0.0
        self._above = 0

    def seen(self, seen: Seen) -> None:
        if not self._file.isatty():
            found = ", ".join(f"{d.label} {d.score:.2f}" for d in seen.detections)
            print(f"frame {seen.number}: {found or 'nothing'}", file=self._file, flush=True)
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + self._period
            self._show(text_lines(seen))

    def lost(self, reason: str) -> None:
        self._above = 0  # A notice stands below the lines now.

    def back(self, name: str) -> None:
        self._above = 0

    def _show(self, lines: list[str]) -> None:
        columns, rows = shutil.get_terminal_size()
        lines = [line[: columns - 1] for line in lines[: rows - 1]]
        up = f"\x1b[{self._above}F" if self._above else ""
        # Clearing what is right of each line, and below the last, flickers less than clearing first.
        print(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", file=self._file, flush=True)
        self._above = len(lines)


def text_lines(seen: Seen) -> list[str]:
    """A frame as lines of text: frame rate, times, and what was found, best first."""
    t, milliseconds = seen.times, seen.accelerator_ms
    accelerator = "no clock" if milliseconds is None else f"{milliseconds:.1f} ms"
    return [
        f"frame {seen.number}: {seen.rate:.1f} a second, scores from {seen.threshold:.2f}",
        f"prepare {t.prepare_ms:.1f} ms, wait {t.wait_ms:.1f} ms, decode {t.decode_ms:.1f} ms, "
        f"accelerator {accelerator}",
        *(f"  {d.label:12} {d.score:.2f}  ({', '.join(f'{edge:.0f}' for edge in d.box)})" for d in seen.detections),
    ]


class Pictures(Output):
    """Pictures with boxes in a folder, named by the time, whole or not at all; the newest ``keep`` are kept.

    Only files of such names are ever removed; those of earlier sessions are, too.

    Parameters
    ----------
    every:
        Seconds between two pictures, at least.
    """

    def __init__(self, folder: Path, keep: int = 100, every: float = 1.0, levels: Levels | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._keep, self._every, self._levels = folder, keep, every, levels
        self._due = 0.0
        self._kept = sorted(path for path in folder.iterdir() if PICTURE.fullmatch(path.name))

    def seen(self, seen: Seen) -> None:
        if seen.time < self._due:
            return
        self._due = seen.time + self._every
        data = io.BytesIO()
        draw(seen.photo, seen.detections, levels=self._levels).save(data, "JPEG", quality=85)
        moment = datetime.fromtimestamp(seen.time, timezone.utc)
        path = self._folder / f"codenet-{moment:%Y%m%dT%H%M%S.%f}Z.jpg"
        files.write(path, data.getvalue())
        self._kept.append(path)
        while len(self._kept) > self._keep:
            self._kept.pop(0).unlink(missing_ok=True)
