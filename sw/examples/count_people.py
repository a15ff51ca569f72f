# SPDX-License-Identifier: Apache-2.0
"""How many people stand in a part of the picture: a line whenever that changes, and a page if one is asked for.

    python sw/examples/count_people.py 0 --region 0.5 0 1 1 --serve 8000

Somebody stands where the middle of the box's lower edge is. The region is left, top, right and bottom as parts of width
and height of the picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from codenet import Detection, Detector
from codenet.live.feed import feed
from codenet.live.outputs import Output, Seen
from codenet.live.server import Address, PageServer
from codenet.live.session import Controls, Session
from codenet.zoo import shipped_program


def stands_in(detection: Detection, region: Sequence[float], photo_size: tuple[int, int]) -> bool:
    """Whether an object stands in ``region`` of a photo of height and width ``photo_size``."""
    left, top, right, bottom = region
    x = (detection.box[0] + detection.box[2]) / 2 / photo_size[1]
    y = detection.box[3] / photo_size[0]
    return left <= x <= right and top <= y <= bottom


class Counter(Output):
    """Says how many objects of class ``label`` stand in ``region``, when that changes."""

    def __init__(self, label: str, region: Sequence[float], say: Callable[[str], object] = print) -> None:
        self.label, self.region, self.count = label, region, -1
        self._say = say

    def seen(self, seen: Seen) -> None:
        found = [d for d in seen.detections if d.label == self.label and stands_in(d, self.region, seen.photo_size)]
        if len(found) != self.count:
            self.count = len(found)
            self._say(f"frame {seen.number}: {self.count} x {self.label}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Count the people in a part of a camera's picture.")
    parser.add_argument("source", help="camera, rtsp://..., video or folder of photos")
    parser.add_argument("--region", type=float, nargs=4, default=(0, 0, 1, 1), metavar=("L", "T", "R", "B"))
    parser.add_argument("--label", default="person")
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--program", default=None)
    parser.add_argument("--serve", metavar="[HOST:]PORT")
    options = parser.parse_args(arguments)

    source = feed(options.source)
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(options.program or shipped_program(), threshold=options.threshold))
        outputs: list[Output] = [Counter(options.label, options.region)]
        controls = Controls(options.threshold)
        if options.serve:
            address = Address.parse(options.serve)
            server = stack.enter_context(PageServer(address, controls, about={"source": source.name}))
            outputs.append(server.hub)
            print(f"page at {server.url}")
        Session(detector, source, outputs, controls=controls, workers=1).run()


if __name__ == "__main__":
    main()
