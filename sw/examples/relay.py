# SPDX-License-Identifier: Apache-2.0
"""A relay that is on while a cat is there: the door opens for it, and for nobody else.

    python sw/examples/relay.py 0 --label cat --switch /sys/class/gpio/gpio906/value --hold 5

``--switch`` is any file that takes 1 and 0: an exported GPIO pin (``echo 906 > /sys/class/gpio/export``,
``echo out > /sys/class/gpio/gpio906/direction``), or the ``brightness`` of something in ``/sys/class/leds``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from codenet import Detector
from codenet.live.feed import feed
from codenet.live.outputs import Output, Seen
from codenet.live.session import Session
from codenet.zoo import shipped_program


class Relay(Output):
    """Switches on when ``label`` has been seen in ``frames`` frames one after the other, and off when it has not been
    seen for ``hold`` seconds; off, too, when the camera is gone and at the end.
    """

    def __init__(self, switch: Path, label: str, frames: int = 3, hold: float = 5.0) -> None:
        self.label, self.frames, self.hold = label, frames, hold
        self.on = False
        self._switch = switch
        self._row, self._last = 0, 0.0
        self._set(False)

    def seen(self, seen: Seen) -> None:
        if any(detection.label == self.label for detection in seen.detections):
            self._row, self._last = self._row + 1, seen.time
        else:
            self._row = 0
        if self._row >= self.frames:
            self._set(True)
        elif seen.time - self._last >= self.hold:
            self._set(False)

    def lost(self, reason: str) -> None:
        self._row = 0
        self._set(False)

    def close(self) -> None:
        self._set(False)

    def _set(self, on: bool) -> None:
        if on != self.on:
            print(f"{self.label}: {'on' if on else 'off'}")
        self.on = on
        self._switch.write_text("1" if on else "0")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Switch something on while an object is seen.")
    parser.add_argument("source", help="camera, rtsp://..., video or folder of photos")
    parser.add_argument("--switch", type=Path, required=True, help="a file that takes 1 and 0")
    parser.add_argument("--label", default="cat")
    parser.add_argument("--frames", type=int, default=3, help="in which it must be seen, one after the other")
    parser.add_argument("--hold", type=float, default=5.0, help="seconds until it is off again")
    parser.add_argument("--threshold", type=float, default=0.4)
    parser.add_argument("--program", default=None)
    options = parser.parse_args(arguments)

    with (
        Detector(options.program or shipped_program(), threshold=options.threshold) as detector,
        closing(Relay(options.switch, options.label, options.frames, options.hold)) as relay,
    ):
        Session(detector, feed(options.source), [relay], workers=1).run()


if __name__ == "__main__":
    main()
