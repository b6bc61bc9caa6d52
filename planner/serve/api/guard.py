"""What is refused before a request is read: foreign hosts (DNS rebinding), foreign origins (other
pages that ask through the user's browser), bodies that are too large or too slow; and the headers
of every response."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.serve.settings import Settings

#: Nothing but what the server itself sends; no inline script, no foreign font, image or frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
#: A report is a page of its own, which carries its style and its charts.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; sandbox allow-scripts"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
UPLOAD = "/api/data"
#: A Host header: a name or an address, an IPv6 address in brackets, and perhaps a port (RFC 9110,
#: section 7.2: uri-host [ ":" port ]; no user, no path).
HOST = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9](?:[a-z0-9_.-]*)))(?::(?P<port>[0-9]{1,5}))?"
)
LAST_PORT = 65535


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here
        status, why = self._refusal(scope)
        if why:
            await _say(send, status, why)
            return
        await self._bounded(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or name_of(hosts[0]) not in self.settings.hosts:
            return 403, "this host name is not served: open the address that the server printed"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, hosts[0]):
            return 403, "another page asks: only the server's own page may"
        site = headers.get("sec-fetch-site")
        is_page = scope["path"] == "/" and scope["method"] == "GET"
        if site in ("cross-site", "same-site") and not is_page:
            return 403, "another page asks: only the server's own page may"
        length = headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            return 400, "the body's length is no number"
        if length is not None and int(length[:20]) > self._most(scope):
            return 413, f"the body is larger than {self._most(scope):,} bytes"
        return 200, ""

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def _most(self, scope: Scope) -> int:
        is_upload = scope["path"] == UPLOAD
        return self.settings.most_upload if is_upload else self.settings.most_body

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The body as it comes, no more of it than allowed and no slower."""
        body = _Body(receive, self._most(scope), self.settings.receive_seconds)

        async def sent(message: Message) -> None:
            if body.refusal:
                return  # what the application makes of half a body
            if message["type"] == "http.response.start":
                body.is_answered = True
                _add_headers(message)
            await send(message)

        try:
            await self.app(scope, body.receive, sent)
        except BodyError:
            pass
        if body.refusal:
            await _say(send, *body.refusal)


class _Body:
    """What is received of a request; ``refusal``: status and why it was refused."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self.most, self.seconds = receive, most, seconds
        self._got = 0
        self.is_answered = False
        self.refusal: tuple[int, str] | None = None

    async def receive(self) -> Message:
        if self.is_answered:  # a page that leaves; no more of the body
            return await self._receive()
        try:
            async with asyncio.timeout(self.seconds):
                message = await self._receive()
        except TimeoutError:
            self.refusal = 408, "the body did not come in time"
            raise BodyError from None
        self._got += len(message.get("body", b""))
        if self._got > self.most:
            self.refusal = 413, f"the body is larger than {self.most:,} bytes"
            raise BodyError
        return message


class BodyError(Exception):
    """More of a body came than is allowed, or it came too slowly."""


def name_of(host: str) -> str | None:
    """``localhost:8765`` → ``localhost``; ``[::1]:8765`` → ``::1``; None where it is anything else
    than a host and a port."""
    found = HOST.fullmatch(host.lower())
    if found is None or int(found["port"] or 0) > LAST_PORT:
        return None
    return found["v6"] or found["name"].removesuffix(".")


def _add_headers(message: Message) -> None:
    there = {name.lower() for name, _ in message.get("headers", [])}
    more = [pair for pair in HEADERS if pair[0] not in there]
    message["headers"] = [*message.get("headers", []), *more]


async def _say(send: Send, status: int, what: str) -> None:
    body = json.dumps({"what": what, "where": None, "mend": None, "fields": []}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
