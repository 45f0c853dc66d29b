"""A program that stands where `llama-server` does and answers at once, with what it always says.

What lies before it can then be measured alone: it does over 20,000 requests per second on one
core. Holdfast starts it through a wrapper script (see `wrapper`), since an engine's environment is
an allow-list; it takes llama-server's command line and reads of it only `--host` and `--version`.

GET /health, /v1/models and /props, POST /v1/chat/completions and /v1/completions. A request whose
`stream` is true gets `max_tokens` events, one every `--interval` seconds by the clock: a client
that is late gets those that are due together. Event number i carries the text "i ", so that what
was lost, repeated or put out of order shows.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import os
import resource
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

VERSION = "version: 0.0.0-static (build 99999, commit 0000000)"
BACKLOG = 4096
DEFAULT_EVENTS = 16
ANSWER = "The answer is always the same."
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_STREAM_END = b"0\r\n\r\n"


def wrapper(
    path: Path, *, interval: float = 0.02, tcp_port: int | None = None, core: int | None = None
) -> Path:
    """Write an executable script at `path` that runs this program with these settings."""
    extra = ["--interval", str(interval)]
    extra += [] if tcp_port is None else ["--tcp-port", str(tcp_port)]
    extra += [] if core is None else ["--core", str(core)]
    command = [sys.executable, str(Path(__file__).resolve()), *extra]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, kept alive."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._received = b""
        self._transport: asyncio.Transport
        self._events: Iterator[bytes] = iter(())
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        while True:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = received[:end]
            whole = end + 4 + _content_length(head)
            if len(received) < whole:
                return
            self._received, body = received[whole:], received[end + 4 : whole]
            self._answer(head, body)
            if not self._received:
                return
            received = self._received

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._timer is None:
            self._tell()

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if head.startswith(b"GET "):
            self._transport.write(_get(path))
            return
        asked = json.loads(body)
        chat = path != b"/v1/completions"
        if not asked.get("stream"):
            self._transport.write(_completion(chat))
            return
        self._transport.write(_STREAM_HEAD)
        self._events = iter(_stream(chat, asked.get("max_tokens") or DEFAULT_EVENTS))
        self._due = self._loop.time()
        self._tell()

    def _tell(self) -> None:
        """Write the events that are due, then wait for the next."""
        self._timer = None
        now = self._loop.time()
        while self._due <= now:
            if self._full:
                return
            event = next(self._events, None)
            if event is None:
                return
            self._transport.write(event)
            self._due += self._interval
        self._timer = self._loop.call_at(self._due, self._tell)


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(head[at + 17 :].split(b"\r\n", 1)[0])


@functools.cache
def _get(path: bytes) -> bytes:
    bodies: dict[bytes, Any] = {
        b"/health": {"status": "ok"},
        b"/v1/models": {"object": "list", "data": [{"id": "static", "object": "model"}]},
        b"/props": {"total_slots": 1, "model_path": "static"},
    }
    body = bodies.get(path)
    if body is None:
        error = {"code": 404, "message": "File Not Found", "type": "not_found_error"}
        return _response(b"404 Not Found", {"error": error})
    return _response(b"200 OK", body)


@functools.cache
def _completion(chat: bool) -> bytes:
    message = {"message": {"role": "assistant", "content": ANSWER}} if chat else {"text": ANSWER}
    kind = "chat.completion" if chat else "text_completion"
    body = {
        "choices": [{"finish_reason": "stop", "index": 0, **message}],
        **_identity(kind),
        "usage": _usage(7),
        "timings": {
            "cache_n": 0,
            "prompt_n": 12,
            "prompt_ms": 1.0,
            "predicted_n": 7,
            "predicted_ms": 1.0,
        },
    }
    return _response(b"200 OK", body)


@functools.cache
def _stream(chat: bool, events: int) -> tuple[bytes, ...]:
    """What a stream writes: `events` texts; with the last one go the reason, usage and [DONE]."""
    identity = _identity("chat.completion.chunk" if chat else "text_completion")

    def event(text: str | None, reason: str | None) -> bytes:
        part: dict[str, Any] = {"text": text or ""}
        if chat:
            part = {"delta": {} if text is None else {"content": text}}
        choice = {"finish_reason": reason, "index": 0, **part}
        return _chunk(b"data: " + _dump({"choices": [choice], **identity}) + b"\n\n")

    texts = [event(f"{index} ", None) for index in range(events)]
    usage = b"data: " + _dump({"choices": [], **identity, "usage": _usage(events)}) + b"\n\n"
    end = event(None, "length") + _chunk(usage) + _chunk(b"data: [DONE]\n\n") + _STREAM_END
    return (*texts[:-1], texts[-1] + end)


def _identity(kind: str) -> dict[str, Any]:
    return {
        "created": 1_700_000_000,
        "id": "chatcmpl-static",
        "model": "static",
        "system_fingerprint": "b99999-0000000",
        "object": kind,
    }


def _usage(tokens: int) -> dict[str, int]:
    return {"completion_tokens": tokens, "prompt_tokens": 12, "total_tokens": 12 + tokens}


def _response(status: bytes, body: dict[str, Any]) -> bytes:
    data = _dump(body)
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n"
        b"\r\n%b" % (status, len(data), data)
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _listen_unix(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(BACKLOG)
    return listener


def _listen_tcp(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _accept(listener: socket.socket, interval: float) -> None:
    """Take every connection that waits.

    libuv's own server takes one in each pass of the loop, so that with many streams running a
    thousand new connections would wait for seconds; llama-server has a thread that does nothing
    else.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError):
            return
        making = loop.create_task(
            loop.connect_accepted_socket(lambda: Connection(interval), accepted)
        )
        _being_made.add(making)
        making.add_done_callback(_being_made.discard)


_being_made: set[asyncio.Task[Any]] = set()


async def _serve(listeners: Sequence[socket.socket], interval: float) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    for listener in listeners:
        listener.setblocking(False)
        loop.add_reader(listener, _accept, listener, interval)
    # As llama-server says it, so that who reads its log need not wait for the next health check.
    print("main: server is listening on static_engine", flush=True)
    await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Stands where llama-server does and always says the same.",
        epilog="Example: static_engine.py --tcp-port 9000 --interval 0.02",
        allow_abbrev=False,
    )
    parser.add_argument("--host", help="a UNIX socket's path, or an address for --port")
    parser.add_argument("--port", type=int, default=8080, help="used with an address as --host")
    parser.add_argument("--tcp-port", type=int, help="a port on 127.0.0.1 to listen on as well")
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between events")
    parser.add_argument("--core", type=int, help="the CPU core to run on")
    parser.add_argument("--version", action="store_true", help="print a version and exit")
    asked, _ = parser.parse_known_args()
    if asked.version:
        print(VERSION)
        return
    if asked.core is not None:
        os.sched_setaffinity(0, {asked.core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listeners = []
    if asked.host and "/" in asked.host:
        listeners.append(_listen_unix(asked.host))
    elif asked.host:
        listeners.append(_listen_tcp(asked.host, asked.port))
    if asked.tcp_port is not None:
        listeners.append(_listen_tcp("127.0.0.1", asked.tcp_port))
    if not listeners:
        parser.error("--host or --tcp-port is needed")
    import uvloop

    gc.disable()  # nothing here makes cycles that grow; a collection would be noise
    uvloop.run(_serve(listeners, asked.interval))


if __name__ == "__main__":
    main()
