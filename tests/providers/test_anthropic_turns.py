from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types import ContentBlockParam
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from server.providers.anthropic_turns import system_and_turns
from tests.providers.clouds import (
    ask,
    assistant,
    call,
    image,
    paper,
    pdf_data,
    png,
    result,
    tool,
    user,
)


def turns(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    request = ask(*messages, tools=[tool(), tool("time")])
    written: list[dict[str, Any]] = orjson.loads(
        orjson.dumps(system_and_turns(request.messages, "model-1")[1])
    )
    return written


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(identifier: str, name: str = "weather", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": identifier, "name": name, "input": given}


def answer(identifier: str, content: str = "ok") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identifier, "content": content}


def thought(index: int, words: str = "hm", signature: str = "sig", **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "format": "anthropic", "text": words,
            "signature": signature, "index": index, **more}  # fmt: skip


def thinking(words: str = "hm", signature: str = "sig") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signature}


CASES: list[tuple[str, list[dict[str, Any]], list[tuple[str, list[dict[str, Any]]]]]] = [
    ("one message", [user("hi")], [("user", [text("hi")])]),
    (
        "neighbours are one turn",
        [user("a"), user([{"type": "text", "text": "b"}])],
        [("user", [text("a"), text("b")])],
    ),
    (
        "empty text and empty turns are left out",
        [user("a"), assistant(""), user([{"type": "text", "text": ""}]), user("b")],
        [("user", [text("a"), text("b")])],
    ),
    (
        "text of white space alone is left out",
        [
            user("a"),
            assistant(" \n", tool_calls=[call("c")]),
            result("c", "\n"),
            user([{"type": "text", "text": "\t"}]),
            assistant("\n\n"),
            user(" b\n"),
        ],
        [
            ("user", [text("a")]),
            ("assistant", [use("c")]),
            ("user", [{"type": "tool_result", "tool_use_id": "c"}, text(" b\n")]),
        ],
    ),
    (
        "white space between thoughts is left out",
        [
            user("a"),
            assistant(
                "\n\nb", reasoning_details=[thought(0, "first", at=0), thought(2, "second", at=2)]
            ),
            user("c"),
        ],
        [
            ("user", [text("a")]),
            ("assistant", [thinking("first"), thinking("second"), text("b")]),
            ("user", [text("c")]),
        ],
    ),
    (
        "answers of parallel calls come first in the user's turn",
        [
            user("a"),
            assistant("look", tool_calls=[call("c1", arguments='{"x":1}'), call("c2", "time")]),
            result("c2", "noon"),
            result("c1", ""),
            user("and?"),
        ],
        [
            ("user", [text("a")]),
            ("assistant", [text("look"), use("c1", x=1), use("c2", "time")]),
            (
                "user",
                [answer("c2", "noon"), {"type": "tool_result", "tool_use_id": "c1"}, text("and?")],
            ),
        ],
    ),
    (
        "ids that it would not take, or not twice",
        [
            user("a"),
            assistant(None, tool_calls=[call("a.b"), call("c")]),
            result("a.b"),
            result("c"),
            assistant(None, tool_calls=[call("c")]),
            result("c"),
        ],
        [
            ("user", [text("a")]),
            ("assistant", [use("call_0"), use("c")]),
            ("user", [answer("call_0"), answer("c")]),
            ("assistant", [use("call_2")]),
            ("user", [answer("call_2")]),
        ],
    ),
    (
        "thinking stands where it stood",
        [
            user("a"),
            assistant(
                "onetwo",
                reasoning_details=[
                    thought(0, "first", at=0),
                    thought(2, "second", at=3),
                    {"type": "reasoning.encrypted", "format": "anthropic", "data": "xyz",
                     "index": 5, "at": 6},
                ],
                tool_calls=[call("c1"), call("c2")],
            ),
            result("c1"),
            result("c2"),
        ],
        [
            ("user", [text("a")]),
            (
                "assistant",
                [
                    thinking("first"),
                    text("one"),
                    thinking("second"),
                    text("two"),
                    use("c1"),
                    {"type": "redacted_thinking", "data": "xyz"},
                    use("c2"),
                ],
            ),
            ("user", [answer("c1"), answer("c2")]),
        ],
    ),
    (
        "thinking whose place is not told whole comes as its index says",
        [
            user("a"),
            assistant("say", reasoning_details=[thought(2), thought(0)], tool_calls=[call("c")]),
            result("c"),
        ],
        [
            ("user", [text("a")]),
            ("assistant", [thinking(), text("say"), thinking(), use("c")]),
            ("user", [answer("c")]),
        ],
    ),
    (
        "thinking of others, and without a signature, is not sent",
        [
            user("a"),
            assistant(
                "b",
                reasoning_content="hm",
                reasoning_details=[
                    {"type": "reasoning.text", "format": "anthropic", "text": "hm", "index": 0},
                    {"type": "reasoning.encrypted", "format": "gemini", "data": "x", "index": 0},
                ],
            ),
            user("c"),
        ],
        [("user", [text("a")]), ("assistant", [text("b")]), ("user", [text("c")])],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_turns(messages: list[dict[str, Any]], expected: list[tuple[str, Any]]) -> None:
    assert [(turn["role"], turn["content"]) for turn in turns(*messages)] == expected


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("model-1", True),
        ("model-1-20251001", True),
        ("model-1-preview", True),
        ("model-1-5", False),
        ("model-12", False),
        ("model-1-mini", False),
        ("other", False),
    ],
)
def test_thinking_goes_back_to_the_model_whose_it_is(name: str, sent: bool) -> None:
    details = [thought(0, model=name)]
    _, answered, _ = turns(user("a"), assistant("b", reasoning_details=details), user("c"))
    assert answered["content"] == [*([thinking()] if sent else []), text("b")]


def test_documents_and_their_titles() -> None:
    (turn,) = turns(user([paper("T"), {"type": "text", "text": "look"}, paper(None)]))
    source = {"type": "base64", "media_type": "application/pdf", "data": pdf_data()}
    block = {"type": "document", "source": source}
    assert turn["content"] == [{**block, "title": "T"}, text("look"), block]
    for one in turn["content"]:
        TypeAdapter(ContentBlockParam).validate_python(one)


def test_images_are_what_their_bytes_say() -> None:
    url = png()
    mislabelled = url.replace("image/png", "image/jpeg")
    (turn,) = turns(user([{"type": "text", "text": "look"}, image(mislabelled)]))
    source = {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]}
    assert turn["content"] == [text("look"), {"type": "image", "source": source}]


def test_system_and_developer_messages_are_the_system_prompt() -> None:
    said = [{"role": "system", "content": "a"}, user("hi"), {"role": "developer", "content": "b"}]
    system, written = system_and_turns(ask(*said).messages, "model-1")
    assert system == "a\n\nb"
    assert len(written) == 1
    blank = [{"role": "system", "content": " \n"}, user("hi")]
    assert system_and_turns(ask(*blank).messages, "model-1") == ("", written)


def test_arguments_are_passed_on_as_they_were_written() -> None:
    arguments = '{"b": 1.0, "a": 12345678901234567, "b": [ ]}'
    request = ask(
        user("a"), assistant(None, tool_calls=[call("c", arguments=arguments)]), result("c")
    )
    assert arguments.encode() in orjson.dumps(system_and_turns(request.messages, "model-1")[1])


roles = st.lists(st.sampled_from(["user", "assistant", "call", "empty"]), max_size=8)


@given(roles=roles, content=st.sampled_from(["", " \n", "x"]))
def test_whatever_is_said_turns_alternate_and_say_something(roles: list[str], content: str) -> None:
    messages = [user("a")]
    for number, role in enumerate(roles):
        if role == "call":
            messages.append(assistant(content, tool_calls=[call(f"c{number}"), call("again")]))
            messages += [result("again"), result(f"c{number}", content)]
        else:
            said = "" if role == "empty" else content
            messages.append(user(said) if role == "user" else assistant(said))
    written = turns(*messages)
    assert [turn["role"] for turn in written] == [
        ("user", "assistant")[number % 2] for number in range(len(written))
    ]
    assert all(turn["content"] for turn in written)
    blocks = [block for turn in written for block in turn["content"]]
    assert all(block["text"].strip() for block in blocks if block["type"] == "text")
    used = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(set(used)) == len(used)
    assert {one["tool_use_id"] for one in blocks if one["type"] == "tool_result"} == set(used)
