# SPDX-License-Identifier: Apache-2.0
"""A detector that finds one object in everything, and plain sockets to talk to its page."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from codenet import Detector
from codenet.config import AcceleratorConfig
from codenet.live.outputs import Seen
from codenet.live.server import Address, Limits, PageServer
from codenet.live.session import Controls
from codenet.runtime.stream import Times
from codenet.vision.boxes import Detection
from tests.codenet.fakes import FakeDevice, detector_program, write_outputs

PHOTO = np.full((60, 200, 3), 7, np.uint8)
ABOUT = {"program": "by hand", "device": "device fake", "source": "camera 0", "colours": ["#e63c32", "#2878dc"]}


def make_detector() -> Detector:
    """Finds a cat with a score of a half in every photo."""
    device = FakeDevice(AcceleratorConfig(), write_outputs([(2, 1, 2, 0)], lane_0=256, lane_1=512))
    device.clock_hz = 150e6
    return Detector(detector_program(), device)


def seen(number: int = 1, **changes: Any) -> Seen:
    """What a session says of a frame."""
    detection = Detection("cat", 0, 0.5, (10.0, 5.0, 120.0, 40.0))
    values = {
        "number": number,
        "time": 1.8e9 + number,
        "photo": PHOTO,
        "photo_size": PHOTO.shape[:2],
        "detections": [detection],
        "times": Times(1.25, 0.5, 0.125, 150_000),
        "rate": 12.5,
        "threshold": 0.3,
        "clock_hz": 150e6,
    }
    return Seen(**values | changes)


@contextmanager
def serving(limits: Limits | None = None, **options: Any) -> Iterator[tuple[PageServer, Controls]]:
    """A page on a free port of this machine, and what it controls."""
    controls = Controls(0.3)
    address = options.pop("address", Address("127.0.0.1", 0))
    with PageServer(address, controls, limits=limits, about=ABOUT, rate=1e6, **options) as server:
        yield server, controls


def port(server: PageServer) -> int:
    return int(server.url.split("#")[0].rstrip("/").rpartition(":")[2])


def connect(server: PageServer, seconds: float = 20.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(server)), seconds)


def head(target: str, *headers: str, method: str = "GET") -> bytes:
    """A request as browsers make it."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def receive(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65536)
        assert part, f"no answer, only {data!r}"
        data += part
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        part = client.recv(65536)
        assert part, "an answer cut off"
        body += part
    assert len(body) == int(headers["content-length"])
    return int(first.split()[1]), headers, body


def ask(server: PageServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request on a connection of its own."""
    with connect(server) as client:
        client.sendall(request)
        return receive(client)


def unpack(body: bytes) -> tuple[dict[str, Any], bytes]:
    """What :func:`codenet.live.hub.pack` has packed."""
    length = int.from_bytes(body[:4], "big")
    return json.loads(body[4 : 4 + length]), body[4 + length :]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Value of ``condition`` as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)
    return value
