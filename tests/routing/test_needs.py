"""From a request with its headers and its key to what it needs."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from server.catalogue.router import Alias, Match, Route, Router, Task
from server.chat import parse_chat, parse_completion
from server.chat.embeddings import parse_embedding
from server.errors import RequestError
from server.routing.needs import Caller, Needs, embedding_needs, needs_of
from server.routing.tokens import PAGE
from tests.chat import papers

NOW = datetime.datetime(2026, 11, 21, 10, 30, tzinfo=datetime.UTC)
ROUTER = Router(
    aliases={"coding": Alias("coding", ("*",), task="coding"), "auto": Alias("auto", ("*",))},
    tasks={name: Task(name, {}) for name in ("chat", "coding", "translation")},
    routes=(Route("ide", Match(headers={"x-app": "*"})),),
)
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6"
    "kgAAAABJRU5ErkJggg=="
)


def needs(
    headers: dict[str, str] | None = None,
    caller: Caller = Caller("k"),  # noqa: B008
    router: Router = ROUTER,
    **body: Any,
) -> Needs:
    request = parse_chat(
        {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **body}
    )
    raw = {name.encode(): value.encode("latin-1") for name, value in (headers or {}).items()}
    return needs_of(request, "chat", raw, caller, router, NOW)


@pytest.mark.parametrize(
    ("headers", "body", "task", "told"),
    [
        ({}, {}, "chat", "inferred"),
        ({}, {"model": "coding"}, "coding", "alias"),
        ({}, {"model": "coding", "task_type": "translation"}, "translation", "body"),
        ({"x-task-type": "chat"}, {"model": "coding", "task_type": "coding"}, "chat", "header"),
        ({"x-task-type": " Coding "}, {}, "coding", "header"),
    ],
)
def test_who_says_which_task_it_is(
    headers: dict[str, str], body: dict[str, Any], task: str, told: str
) -> None:
    found = needs(headers, **body)
    assert (found.task, found.task_from) == (task, told)


@pytest.mark.parametrize(
    ("headers", "body", "param"),
    [
        ({"x-task-type": "cooking"}, {}, "x-task-type"),
        ({"x-task-type": ""}, {}, "x-task-type"),
        ({"x-task-type": "x" * 9999}, {}, "x-task-type"),
        ({}, {"task_type": "cooking"}, "task_type"),
    ],
)
def test_an_unknown_task_is_told_those_there_are(
    headers: dict[str, str], body: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as caught:
        needs(headers, **body)
    assert caught.value.param == param
    assert "Tasks: chat, coding, translation" in caught.value.sentence
    assert len(caught.value.sentence) < 300


@pytest.mark.parametrize(
    ("value", "seconds"), [("500", 0.5), ("1", 0.001), ("3600000", 3600.0), ("250.5", 0.2505)]
)
def test_the_slo_is_in_milliseconds(value: str, seconds: float) -> None:
    assert needs({"x-slo-ttft-ms": value}).slo_ttft == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-slo-ttft-ms", v) for v in ("0", "-5", "1e3", "nan", "", "3600001", "9" * 50, "5s")),
        *(("x-session-id", v) for v in ("", "a b", "x" * 257, "é", "a\tb")),
        *(("x-holdfast-local-only", v) for v in ("", "maybe", "2", "x" * 999)),
    ],
)
def test_a_malformed_header_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        needs({name: value})
    assert caught.value.param == name
    assert caught.value.status == 400
    assert len(caught.value.sentence) < 300


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        ({}, None),
        ({"x-session-id": "s1"}, "s1"),
        ({"x-claude-code-session-id": "c1"}, "c1"),
        ({"x-claude-code-session-id": "c1", "x-session-id": "s1"}, "s1"),
    ],
)
def test_sessions(headers: dict[str, str], session: str | None) -> None:
    assert needs(headers).session == session


@pytest.mark.parametrize(
    ("headers", "caller", "router", "because"),
    [
        ({}, Caller("k"), ROUTER, ""),
        ({"x-holdfast-local-only": "false"}, Caller("k"), ROUTER, ""),
        ({"x-holdfast-local-only": "TRUE"}, Caller("k"), ROUTER, "the header"),
        ({}, Caller("k", local_only=True), ROUTER, "the key"),
        ({"x-holdfast-local-only": "no"}, Caller("k", local_only=True), ROUTER, "the key"),
        ({}, Caller("k"), Router(cloud=False, tasks=ROUTER.tasks), "--no-cloud"),
    ],
)
def test_what_makes_it_local_only(
    headers: dict[str, str], caller: Caller, router: Router, because: str
) -> None:
    found = needs(headers, caller, router)
    assert found.local_only == bool(because)
    assert because in found.private_because


TOOL = {"type": "function", "function": {"name": "find"}}


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ({}, set()),
        ({"temperature": 0.2}, {"temperature"}),
        ({"top_p": 0.2}, {"temperature"}),
        ({"top_k": 4}, {"top_k"}),
        ({"presence_penalty": 1}, {"penalties"}),
        ({"seed": 1, "n": 2, "stop": "x"}, {"seed", "n", "stop"}),
        ({"n": 1}, set()),
        ({"logit_bias": {"5": 1}}, {"logit_bias"}),
        ({"logprobs": True}, {"logprobs"}),
        ({"tools": [TOOL]}, {"tools"}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tools", "tool_choice"}),
        ({"tools": [TOOL], "parallel_tool_calls": True}, {"tools"}),
        ({"tools": [TOOL], "parallel_tool_calls": False}, {"tools", "parallel_tools"}),
        ({"response_format": {"type": "json_object"}}, {"json"}),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {}},
                }
            },
            {"schema"},
        ),
        ({"enable_thinking": True}, {"thinking"}),
        ({"enable_thinking": False}, set()),
    ],
)
def test_what_it_asks_for(body: dict[str, Any], features: set[str]) -> None:
    assert needs(**body).features == features


def test_pictures_are_counted() -> None:
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    content = [{"type": "text", "text": "What is this?"}, picture, picture]
    assert needs(messages=[{"role": "user", "content": content}]).images == 2
    assert needs().images == 0


def test_pages_of_documents_are_counted() -> None:
    file = {"type": "file", "file": {"file_data": papers.url(papers.pdf(7))}}
    found = needs(messages=[{"role": "user", "content": [file, file]}])
    assert (found.pages, found.images) == (14, 0)
    assert found.prompt_tokens >= 14 * PAGE
    assert needs().pages == 0


def test_the_rest_is_as_it_was_said() -> None:
    caller = Caller("key1", team="web", models=("auto",))
    found = needs({"x-app": "a" * 999, "x-other": "b"}, caller, max_tokens=7)
    assert (found.asked, found.endpoint, found.max_tokens, found.n) == ("auto", "chat", 7, 1)
    assert (found.key, found.team, found.models) == ("key1", "web", ("auto",))
    assert found.headers == {"x-app": "a" * 256}
    assert found.time == datetime.time(10, 30)
    assert 5 <= found.prompt_tokens <= 20
    assert found.prefix


def test_a_bare_prompt() -> None:
    request = parse_completion({"model": "m", "prompt": "def add(a, b):", "logprobs": 1})
    found = needs_of(request, "completions", {}, Caller("k"), ROUTER, NOW)
    assert found.features == {"logprobs"}
    assert found.max_tokens == 16


def embeds(*texts: Any, **headers: str) -> Needs:
    request = parse_embedding({"model": "m", "input": list(texts)})
    lines = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return embedding_needs(request, lines, Caller("k"), ROUTER, NOW)


def test_a_task_of_embeddings_is_what_is_said() -> None:
    assert (embeds("x").task, embeds("x").task_from) == ("chat", "inferred")
    found = embeds("x", x_task_type="Coding")
    assert (found.task, found.task_from) == ("coding", "header")
    with pytest.raises(RequestError, match="there is no task 'cooking'"):
        embeds("x", x_task_type="cooking")


def test_texts_for_embeddings() -> None:
    found, alone = embeds("short", "longer " * 100, [1, 2]), embeds("longer " * 100)
    assert (found.endpoint, found.max_tokens) == ("embeddings", 0)
    assert found.longest == alone.longest == alone.prompt_tokens
    assert found.prompt_tokens > alone.prompt_tokens, "all of them are to be paid for"
    assert embeds([1] * 100).prompt_tokens == embeds([1] * 50, [1] * 50).prompt_tokens
