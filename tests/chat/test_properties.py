"""Whatever JSON comes in: a request or a RequestError, and only known keys for the engine."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from server.catalogue import Model
from server.chat import engine_body, parse_chat, parse_completion, parse_json
from server.chat.fields import CHAT, COMPLETIONS
from server.chat.request import ChatRequest, CompletionRequest
from server.errors import RequestError

ENGINE_KEYS = {
    "cache_prompt", "chat_template_kwargs", "frequency_penalty", "logit_bias", "logprobs",
    "max_tokens", "messages", "min_p", "n", "parallel_tool_calls", "presence_penalty", "prompt",
    "reasoning_format", "repeat_penalty", "response_format", "seed", "stop", "stream",
    "stream_options", "temperature", "tool_choice", "tools", "top_k", "top_logprobs", "top_p",
}  # fmt: skip
"""All that llama-server is ever sent."""

MESSAGE_KEYS = {"role", "content", "tool_calls", "tool_call_id", "reasoning_content"}

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "user", "tool", "function", "text", "auto", "json_schema", "#/a"])
    | st.text(max_size=20)
)
keys = st.sampled_from(
    ["type", "role", "content", "text", "function", "name", "arguments", "tool_calls", "pattern",
     "image_url", "url", "parameters", "properties", "json_schema", "schema", "enum", "items",
     "effort", "enabled", "enable_thinking", "include_usage", "mode", "tools", "id", "1",
     "refusal", "reasoning_content"]
) | st.text(max_size=5)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def plausible(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with a right core, so that the parts behind the first check are reached as well."""
    core = {
        "model": "m",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "refusal": "no"},
            {"role": "user", "content": "hi"},
        ],
        "prompt": "hi",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    }
    known = {name: value for name, value in core.items() if name in fields and name != "tools"}
    names = st.sampled_from(sorted(fields))
    return st.dictionaries(names, values, max_size=4).map(lambda drawn: {**known, **drawn})


anything = st.dictionaries(st.sampled_from(sorted({*CHAT, *COMPLETIONS})) | keys, values)
many = settings(max_examples=100)


def check(body: dict[str, Any], parse: Any, model: Model) -> None:
    for has_mmproj in (False, True):
        try:
            request = parse(parse_json(orjson.dumps(body)))
            sent = engine_body(request, model=model, has_mmproj=has_mmproj, slots=4)
        except RequestError as error:
            assert error.status == 400  # noqa: PT017
            assert len(error.sentence) < 2000  # noqa: PT017
            continue
        assert isinstance(request, ChatRequest | CompletionRequest)
        assert set(sent) <= ENGINE_KEYS
        assert orjson.loads(orjson.dumps(sent)) == sent
        for message in sent.get("messages", []):
            assert set(message) <= MESSAGE_KEYS
            # What an engine gets as parts it may fetch: all of them are those of a user's message.
            assert type(message["content"]) is str or message["role"] == "user"


@many
@given(body=anything | plausible(dict(CHAT)))
def test_any_chat(body: dict[str, Any], model: Model) -> None:
    check(body, parse_chat, model)


@many
@given(body=anything | plausible(dict(COMPLETIONS)))
def test_any_completion(body: dict[str, Any], model: Model) -> None:
    check(body, parse_completion, model)


message = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "x"])},
    optional={
        "content": st.text(max_size=9) | values,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {"function": st.fixed_dictionaries({"name": st.just("f"), "arguments": values})}
            )
            | values,
            max_size=2,
        ),
        "tool_call_id": st.just("c") | values,
        "reasoning": st.text(max_size=3) | values,
        "reasoning_content": st.text(max_size=3) | values,
        "refusal": values,
    },
)


@many
@given(messages=st.lists(message, max_size=5))
def test_any_conversation(messages: list[Any], model: Model) -> None:
    check({"model": "m", "messages": messages}, parse_chat, model)


answer = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | values, "reasoning": st.just("hm")},
    optional={"refusal": values, "reasoning_details": values, "name": values, "audio": values},
)


@many
@given(said=answer)
def test_any_answer(said: dict[str, Any], model: Model) -> None:
    asked = {"role": "user", "content": "hi"}
    check({"model": "m", "messages": [asked, said, asked]}, parse_chat, model)


@many
@given(body=st.binary(max_size=60) | values.map(orjson.dumps))
def test_any_bytes(body: bytes) -> None:
    try:
        assert isinstance(parse_json(body), dict)
    except RequestError as error:
        assert error.status == 400  # noqa: PT017
