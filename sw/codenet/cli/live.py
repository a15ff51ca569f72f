# SPDX-License-Identifier: Apache-2.0
"""``codenet live``: boxes in the pictures of a camera, a video or a folder, as they are found."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from codenet.cli.detect import add_detector_options, expand
from codenet.command import report
from codenet.errors import FormatError
from codenet.zoo import shipped_program

if TYPE_CHECKING:
    from codenet.live.feed import Feed
    from codenet.live.outputs import Output
    from codenet.live.session import Controls
    from codenet.runtime.detector import Detector


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("live", help="find objects in the pictures of a camera, a video or a folder")
    parser.add_argument(
        "source",
        nargs="?",
        default="0",
        metavar="SOURCE",
        help="number of a camera, rtsp://..., video, image file, folder of them, or pattern in quotes (default: 0)",
    )
    add_detector_options(parser)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"), help="of the camera (default: 640 480)"
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end of a video or folder")
    parser.add_argument("--rate", type=float, metavar="N", help="at most N frames a second")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads that prepare frames (default: 1)")

    page = parser.add_argument_group("a page")
    page.add_argument("--serve", metavar="[HOST:]PORT", help="serve a page; without HOST to this machine alone")
    page.add_argument("--token", help="what the page wants to know (default: a new one, if HOST is not this machine)")
    page.add_argument("--viewers", type=int, default=64, metavar="N", help="connections at a time (default: 64)")
    page.add_argument("--show", type=float, default=15.0, metavar="N", help="pictures a second, at most (default: 15)")

    other = parser.add_argument_group("for people and programs without a browser (default: --text)")
    lines = other.add_mutually_exclusive_group()
    lines.add_argument("--text", action="store_true", help="a window of text")
    lines.add_argument("--json", action="store_true", help="JSON on standard output, a line a frame")
    other.add_argument("--mqtt", metavar="HOST[:PORT]/TOPIC", help="JSON to a broker, a message a frame")
    other.add_argument("--pictures", type=Path, metavar="FOLDER", help="pictures with boxes in a folder")
    other.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="between two of them (default: 1)")
    other.add_argument("--keep", type=int, default=100, metavar="N", help="the newest of them (default: 100)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from codenet.live.session import Controls, Session
    from codenet.runtime.detector import Detector

    _check(options)
    status = 0

    def bad(error: FormatError | OSError) -> None:
        nonlocal status
        status = report("codenet", error)

    feed = _feed(options)
    levels = tuple(options.levels) if options.levels else None
    controls = Controls(options.threshold)
    with ExitStack() as stack:
        detector = stack.enter_context(
            Detector(options.program or shipped_program(), options.device, threshold=options.threshold, levels=levels)
        )
        outputs = _outputs(options, feed, detector, controls, stack)
        session = Session(
            detector, feed, outputs, controls=controls, workers=options.workers, rate=options.rate, on_bad=bad
        )
        session.run()
    return status


def _check(options: argparse.Namespace) -> None:
    """Of numbers that nobody else checks."""
    width, height = options.size
    for name, value, least in (
        ("--size", min(width, height), 1),
        ("--viewers", options.viewers, 1),
        ("--keep", options.keep, 1),
    ):
        if value < least:
            raise FormatError(f"{name} {value}: expected {least} or more")
    for name, value in (("--rate", options.rate), ("--show", options.show)):
        if value is not None and not value > 0:
            raise FormatError(f"{name} {value}: expected more than 0")
    if not options.every >= 0:
        raise FormatError(f"--every {options.every}: expected 0 or more")


def _feed(options: argparse.Namespace) -> Feed:
    from codenet.live.feed import feed
    from codenet.vision.camera import is_camera

    photos: list[Path] = []
    for item in [] if is_camera(options.source) else expand([options.source]):
        if isinstance(item, FormatError):
            raise item
        photos.append(item)
    return feed(options.source, photos, size=tuple(options.size), loop=options.loop)


def _outputs(
    options: argparse.Namespace, feed: Feed, detector: Detector, controls: Controls, stack: ExitStack
) -> list[Output]:
    """All that were asked for, which ``stack`` closes."""
    from codenet.live.outputs import JsonLines, Notices, Pictures, Text

    outputs: list[Output] = [Notices(_say)]
    if options.pictures is not None:
        outputs.append(Pictures(options.pictures, options.keep, options.every, detector.levels))
    if options.mqtt is not None:
        from codenet.live.mqtt import Broker, Mqtt

        outputs.append(stack.enter_context(closing(Mqtt(Broker.parse(options.mqtt)))))
    if options.serve is not None:
        from codenet.live.server import Address, Limits, PageServer

        about = {
            "program": detector.program.name,
            "device": f"device {detector.device.name}",
            "source": feed.name,
        }
        server = stack.enter_context(
            PageServer(
                Address.parse(options.serve),
                controls,
                token=options.token,
                limits=Limits(viewers=options.viewers),
                about=about,
                rate=options.show,
                levels=detector.levels,
            )
        )
        outputs.append(server.hub)
        _say(f"page at {server.url}")
    if options.json:
        outputs.append(JsonLines(sys.stdout))
    elif options.text or len(outputs) == 1:
        outputs.append(Text(sys.stdout))
    return outputs


def _say(text: str) -> None:
    print(f"codenet: {text}", file=sys.stderr, flush=True)
