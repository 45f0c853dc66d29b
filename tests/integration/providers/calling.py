"""A call of a protocol sent to a fake provider, as the way out would send it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from server.catalogue.cloud import CloudModel
from server.chat.answer import Answer
from server.chat.events import Event
from server.chat.request import ChatRequest
from server.providers.provider import CloudProtocol
from tests.fakes.cloud_running import FakeCloud
from tests.providers.clouds import ask, result, user

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


def conversed(
    cloud: FakeCloud, protocol: CloudProtocol, model: CloudModel, weather: dict[str, Any]
) -> Any:
    """A conversation that thinks, calls `weather` twice at once and goes on, until all is said: the
    body of its second request, with which the cloud got back what it had thought."""
    question = user(
        "#fake think Hm, déjà vu.\n"
        '#fake call weather {"city": "Bonn"}\n#fake call weather {"city": "Köln 🌍"}'
    )
    fields: dict[str, Any] = {"tools": [weather], "enable_thinking": True, "max_tokens": 9000}
    first = answered(cloud, protocol, ask(question, **fields), model)
    choice = first.choice()
    assert choice.thinking == "Hm, déjà vu."
    cities = [json.loads(one.arguments) for one in choice.calls]
    assert cities == [{"city": "Bonn"}, {"city": "Köln 🌍"}]
    assert choice.reason == "tool_calls"
    assert first.usage is not None
    assert first.usage.reasoning_tokens == 3
    said = [question, message_of(first), *(result(one.id, "fine") for one in choice.calls)]
    cloud.requests(clear=True)
    second = answered(cloud, protocol, ask(*said, **fields), model)
    assert second.choice().text == "The tools said fine fine"
    (sent,) = cloud.requests()
    third = ask(*said, message_of(second), user("thanks"), **fields)
    assert answered(cloud, protocol, third, model).choice().reason == "stop"
    return sent["body"]
