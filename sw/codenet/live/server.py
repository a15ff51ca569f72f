# SPDX-License-Identifier: Apache-2.0
"""The page of a session, on the network: a few fixed routes, nothing from files, nothing of a request in an answer.

``GET /``
    The page, for everybody: there is nothing of the session in it.
``GET /picture?after=N``
    What is newer than version N, as soon as there is (:meth:`codenet.live.hub.Hub.picture`).
``GET /profile``
    Counters of the steps of the next frame, JSON.
``POST /threshold``
    JSON ``{"threshold": 0.3}``: for the session, and so for all viewers.

One thread serves all connections. Bound to this machine alone (loopback) it answers only to requests for this machine,
so that no other site's page reaches it under a name of its own; bound to more, it wants a token.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import json
import logging
import re
import secrets
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from typing import Any, TypeVar

from codenet.errors import ConfigError
from codenet.live.http import MAX_HEAD, Refused, Request, parse_head, response
from codenet.live.hub import Hub
from codenet.live.session import Controls

logger = logging.getLogger(__name__)

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

ROUTES = {"/": "GET", "/picture": "GET", "/profile": "GET", "/threshold": "POST"}

LOW, HIGH = 0.01, 0.99
"""Of thresholds that a page may ask for."""

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What connections may cost: their number, and seconds.

    Attributes
    ----------
    viewers:
        Connections at a time; one more is answered 503.
    request:
        From one request to the end of the next one's head, and again for its body.
    write:
        Until a viewer has taken an answer.
    wait:
        Until ``/picture`` is answered with what there is, a sign of life.
    frame:
        Until ``/profile`` is answered 503.
    """

    viewers: int = 64
    request: float = 15.0
    write: float = 10.0
    wait: float = 10.0
    frame: float = 120.0


@dataclass(frozen=True)
class Address:
    """Where a page is served."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Of ``[HOST:]PORT``; without a host, this machine alone.

        Raises
        ------
        ConfigError
            It is not of this form.
        """
        match = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.]+\]|[^:/\s\[\]]+):)?([0-9]{1,5})", text)
        if match is None or int(match[2]) > 65535:
            raise ConfigError(f"--serve {text}: expected PORT or HOST:PORT, a port of at most 65535")
        return cls((match[1] or "127.0.0.1").strip("[]"), int(match[2]))

    def bind(self) -> socket.socket:
        """A socket that listens there.

        Raises
        ------
        OSError
            The port is in use, or may not be used, or this machine has no such address.
        """
        try:
            family, kind, _, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(place)
                listener.listen(128)
                listener.setblocking(False)
            except BaseException:
                listener.close()
                raise
        except OSError as error:
            raise OSError(error.errno or 0, error.strerror or str(error), f"--serve {self}") from error
        return listener

    @property
    def bracketed(self) -> str:
        """The host as addresses have it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.bracketed}:{self.port}"


def check_token(token: str) -> str:
    """``token`` as it is.

    Raises
    ------
    ConfigError
        It is short, or has characters that an address has not.
    """
    if not re.fullmatch(r"[A-Za-z0-9._~-]{8,256}", token):
        raise ConfigError(f"--token of {len(token)} characters: expected 8 to 256 of A-Z, a-z, 0-9, '-', '.', '_', '~'")
    return token


class PageServer:
    """Serves the page of a session until it is closed.

    Parameters
    ----------
    address:
        Bound at once.
    token:
        Wanted of every request but that for the page; by default a new one, or none if ``address`` is loopback.
    hub:
        Arguments of :class:`codenet.live.hub.Hub`.

    Attributes
    ----------
    token:
        ``None``: none is wanted.
    hub:
        An output of the session.

    Raises
    ------
    ConfigError
        The token is no good.
    OSError
        As of :meth:`Address.bind`.
    """

    def __init__(
        self,
        address: Address,
        controls: Controls,
        *,
        token: str | None = None,
        limits: Limits | None = None,
        **hub: Any,
    ) -> None:
        given = None if token is None else check_token(token)
        self._socket = address.bind()
        host, port = self._socket.getsockname()[:2]
        self._bound = ipaddress.ip_address(host)
        self._address = Address(address.host, port)
        self.token = given or (None if self._bound.is_loopback else secrets.token_urlsafe(24))
        self._controls, self._limits = controls, limits or Limits()
        self._page = page()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self.hub = Hub(self._loop, **hub)
        self._thread = threading.Thread(target=self._run, name="codenet-page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """For a browser, with the token in the part of an address that is never sent."""
        host = own_address(self._bound.version) if self._bound.is_unspecified else self._address.host
        return f"http://{Address(host, self._address.port)}/" + (f"#{self.token}" if self.token else "")

    def close(self) -> None:
        """Close all connections. Calling it twice does no harm."""
        with contextlib.suppress(RuntimeError):  # The loop is closed already.
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self.hub.close()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self) -> None:
        """The thread."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            # Again and again: before Python 3.12, wait_for may lose a cancellation.
            while left := asyncio.all_tasks(self._loop):
                for task in left:
                    task.cancel()
                self._loop.run_until_complete(asyncio.wait(left, timeout=0.2))
            self._loop.run_until_complete(_settle())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        # Too many open files, and whatever else befalls single connections, is no news for who runs the command.
        self._loop.set_exception_handler(lambda loop, context: logger.debug("page: %s", context["message"]))
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=MAX_HEAD)
        await self._stop.wait()
        self._loop.remove_reader(self._socket)  # Closed at once, a server leaks what it is just accepting.
        await _settle()
        server.close()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection becomes a task, at whose end, of whatever kind, it is closed."""
        full = len(self._connections) >= self._limits.viewers
        task = self._loop.create_task(self._converse(reader, writer, full))
        self._connections[task] = writer
        task.add_done_callback(lambda task: self._connections.pop(task).transport.abort())

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, full: bool) -> None:
        """Serve a connection, whatever comes."""
        writer.transport.set_write_buffer_limits(high=0)  # What is drained has left.
        try:
            if full:
                answer = _refusal(Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers, try again later"))
                await self._write(writer, answer)
            else:
                while await self._request(reader, writer):
                    pass
            await _linger(reader, writer)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # They went, or took too long.
        except Exception:
            logger.exception("page: a request failed")

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow."""
        lasting = False
        try:
            request = await self._head(reader)
            if request is None:
                return False
            self._check(request)
            body = await asyncio.wait_for(reader.readexactly(request.length), self._limits.request)
            answer = await self._answer(request, body)
            lasting = request.lasting
        except Refused as refusal:
            answer = _refusal(refusal)
        await self._write(writer, answer)
        return lasting

    async def _head(self, reader: asyncio.StreamReader) -> Request | None:
        """Of the next request; ``None`` if there is none."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self._limits.request)
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise Refused(HTTPStatus.BAD_REQUEST, "expected a whole request") from end
            return None
        except asyncio.LimitOverrunError as error:
            text = f"expected at most {MAX_HEAD} bytes of headers"
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text) from error
        return parse_head(head)

    def _check(self, request: Request) -> None:
        """Refuse what may not be asked for, before anything is done for it."""
        method = ROUTES.get(request.path)
        if self._bound.is_loopback and not self._is_local(request.headers.get("host", "")):
            raise Refused(HTTPStatus.FORBIDDEN, "expected the Host header of this machine: the page is for it alone")
        if method is None:
            raise Refused(HTTPStatus.NOT_FOUND, "no such page")
        if request.method != method:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {method}", (f"Allow: {method}",))
        if request.path != "/" and request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(HTTPStatus.FORBIDDEN, "expected a request of the page itself, not of another site's")
        if self.token and request.path != "/":
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), self.token.encode()):
                text = "expected the token that was printed with the address"
                raise Refused(HTTPStatus.UNAUTHORIZED, text, ("WWW-Authenticate: Bearer",))
        if method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected {JSON}")

    def _is_local(self, host: str) -> bool:
        """Whether a Host header names this machine; its port may be another, of a tunnel."""
        name = re.sub(r":[0-9]{1,5}$", "", host.lower())
        return name in ("localhost", "127.0.0.1", "[::1]", Address(self._address.host.lower(), 0).bracketed)

    async def _answer(self, request: Request, body: bytes) -> bytes:
        if request.path == "/":
            text, policy = self._page
            return response(HTTPStatus.OK, "text/html; charset=utf-8", text, lasting=request.lasting, headers=policy)
        if request.path == "/picture":
            match = re.fullmatch(r"after=([0-9]{1,12})", request.query)
            if match is None:
                raise Refused(HTTPStatus.BAD_REQUEST, "expected after=VERSION")
            picture = await _within(self.hub.picture(int(match[1])), self._limits.wait)
            if picture is None:
                picture = await self.hub.picture(-1)
            return response(HTTPStatus.OK, "application/octet-stream", picture, lasting=request.lasting)
        if request.path == "/profile":
            profile = await _within(self.hub.profile(self._controls), self._limits.frame)
            if profile is None:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "no frame came")
            return response(HTTPStatus.OK, JSON, json.dumps(profile).encode(), lasting=request.lasting)
        self._controls.threshold = _threshold(body)
        return response(HTTPStatus.OK, JSON, b"{}", lasting=request.lasting)

    async def _write(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(answer)
        await asyncio.wait_for(writer.drain(), self._limits.write)


def page() -> tuple[bytes, tuple[str, ...]]:
    """The page, and a header by which browsers run its own script and style and nothing else."""
    text = resources.files("codenet.live").joinpath("page.html").read_bytes()
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(part).digest()).decode()}'"
            for part in re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), text, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src data: blob:; "
        f"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, (f"Content-Security-Policy: {policy}",)


def own_address(version: int) -> str:
    """An address of this machine that others may reach it by; its name if it has none."""
    family, other = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))  # Sends nothing; only looks for a way.
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def _threshold(body: bytes) -> float:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    threshold = value.get("threshold") if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not LOW <= threshold <= HIGH:
        raise Refused(HTTPStatus.BAD_REQUEST, f'expected {{"threshold": {LOW} to {HIGH}}}')
    return float(threshold)


def _refusal(refusal: Refused) -> bytes:
    return response(refusal.status, TEXT, f"{refusal}\n".encode(), lasting=False, headers=refusal.headers)


async def _settle() -> None:
    """Let what the loop has begun come to its tasks, and what has ended be closed: a turn of the loop for each step."""
    for _ in range(4):
        await asyncio.sleep(0)


async def _within(waiting: Coroutine[Any, Any, T], seconds: float) -> T | None:
    """What comes, or ``None`` after a while."""
    try:
        return await asyncio.wait_for(waiting, seconds)
    except asyncio.TimeoutError:
        return None


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what is still on its way: closed with that unread, a connection may lose the answer."""
    writer.write_eof()
    left = 1 << 16

    async def take() -> None:
        nonlocal left
        while left > 0 and (data := await reader.read(4096)):
            left -= len(data)

    await asyncio.wait_for(take(), 1.0)
