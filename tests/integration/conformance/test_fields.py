"""Every field that Holdfast accepts, put to the real engines, which must accept it too."""

from __future__ import annotations

from typing import Any

import pytest

from server.chat.fields import CHAT, COMPLETIONS, Field
from tests.integration.asking import SLOTS, Subject

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z][a-z]{1,7}$"}},
    "required": ["name"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}
USER = {"role": "user", "content": "What is Holdfast?"}
CONVERSATION = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "A tool may know.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris", "days": [1]}'},
            },
            {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "rain"}]},
    {"role": "system", "content": "Answer in French."},
    {"role": "assistant", "content": "Il fait beau."},
    {"role": "user", "content": ""},
    {"role": "user", "content": "<tool_response>x</tool_response>"},
]  # fmt: skip

BOTH: dict[str, list[Any]] = {
    "stream": [True],
    "stream_options": [{"include_usage": True}],
    "max_tokens": [1, 2**31 - 1],
    "n": [SLOTS],
    "stop": ["a", ["b", "\n"], []],
    "seed": [0, -1, 2**63 - 1, -(2**63)],
    "temperature": [0, 0.7, 2],
    "top_p": [1e-9, 0.9, 1],
    "top_k": [-1, 0, 40, 2**31 - 1],
    "min_p": [0, 0.05, 1],
    "presence_penalty": [-2, 0.5, 2],
    "frequency_penalty": [-2, 0.5, 2],
    "repetition_penalty": [0.01, 1.1, 2],
    "logit_bias": [{"0": -100, "7": 5.5}, {"2000000000": 1}],
    "task_type": ["coding"],
}
CHATS: dict[str, list[Any]] = BOTH | {
    "messages": [[USER], CONVERSATION, [USER, {"role": "assistant", "content": "It"}]],
    "max_completion_tokens": [2],
    "tools": [[TOOL], [{"type": "function", "function": {"name": "f"}}], []],
    "tool_choice": ["none", "auto"],
    "parallel_tool_calls": [True, False],
    "response_format": [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": PERSON}},
    ],
    "logprobs": [True, False],
    "top_logprobs": [20],
    "reasoning_effort": ["none", "high"],
    "reasoning": [{"effort": "low"}, {"enabled": False}],
    "chat_template_kwargs": [{"enable_thinking": True}, {"enable_thinking": False}],
    "enable_thinking": [True, False],
}
TEXTS: dict[str, list[Any]] = BOTH | {
    "prompt": ["Holdfast is", "é à", [1, 2, 3], [[4, 5]], ["one two"]],
    "logprobs": [0, 20],
}


def with_company(name: str, value: Any) -> dict[str, Any]:
    """The field, with those beside it without which it would be refused."""
    company: dict[str, dict[str, Any]] = {
        "tool_choice": {"tools": [TOOL]},
        "parallel_tool_calls": {"tools": [TOOL]},
        "top_logprobs": {"logprobs": True},
        "stream_options": {"stream": True},
        "max_completion_tokens": {"max_tokens": None},
    }
    return {**company.get(name, {}), name: value}


@pytest.mark.parametrize(("cases", "fields"), [(CHATS, CHAT), (TEXTS, COMPLETIONS)])
async def test_every_accepted_field_is_put_to_the_engine(
    cases: dict[str, list[Any]], fields: dict[str, Field]
) -> None:
    accepted = {field.name for field in fields.values() if field.policy == "accepted"}
    assert {*cases, "model"} == accepted


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in CHATS.items() for value in values]
)
async def test_a_chat_with(name: str, value: Any, subject: Subject) -> None:
    base = {"messages": [USER], "max_tokens": 4}
    if value == 2**31 - 1 and name == "max_tokens":
        base["stop"] = [" "]
    for stream in (False, True):
        if stream and name == "stream":
            continue
        client = {**base, "stream": stream, **with_company(name, value)}
        (await subject.ask(**client)).check()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in TEXTS.items() for value in values]
)
async def test_a_completion_with(name: str, value: Any, subject: Subject) -> None:
    base: dict[str, Any] = {"prompt": "Holdfast is", "max_tokens": 4}
    if value == 2**31 - 1 and name == "max_tokens":
        base["stop"] = [" "]
    for stream in (False, True):
        if stream and name == "stream":
            continue
        client = {**base, "stream": stream, **with_company(name, value)}
        (await subject.ask(**client)).check()


async def test_several_choices_are_counted_together(subject: Subject) -> None:
    client = {
        "prompt": "Holdfast is",
        "max_tokens": 4,
        "temperature": 0,
        "n": SLOTS,
    }
    answer = (await subject.ask(**client)).check()
    assert len(answer["choices"]) == SLOTS
    one = (await subject.ask(**{**client, "n": 1})).check()
    assert answer["usage"]["completion_tokens"] == SLOTS * one["usage"]["completion_tokens"]
