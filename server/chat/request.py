"""The request view: what a client asks for, checked and frozen.

body bytes --parse_json--> dict --parse_chat--> ChatRequest --engine_body--> the engine's body
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from server.chat.checks import invalid, missing
from server.chat.fields import CHAT, COMPLETIONS, EFFORTS, Reader
from server.chat.messages import Message
from server.chat.prompt import Prompt
from server.chat.tools import ToolUse, custom_names, parse_tool_choice
from server.errors import RequestError
from server.record import record

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)

SHORT_ANSWER = 64
"""Tokens up to which a whole answer is not worth a stream of its own inside."""

_NONE: frozenset[str] = frozenset()

_chat = Reader(CHAT)
_completions = Reader(COMPLETIONS)


@record(kw_only=True)
class Generation:
    """What both endpoints have in common."""

    endpoint: ClassVar[Literal["chat", "completions"]]
    path: ClassVar[str]

    model: str
    """As the client wrote it: a model, a build or an alias."""
    stream: bool
    include_usage: bool
    """Whether the client wants usage at the end of the stream."""
    n: int
    max_tokens: int | None
    sampling: Mapping[str, float]
    """Those of SAMPLING that the client gave."""
    seed: int | None
    stop: tuple[str, ...]
    logit_bias: Mapping[str, float] | None
    task_type: str | None

    @property
    def folds(self) -> bool:
        """Whether the engine streams what the client wants whole; see engine_body and fold.py.

        So it is for several choices, and for what may take long: llama-server looks only once a
        second whether the client of a whole answer is still there, and at once with each token of
        a stream.
        """
        long = self.max_tokens is None or self.max_tokens > SHORT_ANSWER
        return not self.stream and (self.n > 1 or (long and self.streamable))

    @property
    def streamable(self) -> bool:
        """Whether the engine can stream all that is asked for."""
        return True


@record(kw_only=True)
class ChatRequest(Generation):
    endpoint = "chat"
    path = "/v1/chat/completions"

    messages: tuple[Message, ...]
    """At most one system message, and that first; see messages.py."""
    image_types: frozenset[str]
    pages: int = 0
    """Of the documents in it, as far as that can be seen, from above; 0: there are none."""
    thinking: bool | None
    """None: the client left it to the model's default."""
    effort: str | None = None
    """One of fields.EFFORTS, for clouds that know degrees; `thinking` says as much of it as an
    engine understands."""
    thinking_budget: int | None = None
    """Tokens that thinking may take, for clouds that know such a bound."""
    tool_use: ToolUse
    custom_tools: frozenset[str] = frozenset()
    """Names of those of its tools that chat completions' clients know as custom tools."""
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    top_logprobs: int | None
    """None: no log probabilities; 0: those of the chosen tokens only."""

    @property
    def has_images(self) -> bool:
        return bool(self.image_types)

    @property
    def streamable(self) -> bool:
        # llama-server has no log probabilities in a stream with tools.
        return self.top_logprobs is None or not self.tool_use.tools


@record(kw_only=True)
class CompletionRequest(Generation):
    endpoint = "completions"
    path = "/v1/completions"

    prompt: Prompt
    logprobs: int | None
    """None: no log probabilities; 0: those of the chosen tokens only."""


def parse_chat(body: Mapping[str, Any]) -> ChatRequest:
    """A body of /v1/chat/completions. Raises RequestError, with `param` naming the field."""
    given = _chat.read(body)
    if "messages" not in given:
        raise missing("messages")
    conversation = given["messages"]
    tool_use = parse_tool_choice(given.get("tool_choice"), given.get("tools", ()), "tool_choice")
    response_format = given.get("response_format")
    top_logprobs = _top_logprobs(given)
    thinking, effort = _thinking(given)
    return ChatRequest(
        **_common(given, given.get("stream", False), _chat_max_tokens(given)),
        messages=conversation.messages,
        image_types=conversation.image_types,
        pages=conversation.pages,
        thinking=thinking,
        effort=effort,
        tool_use=tool_use,
        custom_tools=custom_names(body["tools"]) if "tools" in given else _NONE,
        parallel_tool_calls=given.get("parallel_tool_calls"),
        response_format=response_format,
        top_logprobs=top_logprobs,
    )


def parse_completion(body: Mapping[str, Any]) -> CompletionRequest:
    """A body of /v1/completions. Raises RequestError, with `param` naming the field."""
    given = _completions.read(body)
    if "prompt" not in given:
        raise missing("prompt")
    return CompletionRequest(
        **_common(given, given.get("stream", False), given.get("max_tokens", 16)),
        prompt=given["prompt"],
        logprobs=given.get("logprobs"),
    )


def _common(given: Mapping[str, Any], stream: bool, max_tokens: int | None) -> dict[str, Any]:
    if "model" not in given:
        raise missing("model")
    if "stream_options" in given and not stream:
        raise invalid("stream_options", "it is only allowed when 'stream' is enabled")
    return {
        "model": given["model"],
        "stream": stream,
        "include_usage": given.get("stream_options", False),
        "n": given.get("n", 1),
        "max_tokens": max_tokens,
        "sampling": {name: given[name] for name in SAMPLING if name in given},
        "seed": given.get("seed"),
        "stop": given.get("stop", ()),
        "logit_bias": given.get("logit_bias"),
        "task_type": given.get("task_type"),
    }


def _chat_max_tokens(given: Mapping[str, Any]) -> int | None:
    newer, older = given.get("max_completion_tokens"), given.get("max_tokens")
    if newer is not None and older is not None and newer != older:
        raise _contradiction("max_completion_tokens", "max_tokens")
    limit: int | None = newer if newer is not None else older
    return limit


def _top_logprobs(given: Mapping[str, Any]) -> int | None:
    if given.get("logprobs"):
        return int(given.get("top_logprobs", 0))
    if given.get("top_logprobs"):
        raise invalid("top_logprobs", "it needs 'logprobs': true")
    return None


def _thinking(given: Mapping[str, Any]) -> tuple[bool | None, str | None]:
    """Whether to think, and with which effort: the one answer of all the fields that say so, which
    must not contradict."""
    said: bool | None = None
    effort: str | None = None
    by = ""
    for name in ("chat_template_kwargs", "enable_thinking", "reasoning_effort", "reasoning"):
        value = given.get(name)
        if value is None:
            continue
        switch = EFFORTS[value] if isinstance(value, str) else value
        if said is not None and switch != said:
            raise _contradiction(name, by)
        if isinstance(value, str):
            if effort is not None and value != effort:
                raise _contradiction(name, by)
            effort = value
        said, by = switch, name
    return said, effort


def _contradiction(name: str, other: str) -> RequestError:
    return invalid(name, f"it contradicts '{other}'", "Send only one of them")
