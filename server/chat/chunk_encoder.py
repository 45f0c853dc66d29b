"""Events -> what a client of chat completions gets: a stream of chunks, or one whole answer.

The shapes are those that an engine's own stream has on its way through `sse.StreamFilter`. What
all chunks of a choice have in common is written once: a chunk costs the escaping of its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from server.chat.answer import Answer, Call, Choice
from server.chat.custom_tools import CustomCallBegan, CustomCalls, Input, Told, input_of
from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    Logprobs,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.logprobs import chosen_only
from server.chat.request import ChatRequest
from server.chat.sse import DONE, sse_error
from server.chat.usage import Usage
from server.errors import HoldfastError

_dumps = orjson.dumps
_END = b'},"finish_reason":null}]}\n\n'


def _thinking(event: Thinking) -> bytes:
    text = _dumps(event.text)
    return b'"reasoning_content":%b,"reasoning":%b' % (text, text)


def _call_began(event: CallBegan) -> bytes:
    return (
        b'"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]'
        % (event.index, _dumps(event.id), _dumps(event.name))
    )


def _arguments(event: Arguments) -> bytes:
    return b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]' % (
        event.index,
        _dumps(event.text),
    )


def _custom_call_began(event: CustomCallBegan) -> bytes:
    return (
        b'"tool_calls":[{"index":%d,"id":%b,"type":"custom","custom":{"name":%b,"input":""}}]'
        % (event.index, _dumps(event.id), _dumps(event.name))
    )


def _input(event: Input) -> bytes:
    return b'"tool_calls":[{"index":%d,"custom":{"input":%b}}]' % (event.index, _dumps(event.text))


_DELTAS: dict[type, Callable[[Any], bytes]] = {
    Text: lambda event: b'"content":' + _dumps(event.text),
    Thinking: _thinking,
    ThinkingDetail: lambda event: b'"reasoning_details":[%b]' % _dumps(event.detail),
    Refusal: lambda event: b'"refusal":' + _dumps(event.text),
    CallBegan: _call_began,
    Arguments: _arguments,
    CustomCallBegan: _custom_call_began,
    Input: _input,
}
"""What each event is in a chunk's `delta`, without its braces."""


class ChunkEncoder:
    """feed(events) -> whole chunks; see relay.Encoder.

    `created` is in seconds of the epoch. Nothing is written before a choice says something, so
    that an answer that breaks before its first word leaves no trace.
    """

    def __init__(self, request: ChatRequest, created: int) -> None:
        self._include_usage = request.include_usage
        self._chosen_only = request.top_logprobs == 0
        self._created = created
        self._custom = CustomCalls(request.custom_tools) if request.custom_tools else None
        self._envelope = b""
        self._usage: Usage | None = None
        self._begun: dict[int, bytes] = {}
        self._bare: set[tuple[int, int]] = set()
        """Calls (choice, index) without arguments so far."""
        self._take(Began("", request.model), [])

    def feed(self, events: Sequence[Event]) -> bytes:
        pieces: list[bytes] = []
        said: Told | None = None
        told: Sequence[Told] = events if self._custom is None else self._custom.feed(events)
        for event in told:
            write = _DELTAS.get(type(event))
            if write is not None:
                head = self._begun.get(event.choice) or self._begin(event.choice, pieces)  # type: ignore[union-attr]
                pieces.append(head + write(event) + _END)
            if write is None or type(event) in (CallBegan, Arguments):
                self._take(event, pieces, said)
            said = event
        return b"".join(pieces)

    def error(self, error: HoldfastError) -> bytes:
        return sse_error(error)

    def _take(self, event: Told, pieces: list[bytes], before: Told | None = None) -> None:
        match event:
            case CallBegan():
                self._bare.add((event.choice, event.index))
            case Arguments():
                self._bare.discard((event.choice, event.index))
            case Began():
                self._envelope = _dumps(_envelope(event, self._created, "chat.completion.chunk"))
            case Used():
                self._usage = event.usage
            case Logprobs():
                self._logprobs(event, before, pieces)
            case Finished():
                self._finish(event, pieces)
            case Ended():
                self._end(pieces)

    def _begin(self, choice: int, pieces: list[bytes]) -> bytes:
        """The role, which comes first; returns the beginning of all chunks of `choice`."""
        envelope = self._envelope[:-1]
        head = b'data: %b,"choices":[{"index":%d,"delta":{' % (envelope, choice)
        self._begun[choice] = head
        pieces.append(head + b'"role":"assistant","content":""' + _END)
        return head

    def _logprobs(self, event: Logprobs, before: Told | None, pieces: list[bytes]) -> None:
        """They go into the chunk of their text, where that came with them."""
        part = {"logprobs": {"content": list(event.content), "refusal": None}}
        if self._chosen_only:
            chosen_only(part)
        head = self._begun.get(event.choice) or self._begin(event.choice, pieces)
        together = isinstance(before, Text) and before.choice == event.choice
        chunk = pieces.pop().removesuffix(_END) if together and pieces else head
        pieces.append(b"%b},%b,%b" % (chunk, _dumps(part)[1:-1], _END[2:]))

    def _finish(self, event: Finished, pieces: list[bytes]) -> None:
        head = self._begun.get(event.choice) or self._begin(event.choice, pieces)
        for choice, index in sorted(self._bare):
            if choice == event.choice:  # a call without arguments has an empty object of them
                pieces.append(head + _arguments(Arguments(index, "{}")) + _END)
                self._bare.discard((choice, index))
        pieces.append(head + b'},"finish_reason":"%b"}]}\n\n' % event.reason.encode())

    def _end(self, pieces: list[bytes]) -> None:
        if self._include_usage and self._usage is not None:
            usage = _dumps(self._usage.as_json())
            pieces.append(b'data: %b,"choices":[],"usage":%b}\n\n' % (self._envelope[:-1], usage))
        pieces.append(DONE)


def completion(answer: Answer, request: ChatRequest, created: int) -> bytes:
    """The whole answer as /v1/chat/completions gives it; `created` in seconds of the epoch."""
    choices = [
        _choice(number, answer.choice(number), request)
        for number in sorted(answer.choices.keys() | {0})
    ]
    began = Began(answer.id, answer.model or request.model)
    body = {**_envelope(began, created, "chat.completion"), "choices": choices}
    if answer.usage is not None:
        body["usage"] = answer.usage.as_json()
    return _dumps(body)


def _envelope(began: Began, created: int, kind: str) -> dict[str, Any]:
    return {
        "id": began.id or "chatcmpl-holdfast",
        "object": kind,
        "created": created,
        "model": began.model,
    }


def _choice(number: int, choice: Choice, request: ChatRequest) -> dict[str, Any]:
    silent = bool(choice.calls or choice.refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if silent and not choice.text else choice.text,
    }
    if choice.refusal:
        message["refusal"] = choice.refusal
    if choice.thinking:
        message["reasoning_content"] = message["reasoning"] = choice.thinking
    if choice.details:
        message["reasoning_details"] = choice.details
    if choice.calls:
        message["tool_calls"] = [_call(call, request) for call in choice.calls]
    entry: dict[str, Any] = {"index": number, "message": message, "logprobs": None}
    if choice.logprobs:
        entry["logprobs"] = {"content": choice.logprobs, "refusal": None}
        if request.top_logprobs == 0:
            chosen_only(entry)
    return {**entry, "finish_reason": choice.reason or "stop"}


def _call(call: Call, request: ChatRequest) -> dict[str, Any]:
    if call.name in request.custom_tools:
        custom = {"name": call.name, "input": input_of(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}
