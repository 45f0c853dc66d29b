from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from server.chat.images import MAX_IMAGES
from server.chat.messages import Conversation, parse_messages
from server.errors import RequestError
from tests.chat import papers
from tests.chat.pictures import gif, png, url

USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWER = {"role": "tool", "tool_call_id": "c1", "content": "42"}


def parse(*messages: Any) -> Conversation:
    return parse_messages(list(messages), "messages")


def texts(messages: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(message["role"], message.get("content")) for message in messages]


def image_part(address: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address or url(png(2, 2)), **more}}


FILE = "messages[0].content[0]"
PAPER = {"file_data": papers.url(papers.pdf(3)), "filename": "a.pdf"}


def file(said: dict[str, Any] = PAPER) -> dict[str, Any]:
    return {"type": "file", "file": said}


def test_a_document_is_a_part_with_its_pages() -> None:
    text = {"type": "text", "text": "which?"}
    unnamed = {"file_data": PAPER["file_data"], "file_id": None, "filename": None}
    conversation = parse(user([file(), text, file(unnamed)]))
    address = {"url": PAPER["file_data"], "pages": 3}
    assert conversation.messages[0]["content"] == [
        {"type": "document", "document": {"name": "a.pdf", **address}},
        text,
        {"type": "document", "document": address},
    ]
    assert (conversation.pages, conversation.image_types) == (6, frozenset())
    assert parse(user([file()])).pages == 3  # it is something that a user says
    assert parse(USER).pages == 0


def test_an_ordinary_conversation_stays_as_it_is() -> None:
    given = [
        {"role": "system", "content": "be brief"},
        USER,
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": ""},
    ]
    assert list(parse(*given).messages) == given
    assert parse(*given).image_types == frozenset()


def test_system_and_developer_messages_become_one_at_the_head() -> None:
    conversation = parse(
        {"role": "developer", "content": "one"},
        {"role": "system", "content": [{"type": "text", "text": "two"}]},
        USER,
        {"role": "assistant", "content": "hello"},
        {"role": "system", "content": "three"},
        USER,
    )
    assert texts(conversation.messages) == [
        ("system", "one\n\ntwo\n\nthree"),
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "hi"),
    ]


def test_what_the_prompt_has_no_place_for_is_dropped() -> None:
    conversation = parse(
        {"role": "user", "content": "hi", "name": "Ann", "cache_control": {"type": "ephemeral"}},
        {
            "role": "assistant",
            "content": "hello",
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": None,
            "reasoning_details": [{"x": 1}],
        },
        USER,
    )
    assert conversation.messages == (USER, {"role": "assistant", "content": "hello"}, USER)


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thinking_comes_back_under_either_name(key: str) -> None:
    conversation = parse(USER, {"role": "assistant", "content": "a", key: "hm"}, USER)
    assert conversation.messages[1] == {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "hm",
    }


def test_an_answer_of_ours_can_be_sent_back_as_it_came() -> None:
    answer = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "reasoning": "hm",
        "tool_calls": [CALL],
    }
    assert parse(USER, answer, ANSWER).messages[1:] == (
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [CALL],
        },
        ANSWER,
    )


def test_parts_of_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    conversation = parse(
        {"role": "user", "content": [*parts, {"type": "text", "text": "c", "extra": 1}]},
        {"role": "assistant", "content": [*parts, {"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": parts},
    )
    assert texts(conversation.messages) == [
        ("user", [*parts, {"type": "text", "text": "c"}]),
        ("assistant", "a\nb\nno"),
        ("user", parts),
    ]


def test_a_refusal_alone_is_the_content() -> None:
    said = {"role": "assistant", "content": None, "refusal": "no"}
    assert texts(parse(USER, said, USER).messages)[1] == ("assistant", "no")


def test_images() -> None:
    small = url(gif(2, 2))
    conversation = parse(
        {
            "role": "user",
            "content": [
                image_part(detail="auto"),
                image_part(small, detail=None),
                {"type": "text", "text": "what is it?"},
            ],
        }
    )
    assert conversation.image_types == {"png", "gif"}
    assert conversation.messages[0]["content"] == [
        image_part(),
        image_part(small),
        {"type": "text", "text": "what is it?"},
    ]


def test_the_detail_of_an_image_is_kept_where_it_says_anything() -> None:
    small = url(gif(2, 2))
    given = [
        {"type": "image_url", "image_url": {"url": small, "detail": one}} for one in ("low", "auto")
    ]
    (message,) = parse({"role": "user", "content": given}).messages
    assert [part["image_url"] for part in message["content"]] == [
        {"url": small, "detail": "low"},
        {"url": small},
    ]


SIGNED = {
    "type": "reasoning.text",
    "format": "anthropic",
    "text": "hm",
    "signature": "abc",
    "index": 0,
}


def test_signatures_of_thinking_are_kept() -> None:
    said = {"role": "assistant", "content": None, "reasoning_details": [{**SIGNED, "more": 1}]}
    assert parse(USER, said, USER).messages[1] == {
        "role": "assistant",
        "content": "",
        "reasoning_details": [SIGNED],
    }


def test_the_number_of_images_is_bounded() -> None:
    assert parse({"role": "user", "content": [image_part()] * MAX_IMAGES})
    with pytest.raises(RequestError, match=f"at most {MAX_IMAGES} images"):
        parse(
            {"role": "user", "content": [image_part()] * MAX_IMAGES},
            {"role": "user", "content": [image_part()]},
        )


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        (None, "{}"),
        ({"a": [1]}, '{"a":[1]}'),
        (' {"a": "é"} ', ' {"a": "é"} '),
    ],
)
def test_arguments_are_the_text_of_an_object(arguments: Any, kept: str) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    turn = {"role": "assistant", "content": "", "tool_calls": [call]}
    (kept_call,) = parse(USER, turn, ANSWER).messages[1]["tool_calls"]
    assert kept_call == {"type": "function", "function": {"name": "f", "arguments": kept}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", **more}


THOUGHT = {"content": None, "reasoning_content": "hm"}
FETCH = [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data"}}]
"""What an engine would fetch, were it ever sent."""


def calling(**function: Any) -> dict[str, Any]:
    return assistant(tool_calls=[{"type": "function", "function": function}])


@pytest.mark.parametrize(
    ("messages", "param", "says"),
    [
        ([], "messages", "1 to 10000 items, but got 0"),
        ([USER] * 10_001, "messages", "got 10001"),
        ({}, "messages", "expected an array, but got an object"),
        (["hi"], "messages[0]", "expected an object, but got a string"),
        ([{"content": "hi"}], "messages[0].role", "Missing"),
        ([{"role": 1}], "messages[0].role", "expected a string"),
        ([{"role": "bot", "content": ""}], "messages[0].role", "'bot' is not supported"),
        ([{"role": "function", "content": ""}], "messages[0].role", "Use 'tool'"),
        ([USER, {"role": "user"}], "messages[1].content", "got null"),
        ([user(None)], "messages[0].content", "got null"),
        ([user(1)], "messages[0].content", "got an integer"),
        ([user([])], "messages[0].content", "1 to 1024"),
        ([user(["a"])], "messages[0].content[0]", "expected an object"),
        ([user([{}])], "messages[0].content[0].type", "got null"),
        ([user([{"type": "text"}])], "messages[0].content[0].text", "got null"),
        (
            [user([{"type": "input_audio", "input_audio": {}}])],
            "messages[0].content[0].type",
            "'input_audio' is not supported",
        ),
        ([user([{"type": "file"}])], f"{FILE}.file", "got null"),
        ([user([{"type": "media_marker", "text": "x"}])], "messages[0].content[0].type", "not"),
        ([user([{"type": "image_url"}])], "messages[0].content[0].image_url", "got null"),
        (
            [user([{"type": "image_url", "image_url": "data:"}])],
            "messages[0].content[0].image_url",
            "expected an object",
        ),
        (
            [user([{"type": "image_url", "image_url": {}}])],
            "messages[0].content[0].image_url.url",
            "Missing",
        ),
        (
            [user("a"), user([{"type": "text", "text": "a"}, image_part("http://10.0.0.1/")])],
            "messages[1].content[1].image_url.url",
            "http: URLs are not fetched",
        ),
        (
            [user([image_part(detail="huge")])],
            "messages[0].content[0].image_url.detail",
            "'huge' is not supported",
        ),
        (
            [{"role": "system", "content": [image_part()]}, USER],
            "messages[0].content[0]",
            "only accepted in messages with role 'user'",
        ),
        ([{"role": "system"}, USER], "messages[0].content", "got null"),
        ([{"role": "system", "content": "x"}], "messages", "no message with role 'user'"),
        ([assistant(content="x")], "messages", "no message with role 'user'"),
        ([user("<tool_response>x</tool_response>")], "messages", "no message with role 'user'"),
        ([USER, assistant()], "messages[1].content", "only be null"),
        ([USER, assistant(content=None, tool_calls=[])], "messages[1].content", "only be null"),
        ([USER, assistant(content=1)], "messages[1].content", "got an integer"),
        ([USER, assistant(content="", tool_calls={})], "messages[1].tool_calls", "an array"),
        ([USER, assistant(content="", tool_calls="")], "messages[1].tool_calls", "an array"),
        ([USER, assistant(content="", audio={"id": "a"})], "messages[1].audio", "not supported"),
        (
            [USER, assistant(content="", function_call={"name": "f"})],
            "messages[1].function_call",
            "Use 'tool_calls'",
        ),
        ([USER, assistant(content="", reasoning=1)], "messages[1].reasoning", "a string"),
        ([USER, assistant(**THOUGHT, refusal=FETCH)], "messages[1].refusal", "got an array"),
        ([USER, {**CALLING, "refusal": FETCH}, ANSWER], "messages[1].refusal", "got an array"),
        ([USER, assistant(**THOUGHT, refusal=5)], "messages[1].refusal", "got an integer"),
        ([USER, {**CALLING, "refusal": 5}, ANSWER], "messages[1].refusal", "got an integer"),
        ([USER, assistant(content="a", refusal={})], "messages[1].refusal", "got an object"),
        ([USER, assistant(tool_calls=[1])], "messages[1].tool_calls[0]", "an object"),
        (
            [USER, assistant(tool_calls=[{"type": "mcp"}])],
            "messages[1].tool_calls[0].type",
            "only calls of type 'function' or 'custom'",
        ),
        ([USER, assistant(tool_calls=[{}])], "messages[1].tool_calls[0].function", "Missing"),
        ([USER, calling()], "messages[1].tool_calls[0].function.name", "Missing"),
        ([USER, calling(name="a b")], "messages[1].tool_calls[0].function.name", "pattern"),
        (
            [USER, calling(name="f", arguments="{")],
            "messages[1].tool_calls[0].function.arguments",
            "not valid JSON",
        ),
        (
            [USER, calling(name="f", arguments="[1]")],
            "messages[1].tool_calls[0].function.arguments",
            "holds a JSON object, but got an array",
        ),
        (
            [USER, calling(name="f", arguments=1)],
            "messages[1].tool_calls[0].function.arguments",
            "got an integer",
        ),
        (
            [USER, assistant(tool_calls=[{**CALL, "id": 1}])],
            "messages[1].tool_calls[0].id",
            "a string",
        ),
        ([USER, CALLING], "messages", "must be followed by tool messages"),
        ([USER, ANSWER], "messages[1].role", "a preceding message with 'tool_calls'"),
        ([ANSWER, USER], "messages[0].role", "a preceding message with 'tool_calls'"),
        ([USER, CALLING, {**ANSWER, "tool_call_id": 1}], "messages[2].tool_call_id", "string"),
        ([USER, CALLING, {"role": "tool", "content": "x"}], "messages[2].tool_call_id", "Missing"),
        ([USER, CALLING, {**ANSWER, "content": None}], "messages[2].content", "got null"),
        ([USER, CALLING, {**ANSWER, "content": [image_part()]}], "messages[2].content[0]", "only"),
        ([USER, CALLING, {**ANSWER, "content": [file()]}], "messages[2].content[0]", "only"),
        ([user([file({})])], f"{FILE}.file.file_data", "Missing"),
        ([user([file({"file_id": "f"})])], f"{FILE}.file.file_id", "no files are kept"),
        ([user([file({"file_data": "https://a"})])], f"{FILE}.file.file_data", "not fetched"),
        (
            [user([file({"file_data": "data:application/pdf;base64,AA=="})])],
            f"{FILE}.file.file_data",
            "those begin with",
        ),
        ([user([file({**PAPER, "filename": "a\nb"})])], f"{FILE}.file.filename", "control"),
    ],
)
def test_what_is_broken_is_named(messages: Any, param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_messages(messages, "messages")
    assert caught.value.param == param
    assert says in caught.value.sentence


def test_several_tools_may_answer_one_message() -> None:
    two = {**CALLING, "tool_calls": [CALL, {**CALL, "id": "c2"}]}
    conversation = parse(USER, two, ANSWER, {**ANSWER, "tool_call_id": "c2"}, USER)
    assert [message["role"] for message in conversation.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]


def test_an_image_alone_is_a_question() -> None:
    assert parse(user([image_part()])).messages
