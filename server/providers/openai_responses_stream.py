"""What OpenAI's Responses API answers -> events.

https://platform.openai.com/docs/api-reference/responses-streaming. Items of the output that are of
no kind that was asked for (searches, files, ...) say nothing here. Messages of one answer (what the
model is about to do, and the answer) are told apart by an empty line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from server.chat.decoder import StreamDecoder
from server.chat.events import (
    Arguments,
    Began,
    CallBegan,
    Ended,
    Event,
    Finished,
    FinishReason,
    Logprobs,
    Refusal,
    Text,
    Thinking,
    ThinkingDetail,
    Used,
)
from server.chat.logprobs import read_logprobs
from server.chat.sse_reader import SseReader
from server.chat.usage import Usage, usage_of
from server.errors import ProviderError
from server.providers.openai_error import stream_failure
from server.providers.openai_responses_body import FORMAT

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
_INCOMPLETE: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}

_BETWEEN = "\n\n"
"""Two messages of one answer; `responses/assistant_turn.py` joins those that clients send alike."""


class ResponsesDecoder(StreamDecoder):
    """feed(bytes, cut anywhere) -> events; see relay.Decoder."""

    def __init__(self) -> None:
        self._reader = SseReader()
        self._ended = False
        self._calls: dict[int, int] = {}
        """Place in the output -> number of the call."""
        self._told: set[tuple[int, str]] = set()
        """Places of which the words have come piece by piece, and which words."""
        self._model = ""
        self._written = 0
        """Characters of text so far."""
        self._speaking: int | None = None
        """The place of the message that the latest text is of."""

    def _feed(self, chunk: bytes, events: list[Event]) -> None:
        for _, data in self._reader.feed(chunk):
            if self._ended or data == b"[DONE]":  # which others than OpenAI send
                break
            try:
                parsed = orjson.loads(data)
                kind = parsed["type"] if "type" in parsed or "error" not in parsed else "error"
                if kind not in ("error", "response.failed"):
                    read = _READ.get(kind)
                    events += read(self, parsed) if read else ()
                    continue
                error = parsed["response"] if kind == "response.failed" else parsed
                error = error.get("error") or error
            except _UNREADABLE:
                raise unreadable() from None
            raise stream_failure(error)

    def decode(self, body: bytes) -> list[Event]:
        """The events of an answer that came whole."""
        try:
            response = orjson.loads(body)
            error = response.get("error")
            if not error:
                return list(self._whole(response))
        except _UNREADABLE:
            raise unreadable() from None
        raise stream_failure(error)

    def _whole(self, response: dict[str, Any]) -> Iterator[Event]:
        yield from self._began({"response": response})
        for index, item in enumerate(response["output"]):
            yield from self._item_done({"output_index": index, "item": item})
        yield from self._end({"response": response})

    def _began(self, event: dict[str, Any]) -> Iterator[Event]:
        response = event["response"]
        self._model = str(response["model"])
        yield Began(str(response["id"]), self._model)

    def _item_added(self, event: dict[str, Any]) -> Iterator[Event]:
        item, place = event["item"], event["output_index"]
        if item["type"] == "function_call" and place not in self._calls:
            number = self._calls[place] = len(self._calls)
            yield CallBegan(number, _string(item["call_id"]), _string(item["name"]))

    def _item_done(self, event: dict[str, Any]) -> Iterator[Event]:
        """Says what has not been said piece by piece."""
        item, place = event["item"], event["output_index"]
        if type(place) is not int:
            raise TypeError("an item has a number")
        kind = item["type"]
        if kind == "function_call":
            yield from self._item_added(event)
            if (place, "arguments") not in self._told and item["arguments"]:
                yield Arguments(self._calls[place], _string(item["arguments"]))
        elif kind == "message":
            for part in item["content"]:
                yield from self._part(part, place)
        elif kind == "reasoning":
            texts = [*(item.get("content") or ()), *(item.get("summary") or ())]
            if texts and (place, "thinking") not in self._told:
                yield Thinking("\n\n".join([text["text"] for text in texts]))
            if item.get("encrypted_content"):
                yield ThinkingDetail(self._sealed(item, place))

    def _sealed(self, item: dict[str, Any], place: int) -> dict[str, Any]:
        detail = {
            "type": "reasoning.encrypted",
            "format": FORMAT,
            "id": _string(item["id"]),
            "data": _string(item["encrypted_content"]),
            "index": place,
            "at": self._written,
        }
        return detail | {"model": self._model} if self._model else detail

    def _part(self, part: dict[str, Any], place: int) -> Iterator[Event]:
        if part["type"] == "refusal" and (place, "refusal") not in self._told:
            yield Refusal(_string(part["refusal"]))
        elif part["type"] == "output_text" and (place, "text") not in self._told:
            if part["text"]:
                yield from self._said(_string(part["text"]), place)
            if part.get("logprobs"):
                yield Logprobs(read_logprobs(part["logprobs"]))

    def _text(self, event: dict[str, Any]) -> Iterator[Event]:
        place = event["output_index"]
        self._told.add((place, "text"))
        yield from self._said(_string(event["delta"]), place)
        if event.get("logprobs"):
            yield Logprobs(read_logprobs(event["logprobs"]))

    def _said(self, text: str, place: int) -> Iterator[Event]:
        if text and place != self._speaking:
            if self._speaking is not None:
                self._written += len(_BETWEEN)
                yield Text(_BETWEEN)
            self._speaking = place
        self._written += len(text)
        yield Text(text)

    def _refusal(self, event: dict[str, Any]) -> Iterator[Event]:
        self._told.add((event["output_index"], "refusal"))
        yield Refusal(_string(event["delta"]))

    def _thinking(self, event: dict[str, Any]) -> Iterator[Event]:
        self._told.add((event["output_index"], "thinking"))
        yield Thinking(_string(event["delta"]))

    def _summary_part(self, event: dict[str, Any]) -> Iterator[Event]:
        if event.get("summary_index"):
            yield Thinking("\n\n")

    def _arguments(self, event: dict[str, Any]) -> Iterator[Event]:
        place = event["output_index"]
        self._told.add((place, "arguments"))
        yield Arguments(self._calls[place], _string(event["delta"]))

    def _end(self, event: dict[str, Any]) -> Iterator[Event]:
        response = event["response"]
        reason: FinishReason = "tool_calls" if self._calls else "stop"
        if response.get("status") == "incomplete":
            details = response.get("incomplete_details") or {}
            reason = _INCOMPLETE.get(str(details.get("reason")), "length")
        yield Finished(reason)
        usage = _usage(response.get("usage") or {})
        if usage is not None:
            yield Used(usage)
        self._ended = True
        yield Ended()


_READ: dict[str, Callable[[ResponsesDecoder, dict[str, Any]], Iterator[Event]]] = {
    "response.created": ResponsesDecoder._began,
    "response.output_item.added": ResponsesDecoder._item_added,
    "response.output_item.done": ResponsesDecoder._item_done,
    "response.output_text.delta": ResponsesDecoder._text,
    "response.refusal.delta": ResponsesDecoder._refusal,
    "response.reasoning_text.delta": ResponsesDecoder._thinking,
    "response.reasoning_summary_text.delta": ResponsesDecoder._thinking,
    "response.reasoning_summary_part.added": ResponsesDecoder._summary_part,
    "response.function_call_arguments.delta": ResponsesDecoder._arguments,
    "response.completed": ResponsesDecoder._end,
    "response.incomplete": ResponsesDecoder._end,
}
"""Events of any other type say nothing that one of these does not."""


def unreadable() -> ProviderError:
    return ProviderError("The provider sent an answer that cannot be read", next_step="Try again")


def _usage(usage: dict[str, Any]) -> Usage | None:
    return usage_of(
        {
            "prompt_tokens": usage.get("input_tokens"),
            "completion_tokens": usage.get("output_tokens"),
            "prompt_tokens_details": usage.get("input_tokens_details"),
            "completion_tokens_details": usage.get("output_tokens_details"),
        }
    )


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{type(value)} where a string is expected")
    return value
