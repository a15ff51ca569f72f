# SPDX-License-Identifier: Apache-2.0
"""Heads of requests: those of browsers are read, all others are refused."""

import random

import pytest

from codenet.live.http import MAX_BODY, Refused, Request, parse_head

GOOD = b"GET /picture?after=12 HTTP/1.1\r\nHost: pynq:8000\r\nUser-Agent: x\r\nauthorization:  Bearer abc \r\n\r\n"


def test_request_of_a_browser():
    headers = {"host": "pynq:8000", "user-agent": "x", "authorization": "Bearer abc"}
    assert parse_head(GOOD) == Request("GET", "/picture", "after=12", headers, 0, True)


@pytest.mark.parametrize(
    ("head", "length", "lasting"),
    [
        (b"POST /threshold HTTP/1.1\r\nContent-Length: 20\r\n\r\n", 20, True),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", 0, False),
        (b"GET / HTTP/1.0\r\n\r\n", 0, False),
    ],
)
def test_body_and_connection(head, length, lasting):
    request = parse_head(head)
    assert (request.length, request.lasting) == (length, lasting)


BAD = {
    "nothing": b"\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "HTTP/2": b"GET / HTTP/2.0\r\n\r\n",
    "small letters": b"get / HTTP/1.1\r\n\r\n",
    "an address": b"GET http://pynq/ HTTP/1.1\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n\r\n",
    "spaces": b"GET  / HTTP/1.1\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\n\r\n",
    "a byte of no character": b"GET /\xff HTTP/1.1\r\n\r\n",
    "a long path": b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n",
    "a line feed alone": b"GET / HTTP/1.1\r\nHost: x\nEvil: y\r\n\r\n",
    "a zero byte": b"GET / HTTP/1.1\r\nHost: \0\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a length in words": b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
    "a length without end": b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 50 + b"\r\n\r\n",
    "digits that are none of ASCII": b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
    "chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("head", BAD.values(), ids=BAD)
def test_what_is_odd_is_refused(head):
    with pytest.raises(Refused) as refusal:
        parse_head(head)
    assert refusal.value.status == 400


def test_long_body_is_refused():
    with pytest.raises(Refused) as refusal:
        parse_head(f"POST / HTTP/1.1\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode())
    assert refusal.value.status == 413


def test_garbage_is_read_or_refused():
    rng = random.Random(0)
    outcomes = set()
    for _ in range(20_000):
        head = bytearray(GOOD)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(head))
            head[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 2))
        try:
            outcomes.add(type(parse_head(bytes(head))))
        except Refused as refusal:
            outcomes.add(refusal.status)
    assert outcomes == {Request, 400}
