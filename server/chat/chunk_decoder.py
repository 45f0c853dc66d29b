"""A stream of OpenAI's chat completions -> events, whoever sends it.

Engines and the many endpoints that call themselves compatible differ in small things, and all of
them are taken: thinking as `reasoning_content`, as `reasoning` or as parts of the content; tool
calls whole or in pieces, without an index, an id or a name repeated; usage with any event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from server.chat.decoder import StreamDecoder
from server.chat.engine_error import error_of
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
from server.chat.reasoning_details import usable_detail
from server.chat.sse_reader import SseReader
from server.chat.thinking import Trim
from server.chat.usage import Usage, usage_of
from server.errors import EngineError, HoldfastError

Failure = Callable[[Any], HoldfastError]
"""What an `error` that a stream carries means."""

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "model_length": "length",  # Mistral's
}
"""Any other word counts as `stop`, but for those below."""
_BROKEN = frozenset(("error", "insufficient_system_resource"))  # OpenRouter's, DeepSeek's


def engine_failure(error: Any) -> HoldfastError:
    return error_of(error.get("code") if isinstance(error, dict) else None, error)


class ChunkDecoder(StreamDecoder):
    """feed(bytes, cut anywhere) -> events; see relay.Decoder.

    Without arguments it reads an engine's stream, else that of a cloud: `failure` makes the error
    of what it reports, and `blame` is the class of what cannot be read.
    """

    def __init__(
        self, failure: Failure = engine_failure, blame: type[HoldfastError] = EngineError
    ) -> None:
        self._failure = failure
        self._blame = blame
        self._reader = SseReader(blame)
        self._engine = blame is EngineError
        self._usage: Usage | None = None
        self._trim = Trim()
        self._calls: dict[int, _Calls] = {}
        self._begun = False
        self._ended = False

    def _feed(self, chunk: bytes, events: list[Event]) -> None:
        for name, data in self._reader.feed(chunk):
            if self._ended:
                break
            if data == b"[DONE]":
                self._ended = True
                events.append(Ended())
                continue
            try:
                parsed = orjson.loads(data)
                error = parsed.get("error") or (parsed if name == "error" else None)
                if not error:
                    events += self.read(parsed)
            except (ValueError, TypeError, LookupError, AttributeError):
                raise self._unreadable() from None
            if error:
                raise self._failure(error)

    def read(self, data: dict[str, Any]) -> Iterator[Event]:
        """The events of one chunk, or of a whole answer, whose messages count as deltas.

        Of what is not as it should be it raises ValueError, TypeError, LookupError or
        AttributeError; `decode` and `feed` make an error of those.
        """
        if not self._begun:
            self._begun = True
            yield Began(str(data.get("id") or ""), str(data.get("model") or ""))
        for choice in data.get("choices") or ():
            yield from self._choice(choice)
        usage = usage_of(data.get("usage"))
        if usage is not None:
            # llama-server counts each choice by itself, everyone else all of them.
            self._usage = self._usage.with_choice(usage) if self._engine and self._usage else usage
            yield Used(self._usage)

    def decode(self, body: bytes) -> list[Event]:
        """The events of an answer that came whole."""
        try:
            data = orjson.loads(body)
            error = data.get("error")
            if not error:
                if not data["choices"]:
                    raise ValueError("no choice")
                return [*self.read(data), Ended()]
        except (ValueError, TypeError, LookupError, AttributeError):
            raise self._unreadable() from None
        raise self._failure(error)

    def _choice(self, choice: dict[str, Any]) -> Iterator[Event]:
        index = choice.get("index") or 0
        if type(index) is not int:
            raise TypeError("a choice has a number")
        if self._engine:
            self._trim.feed(choice)
        delta = choice.get("delta") or choice.get("message") or {}
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            yield Thinking(_string(thought), index)
        for number, entry in enumerate(delta.get("reasoning_details") or ()):
            detail = usable_detail(entry, number)  # of another Holdfast
            if detail is not None:
                yield ThinkingDetail(detail, index)
        content = delta.get("content")
        if content:
            if type(content) is str:
                yield Text(content, index)
            else:
                yield from _parts(content, index)
        if delta.get("refusal"):
            yield Refusal(_string(delta["refusal"]), index)
        for part in delta.get("tool_calls") or ():
            yield from self._calls_of(index).read(part)
        logprobs = choice.get("logprobs")
        if logprobs and logprobs.get("content"):
            yield Logprobs(read_logprobs(logprobs["content"]), index)
        reason = choice.get("finish_reason")
        if reason:
            yield self._finished(reason, choice, index)

    def _finished(self, reason: str, choice: dict[str, Any], index: int) -> Finished:
        if reason in _BROKEN:
            raise self._failure(choice.get("error") or {"message": reason})
        known = _REASONS.get(reason, "stop")
        if known == "stop" and index in self._calls:
            known = "tool_calls"  # said of calls that were forced, by OpenAI and vLLM
        stop = choice.get("stop_reason")  # vLLM's
        return Finished(known, index, stop if isinstance(stop, str) else None)

    def _calls_of(self, choice: int) -> _Calls:
        return self._calls.setdefault(choice, _Calls(choice))

    def _unreadable(self) -> HoldfastError:
        return self._blame(
            f"The {self._blame.fault} sent an answer that cannot be read", next_step="Try again"
        )


class _Calls:
    """The tool calls of one choice, counted in the order in which they begin."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._keys: dict[Any, int] = {}
        self._ids: list[str | None] = []

    def read(self, part: dict[str, Any]) -> Iterator[Event]:
        function = part.get("function") or {}
        position = self._find(part.get("index"), part.get("id"))
        if position is None:
            position = len(self._ids)
            given = part.get("id") or None
            self._ids.append(given)
            self._keys[part.get("index")] = position
            name = _string(function["name"])
            identity = _string(given or f"call_{self._choice}_{position}")
            yield CallBegan(position, identity, name, self._choice)
        arguments = function.get("arguments")
        if arguments:
            if type(arguments) is not str:
                arguments = orjson.dumps(arguments).decode()
            yield Arguments(position, arguments, self._choice)

    def _find(self, index: Any, identity: Any) -> int | None:
        """Of a call that has begun; some number each call 0 and tell them apart by id alone."""
        if identity and identity in self._ids:
            return self._ids.index(identity)
        position = self._keys.get(index)
        if position is None and index is None and not identity and self._ids:
            return len(self._ids) - 1
        if position is not None and identity and self._ids[position] is not None:
            return None
        return position


def _parts(content: list[dict[str, Any]], choice: int) -> Iterator[Event]:
    """Mistral's way to say thinking, in the shape `{"type": "thinking", "thinking": [PARTS]}`."""
    for part in content:
        if part["type"] == "thinking":
            for thought in part["thinking"]:
                yield Thinking(_string(thought["text"]), choice)
        elif part["type"] == "text":
            yield Text(_string(part["text"]), choice)


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{type(value)} where a string is expected")
    return value
