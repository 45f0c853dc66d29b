from __future__ import annotations

import base64
from typing import Any

import pytest

from server.chat.messages import Conversation
from server.chat.opaque import wrapped
from server.chat.responses.items import read_items
from server.errors import RequestError
from tests.chat import papers, pictures
from tests.effort import cpu_seconds

USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "x", "name": "f", "arguments": '{"a": 1}'}
AS_CHAT = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}, "id": "x"}
GAVE = {"type": "function_call_output", "call_id": "x", "output": "42"}
PNG = "data:image/png;base64," + base64.b64encode(pictures.png(2, 2)).decode()
PAPER = {"type": "input_file", "file_data": papers.url(papers.pdf(2)), "filename": "a.pdf"}
SEEN = {"type": "input_image", "image_url": PNG, "detail": "low"}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "sealed",
}
FOUND = {"type": "tool_search_output", "call_id": "x"}
SIGNED = {
    "type": "reasoning.text",
    "format": "anthropic",
    "text": "hm",
    "signature": "s",
    "index": 0,
    "at": 0,
}


def read(*items: Any, instructions: str = "") -> Conversation:
    return read_items(items, "input", instructions)


def text(kind: str, said: Any) -> dict[str, Any]:
    return {"type": kind, "text": said}


def message(role: str, *parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}


def test_messages() -> None:
    conversation = read(
        message("developer", text("input_text", "one"), text("input_text", "two")),
        USER,
        message("assistant", text("output_text", "hello")),
        {"role": "system", "content": "three"},
        message("user", text("input_text", "a"), text("input_text", "b")),
        instructions="zero",
    )
    assert conversation.messages == (
        {"role": "system", "content": "zero\n\none\ntwo\n\nthree"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": [text("text", "a"), text("text", "b")]},
    )


def test_an_answer_of_several_items_is_one_message() -> None:
    said = read(
        USER,
        REASONING,
        message("assistant", text("output_text", "I look.")),
        CALL,
        {**CALL, "call_id": "y", "arguments": ""},
        {**GAVE, "call_id": "y", "output": [text("input_text", "a"), text("input_text", "b")]},
        GAVE,
        {"role": "assistant", "content": "It is."},
        USER,
    ).messages
    assert said[1:] == (
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                AS_CHAT,
                {"type": "function", "function": {"name": "f", "arguments": "{}"}, "id": "y"},
            ],
            "reasoning_content": "hm",
            "reasoning_details": [
                {"type": "reasoning.encrypted", "format": "openai-responses", "id": "rs_1",
                 "data": "sealed", "index": 0, "at": 0},
            ],
        },
        {"role": "tool", "tool_call_id": "y", "content": "a\nb"},
        {"role": "tool", "tool_call_id": "x", "content": "42"},
        {"role": "assistant", "content": "It is."},
        {"role": "user", "content": "hi"},
    )  # fmt: skip


def test_reasoning_stands_where_it_stood() -> None:
    said = read(
        USER,
        message("assistant", text("output_text", "abc")),
        REASONING,
        CALL,
        {**REASONING, "id": "rs_2"},
        GAVE,
    ).messages[1]
    assert [(one["id"], one["index"], one["at"]) for one in said["reasoning_details"]] == [
        ("rs_1", 1, 3),
        ("rs_2", 3, 3),
    ]


def test_an_answer_of_many_items_takes_no_longer_for_it() -> None:
    said = [message("assistant", text("output_text", "a" * 4096)), REASONING] * 4000
    assert cpu_seconds(lambda: read(USER, *said)) < 0.4, "1.3 s, if each place is counted anew"


def test_reasoning_of_other_providers_travels_in_it() -> None:
    sealed = {**REASONING, "encrypted_content": wrapped(SIGNED), "summary": []}
    said = read(USER, sealed, {"role": "assistant", "content": "a"}, USER).messages[1]
    assert said == {"role": "assistant", "content": "a", "reasoning_details": [SIGNED]}


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs", "summary": []},
        {**REASONING, "summary": [], "encrypted_content": "holdfast.damaged"},
    ],
)
def test_reasoning_without_anything_says_nothing(item: dict[str, Any]) -> None:
    said = read(USER, item, {"role": "assistant", "content": "a"}, USER).messages[1]
    assert said == {"role": "assistant", "content": "a"}


def test_images() -> None:
    conversation = read(message("user", text("input_text", "what?"), SEEN))
    assert conversation.image_types == {"png"}
    assert conversation.messages[0]["content"] == [
        text("text", "what?"),
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    ]


def test_an_image_that_a_tool_gives_is_shown_after_it() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}
    said = read(USER, CALL, {**GAVE, "output": [text("input_text", "see"), SEEN]}, USER).messages
    assert said[2:] == (
        {"role": "tool", "tool_call_id": "x", "content": "see\n[image 1]"},
        {"role": "user", "content": [text("text", "[image 1] of what x gave:"), image]},
        {"role": "user", "content": "hi"},
    )


REFUSED: list[tuple[list[Any], str, str]] = [
    ([], "input", "no message"),
    ([{"role": "assistant", "content": "a"}], "input", "no message"),
    ([1], "input[0]", "an object"),
    ([{"type": "item_reference", "id": "x"}], "input[0].type", "'item_reference'"),
    ([{"type": 5}], "input[0].type", "a string"),
    ([{"content": "a"}], "input[0].role", "Missing"),
    ([{"role": "user"}], "input[0].content", "Missing"),
    ([{"role": "tool", "content": ""}], "input[0].role", "'tool'"),
    ([{"role": "user", "content": 5}], "input[0].content", "a string or"),
    ([message("user", 1)], "input[0].content[0]", "an object"),
    ([message("user", {"type": "input_audio"})], "input[0].content[0].type", "'input_file'"),
    ([message("user", {"type": "input_file"})], "input[0].content[0].file_data", "Missing"),
    ([message("user", {"type": "input_file", "file_id": "f"})],
     "input[0].content[0].file_id", "no files"),
    ([message("user", {"type": "input_file", "file_url": "https://a/b.pdf"})],
     "input[0].content[0].file_url", "not fetched"),
    ([message("user", {**PAPER, "file_data": "JVBERi0="})],
     "input[0].content[0].file_data", "not a base64 data: URL"),
    ([message("user", {**PAPER, "filename": ""})], "input[0].content[0].filename", "1 to 255"),
    ([message("user", {**PAPER, "detail": "x"})], "input[0].content[0].detail", "'x'"),
    ([message("system", PAPER)], "input[0].content[0].type", "'input_file'"),
    ([message("system", SEEN)], "input[0].content[0].type", "'input_image'"),
    ([message("user", text("input_text", 1))], "input[0].content[0].text", "a string"),
    ([message("user", {"type": "input_image"})], "input[0].content[0].image_url", "Missing"),
    ([message("user", {"type": "input_image", "file_id": "f"})],
     "input[0].content[0].file_id", "no files"),
    ([message("user", {**SEEN, "image_url": "https://a/b.png"})],
     "input[0].content[0].image_url", "not fetched"),
    ([message("user", {**SEEN, "detail": "x"})], "input[0].content[0].detail", "'x'"),
    ([USER, CALL], "input", "answers the call 'x'"),
    ([USER, CALL, USER], "input[2]", "answers the call 'x'"),
    ([USER, CALL, CALL], "input[2].call_id", "two calls"),
    ([USER, GAVE], "input[1].call_id", "no call 'x'"),
    ([USER, CALL, {**GAVE, "output": 5}], "input[2].output", "a string or"),
    ([USER, CALL, {"type": "function_call_output", "call_id": "x"}], "input[2].output", "Missing"),
    ([USER, {**CALL, "call_id": None}], "input[1].call_id", "a string"),
    ([USER, {**CALL, "name": "a b"}], "input[1].name", "pattern"),
    ([USER, {**CALL, "arguments": "["}], "input[1].arguments", "not valid JSON"),
    ([USER, {**REASONING, "summary": [{"type": "x"}]}], "input[1].summary[0].type", "'x'"),
    ([USER, {**REASONING, "summary": 5}], "input[1].summary", "an array"),
    ([USER, {**REASONING, "content": True}], "input[1].content", "an array"),
    ([USER, {**REASONING, "summary": {"a": 1}}], "input[1].summary", "an array"),
    ([USER, {**FOUND, "tools": 5}], "input[1].tools", "an array"),
    ([USER, {**FOUND, "tools": "f"}], "input[1].tools", "an array"),
    ([USER, {**REASONING, "encrypted_content": 1}], "input[1].encrypted_content", "a string"),
]  # fmt: skip


@pytest.mark.parametrize(("items", "param", "says"), REFUSED)
def test_what_is_wrong_is_named(items: list[Any], param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(*items)
    assert caught.value.param == param
    assert says in caught.value.sentence


def test_documents_of_a_user_and_of_a_tool() -> None:
    document = {"name": "a.pdf", "url": PAPER["file_data"], "pages": 2}
    part = {"type": "document", "document": document}
    low, auto = {**PAPER, "detail": "low"}, {**PAPER, "detail": "auto"}
    conversation = read(
        message("user", text("input_text", "which?"), low),
        CALL,
        {**GAVE, "output": [text("input_text", "here:"), SEEN, auto]},
    )
    user, _, tool, shown = conversation.messages
    seen = {"type": "document", "document": {**document, "detail": "low"}}
    assert user["content"] == [{"type": "text", "text": "which?"}, seen]
    assert tool["content"] == "here:\n[image 1]\n[document 2]"
    assert shown["content"][2:] == [
        {"type": "text", "text": "[document 2] of what x gave:"},
        part,
    ]
    assert conversation.pages == 4
