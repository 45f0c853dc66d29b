from __future__ import annotations

import base64
from typing import Any

import pytest

from server.chat.anthropic.messages import parse_system, parse_turns, with_system
from server.chat.anthropic.opaque import data_of, detail_in, signature_of
from server.chat.images import MAX_IMAGES
from server.chat.messages import Conversation
from server.errors import RequestError
from tests.chat import papers, pictures
from tests.effort import cpu_seconds

PNG = base64.b64encode(pictures.png(2, 2)).decode()


def parse(*turns: dict[str, Any]) -> Conversation:
    return parse_turns(list(turns), "messages")


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(identifier: str = "c1") -> dict[str, Any]:
    return {"type": "tool_use", "id": identifier, "name": "look", "input": {}}


def result(identifier: str = "c1", content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": identifier, "content": content, **more}


def image(data: str = PNG, media_type: str = "image/png") -> dict[str, Any]:
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source}


SHOWN = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def test_text_and_images() -> None:
    said = parse(user([text("look"), image(), text("well?")]))
    assert said.messages == ({"role": "user", "content": [text("look"), SHOWN, text("well?")]},)
    assert said.image_types == {"png"}


def test_system_messages_join_the_system_prompt_wherever_they_stand() -> None:
    said = parse(user("a"), {"role": "system", "content": [text("b"), text("c")]}, assistant())
    assert [one["role"] for one in said.messages] == ["system", "user", "assistant"]
    assert with_system("first", said)[0]["content"] == "first\n\nb\n\nc"
    assert with_system("", said)[0]["content"] == "b\n\nc"
    assert with_system("", parse(user("a")))[0]["role"] == "user"
    assert parse_system([text("a"), text(""), text("b")], "system") == "a\n\nb"


def test_results_are_messages_before_what_else_is_said() -> None:
    said = parse(
        user("a"),
        assistant(text("I "), text("look"), use("c1"), use("c2")),
        user([text("well?"), result("c2", [text("x"), text("y")]), result("c1", None)]),
    )
    assert [one["content"] for one in said.messages] == ["a", "I look", "x\ny", "", "well?"]
    assert [one.get("tool_call_id") for one in said.messages][2:4] == ["c2", "c1"]


def test_images_of_a_result_follow_it_by_name() -> None:
    said = parse(
        user("a"),
        assistant(use("c1"), use("c2")),
        user([result("c1", [text("here:"), image(), image()]), result("c2", [image()]), text("b")]),
    )
    *_, one, two, last = said.messages
    assert one["content"] == "here:\n[image 1]\n[image 2]"
    assert two["content"] == "[image 3]"
    assert last["content"] == [
        text("[image 1] of the result of c1:"),
        SHOWN,
        text("[image 2] of the result of c1:"),
        SHOWN,
        text("[image 3] of the result of c2:"),
        SHOWN,
        text("b"),
    ]


def test_an_error_says_so() -> None:
    said = parse(user("a"), assistant(use()), user([result(content="no", is_error=True)]))
    assert said.messages[-1]["content"] == "Error: no"


PDF = {
    "type": "base64",
    "media_type": "application/pdf",
    "data": base64.b64encode(papers.pdf(2)).decode(),
}
FOUND = {
    "type": "search_result",
    "title": "T",
    "source": "https://a",
    "content": [text("a"), text("b")],
    "citations": {"enabled": True},
}


def test_a_pdf_stays_one_after_its_context() -> None:
    block = {"type": "document", "source": PDF, "cache_control": {"type": "ephemeral"}}
    about = {**block, "title": "T", "context": "About", "citations": {"enabled": True}}
    document = {"url": f"data:application/pdf;base64,{PDF['data']}", "pages": 2}
    said = parse(user([about, {**block, "title": None}]))
    assert said.messages[0]["content"] == [
        text("About"),
        {"type": "document", "document": {"name": "T", **document}},
        {"type": "document", "document": document},
    ]
    assert said.pages == 4
    in_a_result = parse(user("q"), assistant(use()), user([result(content=[image(), about])]))
    *_, tool, shown = in_a_result.messages
    assert tool["content"] == "[image 1]\nAbout\n[document 2]"
    assert shown["content"][2:] == [
        text("[document 2] of the result of c1:"),
        {"type": "document", "document": {"name": "T", **document}},
    ]
    assert in_a_result.pages == 2


def test_a_document_of_text_is_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    said = parse(user([{"type": "document", "title": "T", "source": source, "citations": None}]))
    assert said.messages[0]["content"] == "T\n\nwords"


@pytest.mark.parametrize("content", ["a\nb", [text("a"), text("b")]])
def test_a_document_of_blocks_is_their_text(content: Any) -> None:
    source = {"type": "content", "content": content}
    block = {"type": "document", "context": "About", "source": source}
    said = parse(user("q"), assistant(use()), user([result(content=[block])]))
    assert said.messages[-1]["content"] == "About\n\na\nb"


def test_a_search_result_is_text_under_its_title_and_source() -> None:
    said = parse(user([FOUND, text("Which?")]))
    assert said.messages[0]["content"] == [text("T\nhttps://a\n\na\nb"), text("Which?")]
    in_a_result = parse(user("q"), assistant(use()), user([result(content=[FOUND])]))
    assert in_a_result.messages[-1]["content"] == "T\nhttps://a\n\na\nb"


def thought(words: str = "hm", signature: str = "s") -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": signature}


def test_thinking_keeps_its_place() -> None:
    said = parse(
        user("a"),
        assistant(
            thought("one", "s1"),
            {"type": "redacted_thinking", "data": "xyz"},
            text("abc"),
            thought("two", ""),
            thought("three", "s3"),
            use(),
        ),
        user([result()]),
    )
    answer = said.messages[1]
    assert answer["reasoning_content"] == "one\n\ntwo\n\nthree"
    here = {"format": "anthropic"}
    signed = {"type": "reasoning.text", **here}
    assert answer["reasoning_details"] == [
        {**signed, "text": "one", "signature": "s1", "index": 0, "at": 0},
        {"type": "reasoning.encrypted", **here, "data": "xyz", "index": 1, "at": 0},
        {**signed, "text": "three", "signature": "s3", "index": 4, "at": 3},
    ]


def test_an_answer_of_many_blocks_takes_no_longer_for_it() -> None:
    turns = [user("a"), assistant(*[text("a" * 8192)] * 4000)]
    assert cpu_seconds(lambda: parse(*turns)) < 0.5, "3 s, if each is added to all before"


def test_thinking_that_is_not_shown_is_none_for_engines() -> None:
    answer = parse(user("a"), assistant(thought(""), text("b"))).messages[1]
    assert "reasoning_content" not in answer
    assert answer["reasoning_details"]


FOREIGN = {"type": "reasoning.encrypted", "format": "gemini", "data": "é", "id": "c", "index": 3}


def test_what_others_want_back_is_found_again() -> None:
    data = data_of(FOREIGN)
    assert detail_in(data, "data") == FOREIGN
    redacted = {"type": "redacted_thinking", "data": data}
    answer = parse(user("a"), assistant(redacted, text("b"))).messages[1]
    assert answer["reasoning_details"] == [FOREIGN]


OURS = {"format": "anthropic", "model": "claude-x", "index": 0, "at": 0}
SIGNED = {"type": "reasoning.text", "text": "hm", "signature": "s=", **OURS}
CRYPT = {"type": "reasoning.encrypted", "data": "xyz", **OURS}


def test_whose_thinking_it_is_comes_back_too() -> None:
    blocks = [thought("hm", signature_of(SIGNED))]
    blocks.append({"type": "redacted_thinking", "data": data_of(CRYPT)})
    answer = parse(user("a"), assistant(text("b"), *blocks)).messages[1]
    moved = [{**SIGNED, "index": 1, "at": 1}, {**CRYPT, "index": 2, "at": 1}]
    assert answer["reasoning_details"] == moved


def test_without_a_model_it_is_anthropics_own() -> None:
    nameless = [{key: one[key] for key in one if key != "model"} for one in (SIGNED, CRYPT)]
    assert (signature_of(nameless[0]), data_of(nameless[1])) == ("s=", "xyz")


@pytest.mark.parametrize("data", ["holdfast.", "holdfast.!!", "holdfast.e30=", "holdfast.W10="])
def test_what_was_damaged_is_dropped_and_never_taken_for_anthropics(data: str) -> None:
    redacted = {"type": "redacted_thinking", "data": data}
    answer = parse(user("a"), assistant(redacted, text("b"))).messages[1]
    assert "reasoning_details" not in answer


TOO_MANY = [image()] * (MAX_IMAGES + 1)


@pytest.mark.parametrize(
    ("turns", "param", "says"),
    [
        ([1], "messages[0]", "an object"),
        ([{}], "messages[0].role", "Missing"),
        ([{"role": "tool", "content": "a"}], "messages[0].role", "'user', 'assistant', 'system'"),
        ([{"role": "user"}], "messages[0].content", "Missing"),
        ([user(1)], "messages[0].content", "a string or an array"),
        ([user([1])], "messages[0].content[0]", "an object"),
        ([user([{}])], "messages[0].content[0].type", "a string"),
        ([user([{"type": "text"}])], "messages[0].content[0].text", "a string"),
        ([user([{"type": "video"}])], "messages[0].content[0].type", "'video' are not supported"),
        ([user([{"type": "search_result"}])], "messages[0].content[0].title", "a string"),
        (
            [user([{**FOUND, "content": [{"type": "image"}]}])],
            "messages[0].content[0].content[0].type",
            "'text', and nothing else",
        ),
        (
            [user([{"type": "web_search_tool_result"}])],
            "messages[0].content[0].type",
            "'web_search_tool_result' are not supported",
        ),
        ([user([use()])], "messages[0].content[0].type", "'tool_result'"),
        ([user([image("!")])], "messages[0].content[0].source.data", "base64"),
        ([user([image(media_type="x")])], "messages[0].content[0].source.data", "data: URL"),
        ([user(TOO_MANY)], f"messages[0].content[{MAX_IMAGES}].source.data", "at most"),
        (
            [user([{"type": "image", "source": {"type": "url", "url": "https://a"}}])],
            "messages[0].content[0].source.type",
            "in the request itself",
        ),
        (
            [user([{"type": "document", "source": {**PDF, "media_type": "text/rtf"}}])],
            "messages[0].content[0].source.type",
            "this is text/rtf. Send it as base64, or its text",
        ),
        (
            [user([{"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}])],
            "messages[0].content[0].source.type",
            "in the request itself",
        ),
        (
            [user([{"type": "document", "source": {**PDF, "data": 5}}])],
            "messages[0].content[0].source.data",
            "a string",
        ),
        (
            [user([{"type": "document", "source": {**PDF, "data": "AAAA"}}])],
            "messages[0].content[0].source.data",
            "those begin with '%PDF-'",
        ),
        (
            [user([{"type": "document", "source": PDF, "title": "a" * 256}])],
            "messages[0].content[0].title",
            "1 to 255 characters",
        ),
        (
            [user([{"type": "document", "source": PDF, "context": 5}])],
            "messages[0].content[0].context",
            "a string",
        ),
        (
            [user([{"type": "document", "source": {"type": "file", "file_id": "f"}}])],
            "messages[0].content[0].source.type",
            "this is a source of type 'file'",
        ),
        ([assistant(text("a"))], "messages", "no message in which the user says"),
        ([user([result()])], "messages[0].content[0].tool_use_id", "no call 'c1'"),
        (
            [user("a"), assistant(use()), user("b")],
            "messages",
            "'c1' of the turn before has no 'tool_result'",
        ),
        (
            [user("a"), assistant(use()), assistant(text("b"))],
            "messages[2].content",
            "'c1' of the turn before",
        ),
        (
            [user("a"), assistant(use()), user([result(), result()])],
            "messages[2].content[1].tool_use_id",
            "no call 'c1'",
        ),
        ([user("a"), assistant(use(), use())], "messages[1].content", "same 'id'"),
        ([user("a"), assistant({"type": "tool_use"})], "messages[1].content[0].input", "Missing"),
        (
            [user("a"), assistant({**use(), "input": "x"})],
            "messages[1].content[0].input",
            "an object",
        ),
        (
            [user("a"), assistant({**use(), "name": "a b"})],
            "messages[1].content[0].name",
            "pattern",
        ),
        ([user("a"), assistant({**use(), "id": ""})], "messages[1].content[0].id", "1 to"),
        ([user("a"), assistant(image())], "messages[1].content[0].type", "'image' are not"),
        (
            [user("a"), assistant({"type": "server_tool_use"})],
            "messages[1].content[0].type",
            "server_tool_use",
        ),
        (
            [user("a"), assistant({"type": "thinking"})],
            "messages[1].content[0].thinking",
            "a string",
        ),
        (
            [user("a"), assistant(use()), user([result(content=[{"type": "tool_reference"}])])],
            "messages[2].content[0].content[0].type",
            "tool_reference",
        ),
        ([{"role": "system", "content": [image()]}], "messages[0].content[0].type", "'text'"),
    ],
)
def test_what_cannot_be_taken_is_named(turns: list[Any], param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(*turns)
    assert caught.value.param == param
    assert says in caught.value.sentence
