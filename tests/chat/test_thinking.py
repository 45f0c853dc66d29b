"""Thinking as vLLM 0.32 says it. As llama-server says it: test_sse.py and test_reply.py."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat import StreamFilter, finish_reply, parse_chat
from server.chat.sse import DONE, sse_event
from server.chat.thinking import Trim
from tests.chat.recorded import events

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def chunk(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse_event({"object": "chat.completion.chunk", "choices": [choice]})


def said(stream: bytes, index: int = 0) -> dict[str, str]:
    """What the deltas of a choice come to, by key."""
    texts: dict[str, str] = {}
    for event in events(stream)[:-1]:
        for choice in event["choices"]:
            if choice["index"] == index:
                for key, text in choice["delta"].items():
                    texts[key] = texts.get(key, "") + (text or "")
    return texts


STREAM = (
    chunk(role="assistant", content=""),
    chunk(reasoning="Two"),
    chunk(reasoning=' lines.\n\n"Q"'),
    chunk(reasoning="\n"),
    chunk(content="\n"),
    chunk(content="\n Yes"),
    chunk(content="\n\n no"),
    chunk(finish="stop", content=""),
    DONE,
)
WANTED = {
    "role": "assistant",
    "content": "Yes\n\n no",
    "reasoning": 'Two lines.\n\n"Q"\n',
    "reasoning_content": 'Two lines.\n\n"Q"\n',
}


@given(cuts=st.sets(st.integers(1, len(b"".join(STREAM)) - 1), max_size=6))
def test_a_stream_however_it_is_cut(cuts: set[int]) -> None:
    whole, stream = b"".join(STREAM), StreamFilter(parse_chat({**ASKED, "stream": True}))
    edges = [0, *sorted(cuts), len(whole)]
    out = b"".join([stream.feed(whole[a:b]) for a, b in pairwise(edges)])
    assert stream.done
    assert said(out) == WANTED


def test_the_answer_is_passed_on_unopened() -> None:
    stream = StreamFilter(parse_chat({**ASKED, "stream": True}))
    for event in STREAM[:6]:
        stream.feed(event)
    odd = b'data: {"choices" : [ ]   }\n\n'
    assert stream.feed(odd) == odd


def test_choices_are_told_apart() -> None:
    stream = StreamFilter(parse_chat({**ASKED, "stream": True, "n": 2}))
    told = (
        chunk(0, reasoning="A\n"),
        chunk(1, content="\n\nnever thought"),
        chunk(0, content="\n\na"),
        chunk(0, content="\nb"),
        DONE,
    )
    out = b"".join([stream.feed(event) for event in told])
    assert said(out, 0)["content"] == "a\nb"
    assert said(out, 1)["content"] == "\n\nnever thought"


def test_thinking_that_never_ends() -> None:
    trim = Trim()
    trim.feed({"index": 0, "delta": {"reasoning": "A"}})
    trim.feed({"index": 0, "delta": {}, "finish_reason": "length"})
    trim.feed({"index": 0})
    assert trim.active


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (
            {"content": "\n\nYes.\n", "reasoning": "A\n"},
            {"content": "Yes.\n", "reasoning": "A\n", "reasoning_content": "A\n"},
        ),
        ({"content": "\nYes.", "reasoning": None}, {"content": "\nYes.", "reasoning": None}),
        (
            {"content": None, "reasoning": "A"},
            {"content": "", "reasoning": "A", "reasoning_content": "A"},
        ),
        ({"content": None}, {"content": ""}),
        (
            {"content": "", "tool_calls": [{"id": "x"}]},
            {"content": None, "tool_calls": [{"id": "x"}]},
        ),
    ],
)
def test_a_whole_answer(message: dict[str, Any], wanted: dict[str, Any]) -> None:
    answer = {"choices": [{"index": 0, "message": message}]}
    reply = finish_reply(orjson.dumps(answer), parse_chat({**ASKED, "max_tokens": 9}))
    assert orjson.loads(reply.body)["choices"][0]["message"] == wanted


def test_a_folded_stream_says_the_same() -> None:
    reply = finish_reply(b"".join(STREAM), parse_chat({**ASKED, "n": 2}))
    assert orjson.loads(reply.body)["choices"][0]["message"] == WANTED
