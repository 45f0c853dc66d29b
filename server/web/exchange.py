"""One HTTP request and its answer, over ASGI.

The inference routes are plain ASGI because a framework's routing, validation and middleware cost
more than all of Holdfast's own work on a request (measured: 4,100 requests per second through
FastAPI, 7,900 without, on two cores).
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any

import orjson

from server.chat import sse_comment, sse_error
from server.errors import BodyTooLarge, HoldfastError, UnsupportedEncoding
from server.routing.headers import LOCAL_ONLY
from server.routing.trace import Trace
from server.units import format_bytes
from server.web import departures
from server.web.sendfile import EXTENSION, SendFile

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
ErrorForm = Callable[[HoldfastError], tuple[bytes, list[Header]]]
"""An error as the JSON body and the headers that a kind of client understands."""

_LOCAL_ONLY = LOCAL_ONLY.encode()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_JSON: Header = (b"content-type", b"application/json")
_STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx would otherwise hold events back until its buffer is full.
    (b"x-accel-buffering", b"no"),
)


def openai_form(error: HoldfastError) -> tuple[bytes, list[Header]]:
    return orjson.dumps(error.openai_body()), []


class Exchange:
    """Reads the body within a limit; answers once, whole or as a stream of server-sent events."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.headers = _headers(scope["headers"])
        self.request_id = self._request_id()
        self.answer_headers: list[Header] = [(b"x-request-id", self.request_id)]
        self.started = False
        self.disconnected = False
        self.form: ErrorForm = openai_form
        """How an error is told before the answer has begun."""
        self.broken: Callable[[HoldfastError], bytes] = sse_error
        """How it is told after that."""
        self.abort_reason: HoldfastError | None = None
        """Why the server itself cancelled this exchange, if it did."""
        self.aborting: Callable[[], None] = _nobody
        """Who is to hear of that before it happens."""
        self.trace: Trace | None = None
        """Who hears how it goes, where traces are on."""
        self._watching: asyncio.Task[Any] | None = None
        self.sending_since: float | None = None
        """Monotonic time at which the piece of a file began that is still under way; None: none
        is. What else is sent `connection.py` watches over."""

    @property
    def over_unix_socket(self) -> bool:
        """Whether it came through the admin socket, which only the owner's processes can open."""
        server = self.scope.get("server")
        return server is not None and server[1] is None

    @property
    def peer(self) -> str:
        """The address that it came from, for fairness between clients that have no key."""
        client = self.scope.get("client")
        return client[0] if client else "local"

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge as soon as more than `limit` bytes are announced or
        have come; what still arrives then is read by the server and dropped. Raises
        UnsupportedEncoding for one that is compressed."""
        if (encoding := self.headers.get(b"content-encoding", b"identity")) != b"identity":
            raise UnsupportedEncoding(
                f"request bodies in the encoding {encoding.decode('latin-1')[:32]!r} are not read",
                next_step="Send the body as it is, without Content-Encoding",
            )
        announced = self.headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:
            raise _too_large(limit)
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            pieces = [body]
            size = len(body)
            while message.get("more_body", False):
                if size > limit:
                    raise _too_large(limit)
                message = await self._receive()
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
            body = b"".join(pieces)
        if message["type"] == "http.disconnect":
            self.disconnected = True
            raise asyncio.CancelledError
        if len(body) > limit:
            raise _too_large(limit)
        return body

    def watch_client(self) -> None:
        """From now on, once the body is read, the present task is cancelled should the client
        leave."""
        self._watching = asyncio.current_task()
        self.scope["extensions"][departures.EXTENSION].add(self._on_departure)

    def unwatch_client(self) -> None:
        self._watching = None
        self.scope["extensions"][departures.EXTENSION].discard(self._on_departure)

    def abort(self, reason: HoldfastError) -> None:
        """Its task is about to be cancelled, for that reason."""
        self.abort_reason = reason
        self.aborting()

    def _on_departure(self) -> None:
        self.disconnected = True
        if self._watching is not None:
            self._watching.cancel()

    async def answer(
        self, status: int, body: bytes, headers: Iterable[Header] = (), kind: Header = _JSON
    ) -> None:
        """Send a whole answer, of type application/json unless `kind` says otherwise."""
        self.started = True
        length = (b"content-length", str(len(body)).encode())
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [kind, length, *self.answer_headers, *headers],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def answer_empty(self, headers: Iterable[Header]) -> None:
        """Send an answer that is `headers` alone, with status 204."""
        self.started = True
        head = [*self.answer_headers, *headers]
        await self._send({"type": "http.response.start", "status": 204, "headers": head})
        await self._send({"type": "http.response.body", "body": b""})

    async def answer_json(self, value: Any, status: int = 200) -> None:
        await self.answer(status, orjson.dumps(value))

    async def begin_stream(self) -> None:
        """Send the head of an event stream, unless that was done."""
        if not self.started:
            self.started = True
            headers = [*_STREAM, *self.answer_headers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        """Send a part of the stream; waits while the client is behind with reading."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def comment(self, text: str) -> None:
        """Tell a waiting client that all is well; server-sent event parsers skip comments."""
        await self.begin_stream()
        await self.write(sse_comment(text))

    async def end_stream(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def answer_file(
        self,
        status: int,
        headers: Iterable[Header],
        file: int,
        offset: int,
        count: int,
        on_sent: Callable[[int], None],
    ) -> None:
        """Answer with `count` bytes of the open file from `offset` on, sent by the kernel.

        `on_sent` is told the length of each piece. Raises OSError and EOFError if the file cannot
        be read; whatever ends it early, the client sees a connection that broke.
        """
        self.started = True
        length = (b"content-length", str(count).encode())
        head = [*headers, length, *self.answer_headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        if self.scope["method"] != "HEAD":
            await self._send_file(file, offset, count, on_sent)
        if not self.disconnected:
            await self._send({"type": "http.response.body", "body": b""})

    async def _send_file(
        self, file: int, offset: int, count: int, on_sent: Callable[[int], None]
    ) -> None:
        send_file: SendFile = self.scope["extensions"][EXTENSION]["send"]
        end = offset + count
        whole = False
        try:
            while offset < end:
                self.sending_since = time.monotonic()
                sent = await send_file(file, offset, end - offset)
                if not sent:
                    return
                on_sent(sent)
                offset += sent
            whole = True
        finally:
            self.sending_since = None
            if not whole:  # what is written now would be taken for bytes of the file
                self.disconnected = True

    async def fail(self, error: HoldfastError) -> None:
        """Answer with `error`: with its status while nothing was sent, else as the last event.

        A stream that failed is never closed by `[DONE]`: a client must be able to tell a broken
        answer from a whole one.
        """
        if self.disconnected:
            return
        if self.started:
            await self.write(self.broken(error))
            await self.end_stream()
            return
        body, headers = self.form(error)
        if error.retry_after is not None:
            headers.append((b"retry-after", str(error.retry_after).encode()))
        elif error.lasting:  # the SDKs would repeat it twice, by its status
            headers.append((b"x-should-retry", b"false"))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.answer(error.status, body, headers)

    def _request_id(self) -> bytes:
        given = self.headers.get(b"x-request-id", b"")
        if given and _REQUEST_ID.fullmatch(given):
            return given
        return b"req_%024x" % random.getrandbits(96)


def _headers(given: Collection[Header]) -> dict[bytes, bytes]:
    """Of several of one name the last; but no line may take back what another says of privacy."""
    headers = dict(given)
    if len(headers) < len(given) and _LOCAL_ONLY in headers:
        said = dict.fromkeys(value for name, value in given if name == _LOCAL_ONLY)
        headers[_LOCAL_ONLY] = b", ".join(said)  # true or false, or refused as neither
    return headers


def _nobody() -> None:
    """Who hears of an end that nobody asked to hear of."""


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the request body is larger than {format_bytes(limit)}",
        next_step="Send less, or raise [serve] max_body in the configuration",
    )
