"""A call of a protocol sent to a fake provider, as the way out would send it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

from server.catalogue.cloud import CloudModel
from server.chat.answer import Answer
from server.chat.events import Event
from server.chat.request import ChatRequest
from server.providers.provider import CloudProtocol
from tests.fakes.cloud_running import FakeCloud

PIECE = 57
"""Bytes that are read at a time: events come cut anywhere."""


def events_of(
    cloud: FakeCloud,
    protocol: CloudProtocol,
    request: ChatRequest,
    model: CloudModel,
    *,
    key: str = "key",
) -> Iterator[Event]:
    """Raises what the protocol makes of an answer that is no success."""
    call = protocol.encode(request, model)
    address = urlsplit(cloud.url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    headers = {"content-type": "application/json", **protocol.authentication(key), **call.headers}
    try:
        connection.request("POST", address.path + call.path, call.body, headers)
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        if response.status != 200:
            raise protocol.failure(response.status, named, response.read())
        decoder = protocol.decoder(request)
        while piece := response.read(PIECE):
            yield from decoder.feed(piece)
    finally:
        connection.close()


def answered(
    cloud: FakeCloud, protocol: CloudProtocol, request: ChatRequest, model: CloudModel
) -> Answer:
    answer = Answer()
    answer.feed(events_of(cloud, protocol, request, model))
    assert answer.ended
    return answer


def message_of(answer: Answer) -> dict[str, object]:
    """The answer as a client of chat completions sends it back."""
    choice = answer.choice()
    message: dict[str, object] = {"role": "assistant", "content": choice.text}
    if choice.details:
        message["reasoning_details"] = [dict(one) for one in choice.details]
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in choice.calls
        ]
    return message
