"""Events -> what a client of the Responses API gets: a stream of typed events, or a whole one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from server.chat.events import Event
from server.chat.responses.output import Output
from server.chat.responses.request import ResponsesRequest
from server.errors import HoldfastError


class ResponsesEncoder:
    """feed(events) -> whole events; see relay.Encoder. `identifier` and `created` as in Output."""

    def __init__(self, request: ResponsesRequest, identifier: str, created: int) -> None:
        self._output = Output(request, identifier, created)

    @property
    def response(self) -> dict[str, Any]:
        """The whole of it, once it is; to be kept."""
        return self._output.whole

    def feed(self, events: Sequence[Event]) -> bytes:
        return b"".join([_sse(one) for event in events for one in self._output.feed(event)])

    def error(self, error: HoldfastError) -> bytes:
        return b"".join([_sse(one) for one in self._output.fail(error)])


def whole_response(
    events: Iterable[Event], request: ResponsesRequest, identifier: str, created: int
) -> dict[str, Any]:
    """The answer that `events` amount to. They must be whole, with Ended at their end."""
    output = Output(request, identifier, created)
    for event in events:
        for _ in output.feed(event):
            pass
    return output.whole


def _sse(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
