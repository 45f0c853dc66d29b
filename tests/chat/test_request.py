from __future__ import annotations

import timeit
from typing import Any

import pytest

from server.catalogue import Model
from server.chat import engine_body, parse_json
from server.chat.request import ChatRequest, parse_chat, parse_completion
from server.errors import RequestError

TOOL = {"type": "function", "function": {"name": "f"}}
JSON = {"type": "json_object"}


def chat(**fields: Any) -> ChatRequest:
    return parse_chat({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def test_the_least_that_can_be_asked() -> None:
    request = chat()
    assert (request.endpoint, request.path) == ("chat", "/v1/chat/completions")
    assert request.model == "m"
    assert request.messages == ({"role": "user", "content": "hi"},)
    assert (request.stream, request.include_usage, request.n) == (False, False, 1)
    assert request.max_tokens is None
    assert request.thinking is None
    assert request.sampling == {}
    assert request.seed is None
    assert request.stop == ()
    assert request.tool_use.names == ()
    assert request.top_logprobs is None
    assert not request.has_images


def test_given_sampling_is_kept_apart() -> None:
    request = chat(temperature=0.5, top_k=3, repetition_penalty=1.1, seed=7, stop="x")
    assert request.sampling == {"temperature": 0.5, "top_k": 3, "repetition_penalty": 1.1}
    assert request.seed == 7
    assert request.stop == ("x",)


@pytest.mark.parametrize(
    ("fields", "thinking"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "medium"}, True),
        ({"enable_thinking": False}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {}}, None),
        ({"chat_template_kwargs": {}, "reasoning_effort": "low"}, True),
        ({"reasoning": {"effort": "high"}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning_effort": "low", "enable_thinking": True}, True),
        ({"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}}, False),
    ],
)
def test_thinking_is_switched_in_several_ways(
    fields: dict[str, Any], thinking: bool | None
) -> None:
    assert chat(**fields).thinking is thinking


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"enable_thinking": True}, None),
        ({"reasoning_effort": "minimal"}, "minimal"),
        ({"reasoning": {"effort": "xhigh"}}, "xhigh"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "low"}, "low"),
        ({"reasoning": {"enabled": True}, "reasoning_effort": "low"}, "low"),
    ],
)
def test_the_effort_is_kept_as_it_was_said(fields: dict[str, Any], effort: str | None) -> None:
    assert chat(**fields).effort == effort


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        (
            {"reasoning_effort": "high", "reasoning": {"effort": "low"}},
            "reasoning",
            "contradicts 'reasoning_effort'",
        ),
        (
            {"reasoning_effort": "high", "enable_thinking": False},
            "reasoning_effort",
            "contradicts 'enable_thinking'",
        ),
        (
            {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}},
            "reasoning_effort",
            "contradicts 'chat_template_kwargs'",
        ),
        (
            {"max_tokens": 1, "max_completion_tokens": 2},
            "max_completion_tokens",
            "contradicts 'max_tokens'",
        ),
        ({"stream_options": {}}, "stream_options", "only allowed when 'stream' is enabled"),
        ({"top_logprobs": 3}, "top_logprobs", "needs 'logprobs'"),
        ({"top_logprobs": 3, "logprobs": False}, "top_logprobs", "needs 'logprobs'"),
        ({"tool_choice": TOOL}, "tool_choice.function.name", "no tool 'f'"),
    ],
)
def test_fields_that_contradict_each_other(fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert says in caught.value.sentence


def test_fields_that_agree() -> None:
    assert chat(max_tokens=5, max_completion_tokens=5).max_tokens == 5
    assert chat(max_completion_tokens=6).max_tokens == 6
    assert chat(top_logprobs=0).top_logprobs is None
    assert chat(logprobs=True).top_logprobs == 0
    assert chat(logprobs=True, top_logprobs=4).top_logprobs == 4
    assert chat(tools=[TOOL], tool_choice="none", response_format=JSON).response_format == JSON
    assert chat(tools=[TOOL], response_format={"type": "text"}).response_format is None
    assert chat(stream=True, stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("fields", "folds"),
    [
        ({"max_tokens": 64}, False),
        ({"max_tokens": 65}, True),
        ({}, True),
        ({"n": 2, "max_tokens": 1}, True),
        ({"stream": True}, False),
        ({"n": 2, "stream": True}, False),
        ({"tools": [TOOL]}, True),
        ({"logprobs": True}, True),
        ({"tools": [TOOL], "logprobs": True}, False),  # not to be had in a stream
    ],
)
def test_what_may_take_long_is_streamed_inside(fields: dict[str, Any], folds: bool) -> None:
    assert chat(**fields).folds == folds


@pytest.mark.parametrize("body", [{}, {"model": None, "messages": None}])
def test_what_must_be_given(body: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="Missing required parameter: 'messages'"):
        parse_chat(body)
    with pytest.raises(RequestError, match="Missing required parameter: 'prompt'"):
        parse_completion({"model": "m"})
    with pytest.raises(RequestError, match="Missing required parameter: 'model'"):
        parse_chat({"messages": [{"role": "user", "content": "hi"}]})
    with pytest.raises(RequestError, match="Missing required parameter: 'model'"):
        parse_completion({"prompt": "hi"})


def test_a_completion() -> None:
    request = parse_completion({"model": "m", "prompt": "once"})
    assert (request.endpoint, request.path) == ("completions", "/v1/completions")
    assert (request.prompt, request.max_tokens, request.logprobs) == ("once", 16, None)
    request = parse_completion({"model": "m", "prompt": [1, 2], "max_tokens": 3, "logprobs": 0})
    assert (request.prompt, request.max_tokens, request.logprobs) == ((1, 2), 3, 0)


def test_an_ordinary_request_costs_little(model: Model) -> None:
    """Parsing, checking and building the engine's body: the target is 25 microseconds, and the
    bound here is wide enough for a busy machine."""
    body = (
        b'{"model":"m","messages":[{"role":"system","content":"Be brief."},'
        b'{"role":"user","content":"What is Holdfast?"}],"temperature":0.5,"max_tokens":64,'
        b'"stream":true,"stream_options":{"include_usage":true}}'
    )

    def once() -> None:
        engine_body(parse_chat(parse_json(body)), model=model, has_mmproj=False)

    rounds = 2000
    best = min(timeit.repeat(once, number=rounds, repeat=5)) / rounds
    assert best < 100e-6
