# SPDX-License-Identifier: Apache-2.0
"""Requests of HTTP/1.1 as the page makes them, read strictly: what is odd in any way is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 8192
"""Bytes of request line and headers."""

MAX_BODY = 1024

_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,1024}) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([\t -~\x80-\xff]*)")
_ONCE = {"host", "authorization", "content-length", "content-type", "transfer-encoding"}


class Refused(Exception):
    """A request gets ``status`` and one line of text, which has nothing of the request in it."""

    def __init__(self, status: HTTPStatus, text: str, headers: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class Request:
    """Head of a request.

    Attributes
    ----------
    path, query:
        What stands before and behind the question mark, as it came.
    headers:
        By name in small letters.
    length:
        Bytes of the body.
    lasting:
        The connection stays for another request.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int
    lasting: bool


def parse_head(head: bytes) -> Request:
    """Request line and headers, up to the empty line.

    Raises
    ------
    Refused
        They are not as HTTP has them, or the body is too long or of unknown length.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _LINE.fullmatch(first)
    if match is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "expected a request line of HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        name = header[1].decode("ascii").lower() if header else ""
        if header is None or (name in _ONCE and name in headers):
            raise Refused(HTTPStatus.BAD_REQUEST, "expected headers of HTTP/1.1, each of the important ones once")
        headers[name] = header[2].decode("latin-1").strip()
    if "transfer-encoding" in headers:
        raise Refused(HTTPStatus.BAD_REQUEST, "expected a body with Content-Length")
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,12}", length):
        raise Refused(HTTPStatus.BAD_REQUEST, "expected a number as Content-Length")
    if int(length) > MAX_BODY:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_BODY} bytes")
    path, _, query = match[2].decode("ascii").partition("?")
    connection = headers.get("connection", "").lower()
    lasting = match[3] == b"1" and "close" not in connection
    return Request(match[1].decode("ascii"), path, query, headers, int(length), lasting)


def response(status: HTTPStatus, kind: str, body: bytes, *, lasting: bool, headers: tuple[str, ...] = ()) -> bytes:
    """A response whose body is of the media type ``kind``, to be kept by nobody."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        f"Connection: {'keep-alive' if lasting else 'close'}",
        *headers,
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
