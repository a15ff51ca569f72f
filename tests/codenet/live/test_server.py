# SPDX-License-Identifier: Apache-2.0
"""The page's server over real sockets: what it answers, what it refuses, and that nobody brings it down."""

import contextlib
import json
import logging
import random
import re
import socket

import pytest

from codenet.errors import ConfigError
from codenet.live.http import MAX_HEAD
from codenet.live.server import Address, Limits, PageServer, page
from codenet.live.session import Controls
from codenet.registers import PROFILE_WORDS
from codenet.runtime.profile import StepProfile
from tests.codenet.live.stage import ask, connect, head, port, receive, seen, serving, unpack, until

JSON = "Content-Type: application/json"
TOKEN = "a-token-of-tests"
BEARER = f"Authorization: Bearer {TOKEN}"


def post(body: bytes, *headers: str) -> bytes:
    return head("/threshold", f"Content-Length: {len(body)}", *(headers or (JSON,)), method="POST") + body


@pytest.fixture
def server():
    with serving() as (server, _):
        yield server


def test_page_is_whole_and_runs_its_own_script_only(server):
    status, headers, body = ask(server, head("/"))
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert body == page()[0] and b"<script>" in body
    outside = re.findall(rb"""(?:src|href|url|import)\s*[=(]\s*["']?(?:https?:)?//[^"')\s]*""", body)
    assert not outside, "the page wants something from elsewhere"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and policy.count("'sha256-") == 2 and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_pictures_on_one_connection(server):
    with connect(server) as client:
        version = 0
        for number in (1, 2, 3):
            server.hub.seen(seen(number))
            client.sendall(head(f"/picture?after={version}"))
            status, _, body = receive(client)
            value, jpeg = unpack(body)
            assert status == 200 and value["seen"]["frame"] == number and jpeg.startswith(b"\xff\xd8")
            version = value["version"]


def test_request_waits_for_the_next_picture(server):
    with connect(server) as client:
        client.sendall(head("/picture?after=0"))
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        server.hub.seen(seen(7))
        assert unpack(receive(client)[2])[0]["seen"]["frame"] == 7


def test_sign_of_life_without_a_picture():
    with serving(Limits(wait=0.05, frame=0.05)) as (server, _):
        status, _, body = ask(server, head("/picture?after=0"))
        assert status == 200 and unpack(body) == (
            {"version": 0, "lost": None, "about": server.hub._about, "seen": None},
            b"",
        )
        assert ask(server, head("/profile"))[0] == 503


def test_threshold_is_set_for_the_session():
    with serving() as (server, controls):
        assert ask(server, post(b'{"threshold": 0.75}'))[0] == 200
        assert controls.threshold == 0.75
        assert ask(server, post(b'{"threshold": 0.5}', "Content-Type: Application/JSON; charset=utf-8"))[0] == 200
        assert controls.threshold == 0.5


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"no JSON", b"[]", b"0.5", b"{}", b'{"threshold": "0.5"}', b'{"threshold": true}', b"[" * 1000),
        *(b'{"threshold": 0}', b'{"threshold": 1}', b'{"threshold": -1}', b'{"threshold": NaN}', b"\xff\xfe"),
        *(b'{"threshold": 1e999}', b'{"threshold": null}', b'{"threshold": 0.5, "x": 1}', b'{"threshold": [0.5]}'),
    ],
)
def test_threshold_is_a_number_in_its_range(body):
    with serving() as (server, controls):
        status, _, text = ask(server, post(body))
        assert status == 400 and b"expected" in text
        assert controls.threshold == 0.3


def test_profile_of_the_next_frame():
    with serving() as (server, controls), connect(server) as client:
        client.sendall(head("/profile"))
        until(lambda: controls.profile)
        server.hub.seen(seen(1, profile=[StepProfile(0, "stem", (1,) * PROFILE_WORDS)]))
        status, _, body = receive(client)
        assert status == 200 and json.loads(body)["steps"] == [{"name": "stem", "counts": [1] * 6}]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head("/nothing"), 404),
        (head("/../../etc/passwd"), 404),
        (head("/page.html"), 404),
        (head("//"), 404),
        (head("/nothing") + 3000 * b"and more", 404),
        (head("/", method="POST"), 405),
        (head("/threshold"), 405),
        (head("/picture"), 400),
        (head("/picture?after=-1"), 400),
        (head("/picture?after=1&x=<script>"), 400),
        (head("/picture?after=" + 20 * "9"), 400),
        (post(b'{"threshold": 0.5}', "Content-Type: text/plain"), 415),
        (post(b'{"threshold": 0.5}', "X-Nothing: 1"), 415),
        (head("/threshold", JSON, "Content-Length: 100000", method="POST"), 413),
        (head("/", "X: " + MAX_HEAD * "a"), 431),
        (b"GET / HTTP/1.1\r\nHost: localhost", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    ],
)
def test_what_is_refused_and_says_nothing_of_the_request(server, request_, status):
    with connect(server) as client:
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
        answer, headers, body = receive(client)
        assert answer == status and headers["content-type"].startswith("text/plain")
        assert b"script" not in body and b"passwd" not in body and len(body.splitlines()) == 1
        assert headers["connection"] == "close" and client.recv(1) == b""


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost", 200), ("127.0.0.1:8000", 200), ("[::1]:99", 200), ("LOCALHOST:1", 200)),
        *(("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example:80", 403), ("", 403)),
    ],
)
def test_other_names_for_this_machine_are_refused(server, host, status):
    """A page of another site whose name has come to mean 127.0.0.1 (DNS rebinding) would use its own name."""
    for target in ("/", "/picture?after=9"):
        server.hub.seen(seen(1))
        assert ask(server, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[0] == status
    assert ask(server, b"GET / HTTP/1.1\r\n\r\n")[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_get_the_page_and_nothing_else(site):
    with serving() as (server, controls):
        server.hub.seen(seen(1))
        line = f"Sec-Fetch-Site: {site}"
        for target in ("/picture?after=9", "/profile"):
            assert ask(server, head(target, line))[0] == 403
        assert ask(server, post(b'{"threshold": 0.5}', JSON, line))[0] == 403
        assert (controls.threshold, controls.profile) == (0.3, False)
        assert ask(server, head("/", line))[0] == 200, "a link from elsewhere"
        for site in ("same-origin", "none"):
            assert ask(server, head("/picture?after=9", f"Sec-Fetch-Site: {site}"))[0] == 200


@pytest.mark.parametrize("target", ["/picture?after=9", "/profile", "/threshold"])
def test_token(target):
    with serving(token=TOKEN) as (server, controls):
        assert server.url.endswith(f"/#{TOKEN}")
        server.hub.seen(seen(1))
        method = "POST" if target == "/threshold" else "GET"
        body = b'{"threshold": 0.5}' if method == "POST" else b""
        more = (JSON, f"Content-Length: {len(body)}")
        wrong = ("", f"{TOKEN}x", TOKEN[:-1], "ä" * 8)
        for line in (None, *(f"Authorization: Bearer {word}" for word in wrong), f"Authorization: Basic {TOKEN}"):
            lines = more if line is None else (line, *more)
            status, headers, text = ask(server, head(target, *lines, method=method) + body)
            assert status == 401 and headers["www-authenticate"] == "Bearer" and b"token" in text
        assert controls.threshold == 0.3 and not controls.profile
        assert ask(server, head("/"))[0] == 200, "the page asks for the token"
        if target != "/profile":
            assert ask(server, head(target, BEARER, *more, method=method) + body)[0] == 200


def test_token_is_made_for_other_machines():
    with serving(address=Address("0.0.0.0", 0)) as (server, _):
        assert server.token is not None and len(server.token) >= 32
        assert server.url.endswith(f"#{server.token}") and "0.0.0.0" not in server.url
        with socket.create_connection(("127.0.0.1", port(server)), 20) as client:
            client.sendall(b"GET /picture?after=0 HTTP/1.1\r\nHost: pynq\r\n\r\n")
            assert receive(client)[0] == 401
            client.close()
        with serving(address=Address("0.0.0.0", 0)) as (other, _):
            assert other.token != server.token
    with serving() as (server, _):
        assert server.token is None and "#" not in server.url


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "päßwörter", "x" * 300])
def test_token_that_is_no_good(token):
    with pytest.raises(ConfigError, match=f"--token of {len(token)} characters") as error:
        PageServer(Address("127.0.0.1", 0), Controls(0.3), token=token)
    assert token == "" or token not in str(error.value), "a secret in a message"


@pytest.mark.parametrize(
    ("text", "host", "number"),
    [
        ("8000", "127.0.0.1", 8000),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("pynq:0", "pynq", 0),
        ("[::1]:8000", "::1", 8000),
    ],
)
def test_addresses(text, host, number):
    assert Address.parse(text) == Address(host, number)


@pytest.mark.parametrize("text", ["", "x", ":80", "70000", "a:b", "::1:80", "a b:80", "http://x:80", "80:", "-1", "८०"])
def test_addresses_that_are_none(text):
    with pytest.raises(ConfigError, match=r"--serve .*: expected PORT or HOST:PORT"):
        Address.parse(text)


def test_port_in_use(server):
    with pytest.raises(OSError, match="in use") as error:
        Address("127.0.0.1", port(server)).bind()
    assert error.value.filename == f"--serve 127.0.0.1:{port(server)}"
    with pytest.raises(OSError) as error:
        Address("203.0.113.1", 0).bind()
    assert error.value.filename == "--serve 203.0.113.1:0"


def test_one_viewer_too_many():
    with serving(Limits(viewers=2)) as (server, _):
        with connect(server) as first, connect(server) as second:
            for client in (first, second):
                client.sendall(head("/"))
                assert receive(client)[0] == 200
            status, _, body = ask(server, head("/"))
            assert status == 503 and body == b"too many viewers, try again later\n"
        until(lambda: ask(server, head("/"))[0] == 200)


def large_picture():
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)


def test_fifty_viewers_that_do_not_read(server):
    """They ask and take nothing, half of them with an ear of a few bytes; another viewer gets every picture."""
    photo = large_picture()
    stalled = []
    try:
        for number in range(50):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 if number % 2 else 65536)
            client.connect(("127.0.0.1", port(server)))
            client.sendall(20 * head("/picture?after=0"))
            stalled.append(client)
        version = 0
        with connect(server) as client:
            for number in range(1, 31):
                server.hub.seen(seen(number, photo=photo))
                client.sendall(head(f"/picture?after={version}"))
                value, jpeg = unpack(receive(client)[2])
                assert value["seen"]["frame"] == number and len(jpeg) > 100_000
                version = value["version"]
        assert server.hub.encodings == 30
    finally:
        for client in stalled:
            client.close()


def test_sockets_that_stall_are_closed():
    """In the middle of a line, of a body, of an answer, or before anything."""
    with serving(Limits(request=0.2, write=0.2)) as (server, _):
        server.hub.seen(seen(1, photo=large_picture()))
        beginnings = [b"", b"GET / HT", head("/")[:-2], head("/threshold", JSON, "Content-Length: 9", method="POST")]
        clients = [connect(server) for _ in beginnings]
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        reader.settimeout(20)
        reader.connect(("127.0.0.1", port(server)))
        try:
            for client, beginning in zip(clients, beginnings, strict=True):
                client.sendall(beginning)
            reader.sendall(40 * head("/picture?after=0"))
            for client in clients:
                assert client.recv(100) == b""
            until(lambda: not server._connections)
        finally:
            for client in (*clients, reader):
                client.close()
        assert ask(server, head("/"))[0] == 200


def test_a_thousand_malformed_requests(server, caplog):
    rng = random.Random(1)
    good = [head("/"), head("/picture?after=9"), post(b'{"threshold": 0.5}'), head("/nothing", "Range: bytes=0-")]
    server.hub.seen(seen(1))
    caplog.set_level(logging.INFO)
    statuses = set()
    for number in range(1000):
        data = bytearray(rng.choice(good))
        if number % 4 == 0:
            data = bytearray(rng.randbytes(rng.randint(1, 400)))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data) + 1)
            data[place : place + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 8))
        with connect(server) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while part := client.recv(65536):
                answer += part
        if answer:
            assert re.match(rb"HTTP/1\.1 (200|400|403|404|405|413|415|431) ", answer), (data, answer[:100])
            statuses.add(answer[9:12])
    assert {b"400", b"404"} <= statuses
    assert not caplog.records
    until(lambda: not server._connections)
    assert unpack(ask(server, head("/picture?after=0"))[2])[0]["seen"]["frame"] == 1


@pytest.mark.parametrize("waits", [False, True])
def test_closing_leaves_nothing(waits):
    """Whatever its connections are at."""
    for _ in range(20):
        with serving() as (server, _):
            clients = [connect(server) for _ in range(3)]
            for client in clients:
                client.sendall(head("/picture?after=0"))
            until(lambda: len(server._connections) == 3 or not waits)
        server.close()
        assert not server._thread.is_alive()
        for client in clients:
            with client, contextlib.suppress(ConnectionResetError):  # It was not accepted any more.
                assert client.recv(100) == b""
    with pytest.raises(OSError):
        connect(server, 1.0)
