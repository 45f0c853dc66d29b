"""What the engines say of the documented questions, and that each way of asking says the same."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from server.demo import Question, question, questions
from tests.integration.asking import SLOTS, Subject, chat

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

WHAT = question("what-is-holdfast")
THINKING = question("what-is-holdfast/thinking")
CALLS = tuple(one for one in questions() if one.tool_calls)


def said(choice: dict[str, Any]) -> tuple[Any, ...]:
    """Content, thinking and calls of a choice's message."""
    message = choice["message"]
    calls = tuple(
        (call["function"]["name"], orjson.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls") or ()
    )
    assert message.get("reasoning") == message.get("reasoning_content")
    return message["content"] or "", (message.get("reasoning") or "").strip(), calls


def documented(asked: Question) -> tuple[Any, ...]:
    calls = tuple((call.name, dict(call.arguments)) for call in asked.tool_calls)
    return asked.content, asked.reasoning or "", calls


async def test_every_answer_is_the_documented_one(subject: Subject) -> None:
    slots = asyncio.Semaphore(SLOTS)

    async def differs(asked: Question) -> str | None:
        async with slots:
            choice = await subject.answer(**chat(asked))
        expected = "length" if not asked.ends else "tool_calls" if asked.tool_calls else "stop"
        same = (
            said(choice) == documented(asked)
            and choice["finish_reason"] == expected
            and choice["usage"]["completion_tokens"] == asked.tokens
        )
        return None if same else f"{asked.id}: {choice}"

    found = await asyncio.gather(*(differs(asked) for asked in questions()))
    assert [one for one in found if one] == []


@pytest.mark.parametrize("asked", [WHAT, THINKING, CALLS[0], CALLS[-1]], ids=lambda q: q.id)
async def test_a_stream_says_what_a_whole_answer_says(asked: Question, subject: Subject) -> None:
    told = await subject.ask(**chat(asked, stream=True, stream_options={"include_usage": True}))
    *events, last = told.events()
    whole = await subject.answer(**chat(asked))
    message: dict[str, Any] = {"content": ""}
    reason = None
    for event in events:
        assert "usage" not in event
        (choice,) = event["choices"]
        delta = choice["delta"]
        reason = choice["finish_reason"] or reason
        assert delta.get("reasoning") == delta.get("reasoning_content")
        for key in ("content", "reasoning"):
            if delta.get(key):
                message[key] = message.get(key, "") + delta[key]
        for part in delta.get("tool_calls") or ():
            calls = message.setdefault("tool_calls", [])
            if part["index"] == len(calls):
                calls.append({"function": {"name": "", "arguments": ""}})
            for key, text in part["function"].items():
                calls[part["index"]]["function"][key] += text
    message["reasoning_content"] = message.setdefault("reasoning", None)
    assert said({"message": message}) == said(whole) == documented(asked)
    assert reason == whole["finish_reason"]
    assert last["choices"] == []
    counted = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [last["usage"][key] for key in counted] == [whole["usage"][key] for key in counted]


async def test_thinking_is_on_or_off_as_asked(subject: Subject) -> None:
    on = await subject.answer(**chat(THINKING))
    off = await subject.answer(**chat(THINKING, enable_thinking=False))
    assert on["message"]["reasoning"].strip() == THINKING.reasoning
    assert not off["message"].get("reasoning")
    assert "<think>" not in on["message"]["content"] + off["message"]["content"]
    cut = await subject.answer(**chat(THINKING, max_tokens=5))
    assert (cut["message"]["content"], cut["finish_reason"]) == ("", "length")
    assert THINKING.reasoning.startswith(cut["message"]["reasoning"])  # type: ignore[union-attr]


async def test_it_stops_where_it_is_told_and_does_not_say_so(subject: Subject) -> None:
    choice = await subject.answer(**chat(WHAT, stop=["nowhere", "family"]))
    assert choice["message"]["content"] == WHAT.content.partition("family")[0]
    assert choice["finish_reason"] == "stop"
    short = await subject.answer(**chat(WHAT, max_tokens=4))
    assert WHAT.content.startswith(short["message"]["content"])
    assert (short["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 4)
    at_once = await subject.answer(**chat(WHAT, stop=["Hold"]))
    assert (at_once["message"]["content"], at_once["finish_reason"]) == ("", "stop")


async def test_a_seed_repeats_an_answer(subject: Subject) -> None:
    wild = {"prompt": "Once upon a", "max_tokens": 24, "temperature": 2}
    texts = [
        (await subject.answer(**wild, seed=seed, top_k=-1, top_p=1, min_p=0))["text"]
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_of_greedy_choices_each_is_the_greedy_one(subject: Subject) -> None:
    answer = (await subject.ask(**chat(WHAT, n=SLOTS))).check()
    assert [one["message"]["content"] for one in answer["choices"]] == [WHAT.content] * SLOTS
    assert answer["usage"]["completion_tokens"] == SLOTS * WHAT.tokens


async def test_tokens_in_the_cache_are_counted(subject: Subject) -> None:
    for _ in range(2):
        usage = (await subject.answer(**chat(CALLS[0])))["usage"]
    assert usage["prompt_tokens"] > 300, "the tools are a long prompt"
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    if subject.differs("cached tokens untold"):
        assert cached == 0
    else:
        assert 0 < cached < usage["prompt_tokens"]
