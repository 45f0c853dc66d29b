from __future__ import annotations

from server.chat.answer import Answer, Call, Choice, answer_of
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
from server.chat.usage import Usage

DETAIL = {"type": "reasoning.text", "format": "anthropic", "signature": "s"}
SAID: list[Event] = [
    Began("id", "model"),
    Thinking("h"),
    Thinking("m"),
    ThinkingDetail(DETAIL),
    Text("a"),
    Text("x", 1),
    Logprobs([1]),
    Text("b"),
    Logprobs([2, 3]),
    Refusal("n"),
    Refusal("o"),
    CallBegan(0, "x", "f"),
    CallBegan(1, "y", "g"),
    Arguments(1, "{"),
    Arguments(0, "{}"),
    Arguments(1, "}"),
    Used(Usage(1, 1)),
    Finished("tool_calls"),
    Finished("stop", 1, stop="END"),
    Used(Usage(1, 2)),
    Ended(),
]


def test_what_events_amount_to() -> None:
    answer = answer_of(SAID)
    assert (answer.id, answer.model, answer.usage) == ("id", "model", Usage(1, 2))
    assert answer.ended
    assert answer.choices == {
        0: Choice(
            text="ab",
            thinking="hm",
            refusal="no",
            details=[DETAIL],
            calls=[Call("x", "f", "{}"), Call("y", "g", "{}")],
            logprobs=[1, 2, 3],
            reason="tool_calls",
        ),
        1: Choice(text="x", reason="stop", stop="END"),
    }


def test_it_can_be_looked_at_at_any_time() -> None:
    answer = Answer()
    assert answer.choice() == Choice()
    seen = []
    for event in SAID[:6]:
        answer.feed([event])
        seen.append(answer.choice().text)
    assert seen == ["", "", "", "", "a", "a"]
    assert not answer.ended
    assert answer.choice(1).text == "x"
    assert answer.choice(2) == Choice()
