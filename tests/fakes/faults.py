"""What goes wrong at a fake provider, on demand, and the answers in which it does.

A fault is one line of text, `KIND [at=PLACE] [seconds=S] [retry_after=S] [times=N]`, such as
`429 retry_after=2` or `cut at=mid-stream`. It comes in the request's header `x-fake-fault`, in its
text (see script.py), or is planned through the program's control port (cloud_program.py) for the
next `times` requests (1). Places that an answer does not have count as the nearest it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import orjson
from aiohttp import web

Place = Literal["before-headers", "before-first-token", "mid-stream", "at-end"]
PLACES: tuple[Place, ...] = get_args(Place)

KINDS = {
    "429": "too many requests, with Retry-After where `retry_after` is given",
    "quota": "429 because the account has no credit left",
    "401": "the key is not taken",
    "400": "the request is refused",
    "context": "the prompt is longer than the model's context",
    "500": "a failure of the provider",
    "503": "it cannot serve now",
    "529": "it is overloaded",
    "drip": "from the place on, byte by byte, `seconds` apart",
    "slow": "nothing comes for `seconds` at the place",
    "cut": "the connection is closed",
    "half-chunk": "half of the next event comes, then the connection is closed",
    "bad-json": "the next event is not JSON",
    "short": "the answer ends as if it were whole",
    "refused": "the connection is closed, and none is taken until the control port says so",
}
"""Statuses within a stream come as an error event, after which the answer ends."""

BREAKING = (
    "429",
    "429 retry_after=7",
    "quota",
    "500",
    "503",
    "529",
    "cut",
    "half-chunk",
    "bad-json",
    "short",
    "refused",
)
"""Those after which there is no answer, or no whole one, at whichever place."""

STATUSES = {"429": 429, "quota": 429, "401": 401, "400": 400, "context": 400}
STATUSES |= {"500": 500, "503": 503, "529": 529}


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    at: Place = "before-headers"
    seconds: float = 0.01
    retry_after: int | None = None
    times: int = 1

    @property
    def status(self) -> int | None:
        return STATUSES.get(self.kind)


def parse_fault(line: str) -> Fault:
    """Raises ValueError naming what is wrong."""
    kind, *options = line.split()
    if kind not in KINDS:
        raise ValueError(f"fault {kind!r} is none of {sorted(KINDS)}")
    fault = Fault(kind)
    for option in options:
        name, _, value = option.partition("=")
        if name == "at" and value in PLACES:
            fault = replace(fault, at=value)
        elif name == "retry_after":
            fault = replace(fault, retry_after=int(value))
        elif name == "times":
            fault = replace(fault, times=int(value))
        elif name == "seconds":
            fault = replace(fault, seconds=float(value))
        else:
            raise ValueError(f"option {option!r} of a fault; places are {PLACES}")
    return fault


class Faults:
    """Those that are planned, in their order; each request meets at most one."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []

    def plan(self, lines: Sequence[str]) -> None:
        self._planned += [parse_fault(line) for line in lines]

    def clear(self) -> None:
        self._planned.clear()

    def due(self, headers: Mapping[str, str], line: str | None = None) -> Fault | None:
        """The fault that this request meets; a planned one counts as met.

        `line` is what the request's text says of it.
        """
        line = headers.get("x-fake-fault", line)
        if line is not None:
            return parse_fault(line)
        if not self._planned:
            return None
        fault = self._planned.pop(0)
        if fault.times > 1:
            self._planned.insert(0, replace(fault, times=fault.times - 1))
        return fault


@dataclass(frozen=True, slots=True)
class Shape:
    """How a provider words its errors. `kind` is one of STATUSES."""

    error: Callable[[str], Any]
    """The JSON body of a fault of that kind."""
    event: Callable[[str], bytes]
    """The same as an event within a stream."""
    headers: Mapping[str, str]
    """Of every answer, such as x-ratelimit-*."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be sent: the events of a stream, or one whole JSON body."""

    pieces: Sequence[bytes]
    stream: bool
    first: int = 0
    """Which of the pieces brings the first token."""
    pace: float = 0.0
    """Seconds between two pieces."""
    content_type: str = "text/event-stream"
    event: Callable[[str], bytes] | None = None
    """How this stream words an error, where that is not the Shape's way."""

    def index(self, place: Place) -> int:
        """The piece before which a fault at `place` comes."""
        last = len(self.pieces) - 1
        if place == "mid-stream":
            return min(last, (self.first + last + 1) // 2)
        if place == "at-end":
            return last
        return min(self.first, last) if place == "before-first-token" else 0


def whole(value: Any) -> Answer:
    """A JSON body, in pieces so that it can break anywhere."""
    body = orjson.dumps(value)
    third = max(1, len(body) // 3)
    pieces = (body[:third], body[third : 2 * third], body[2 * third :])
    return Answer(pieces, stream=False, content_type="application/json")


async def play(
    request: web.Request, answer: Answer, shape: Shape, fault: Fault | None
) -> web.StreamResponse:
    """Answers `request`, with `fault`. Where that is to cut the connection, it is closed after."""
    if fault is not None and fault.status and (fault.at == "before-headers" or not answer.stream):
        return _status(shape, fault, fault.status)
    if fault is not None and fault.at == "before-headers":
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            fault = None
        elif fault.kind in ("cut", "half-chunk", "refused"):
            if fault.kind == "half-chunk" and request.transport is not None:
                request.transport.write(b"HTTP/1.1 200 O")
            _close(request)
            return web.Response()
    if answer.event is not None:
        shape = replace(shape, event=answer.event)
    response = web.StreamResponse(
        headers={**shape.headers, "Content-Type": answer.content_type, "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    at = len(answer.pieces) if fault is None else answer.index(fault.at)
    for index, piece in enumerate(answer.pieces):
        if fault is None or index < at:
            await response.write(piece)
        elif fault.kind == "drip":
            await _drip(response, piece, fault.seconds)
        elif index > at:
            await response.write(piece)
        elif not await _break(request, response, piece, shape, fault):
            break
        if answer.pace and index >= answer.first:
            await asyncio.sleep(answer.pace)
    return response


async def _break(
    request: web.Request, response: web.StreamResponse, piece: bytes, shape: Shape, fault: Fault
) -> bool:
    """Whether the answer goes on behind `piece`."""
    if fault.status:
        await response.write(shape.event(fault.kind))
        return False
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        await response.write(piece)
        return True
    if fault.kind == "bad-json":
        await response.write(piece.replace(b"data: ", b"data: {", 1).replace(b'"', b"", 1))
        return True
    if fault.kind == "half-chunk":
        await response.write(piece[: len(piece) // 2])
    if fault.kind != "short":
        _close(request)
    return False


async def _drip(response: web.StreamResponse, piece: bytes, seconds: float) -> None:
    for at in range(len(piece)):
        await response.write(piece[at : at + 1])
        await asyncio.sleep(seconds)


def _status(shape: Shape, fault: Fault, status: int) -> web.Response:
    headers = dict(shape.headers)
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    body = orjson.dumps(shape.error(fault.kind))
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()  # once what was written before has left
