"""The endpoint as OpenAI's own client and a bare HTTP client meet it, with the demo behind it."""

from __future__ import annotations

import base64
import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from server import demo as embedded
from server.demo import Question
from tests.integration.running import Holdfast

pytestmark = pytest.mark.integration

WHAT = embedded.question("what-is-holdfast")
CALLS = [q for q in embedded.questions() if q.tool_calls]
ASK: dict[str, Any] = {"model": "demo", "messages": list(WHAT.messages)}
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c63f8ffff3f0005fe02fea7d6059b0000000049454e44ae426082"
    )
).decode()


@pytest.fixture(scope="module")
def client(demo: Holdfast) -> openai.OpenAI:
    return demo.client()


def arguments(question: Question) -> dict[str, Any]:
    """A question as the keyword arguments of `client.chat.completions.create`."""
    asked: dict[str, Any] = {
        "model": "demo",
        "messages": list(question.messages),
        "extra_body": {"chat_template_kwargs": {"enable_thinking": question.thinking}},
    }
    if question.tools:
        asked["tools"] = list(question.tools)
    return asked


def test_every_question_gets_its_documented_answer(client: openai.OpenAI) -> None:
    finished = [q for q in embedded.questions() if q.ends]
    assert len(finished) >= 60
    for question in finished:
        choice = client.chat.completions.create(**arguments(question)).choices[0]
        message = choice.message.model_dump()
        calls = [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message["tool_calls"] or ()
        ]
        assert calls == [(call.name, dict(call.arguments)) for call in question.tool_calls]
        assert (message["content"] or "") == question.content, question.id
        assert choice.finish_reason == ("tool_calls" if calls else "stop")
        if question.thinking:
            assert message["reasoning_content"].strip() == (question.reasoning or "").strip()
            assert message["reasoning"] == message["reasoning_content"]


def test_a_stream_says_the_same_as_a_whole_answer(client: openai.OpenAI) -> None:
    for question in (WHAT, *[q for q in embedded.questions() if q.thinking][:2], *CALLS[:2]):
        whole = client.chat.completions.create(**arguments(question))
        content, reasoning, calls = "", "", ""
        usage = None
        chunks = client.chat.completions.create(
            **arguments(question), stream=True, stream_options={"include_usage": True}
        )
        for chunk in chunks:
            if chunk.usage:
                usage = chunk.usage
                assert chunk.choices == []
                continue
            delta = chunk.choices[0].delta.model_dump()
            content += delta.get("content") or ""
            reasoning += delta.get("reasoning_content") or ""
            assert delta.get("reasoning") == delta.get("reasoning_content")
            for call in delta.get("tool_calls") or ():
                calls += call["function"]["arguments"] or ""
        message = whole.choices[0].message.model_dump()
        assert content == (message["content"] or "")
        assert reasoning == (message.get("reasoning_content") or "")
        if message["tool_calls"]:
            assert calls == message["tool_calls"][0]["function"]["arguments"]
        assert usage is not None
        assert usage.completion_tokens == whole.usage.completion_tokens
        assert usage.prompt_tokens == whole.usage.prompt_tokens


def test_usage_is_streamed_only_when_asked_for(demo: Holdfast) -> None:
    with httpx2.stream(
        "POST", f"{demo.url}/chat/completions", json=ASK | {"stream": True}, timeout=60
    ) as got:
        assert got.headers["content-type"].startswith("text/event-stream")
        text = got.read().decode()
    assert '"usage"' not in text
    assert text.endswith("data: [DONE]\n\n")


def test_an_answer_says_where_it_came_from(demo: Holdfast) -> None:
    response = httpx2.post(
        f"{demo.url}/chat/completions", json=ASK, headers={"x-request-id": "mine-1"}
    )
    assert response.headers["x-holdfast-model"] == "demo:f16"
    assert response.headers["x-holdfast-route"] == "local"
    assert response.headers["x-request-id"] == "mine-1"
    assert response.json()["model"] == "demo"


@pytest.mark.parametrize(
    ("effort", "thinks"), [("none", False), ("minimal", False), ("low", True), ("high", True)]
)
def test_reasoning_effort_switches_thinking(
    client: openai.OpenAI, effort: Any, thinks: bool
) -> None:
    answer = client.chat.completions.create(**ASK, reasoning_effort=effort)
    assert bool(answer.choices[0].message.model_dump().get("reasoning_content")) == thinks


def test_several_choices_at_once(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASK, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {WHAT.content}


def test_stop_ends_the_answer_before_the_word(client: openai.OpenAI) -> None:
    word = WHAT.content.split()[4]
    answer = client.chat.completions.create(**ASK, stop=[word])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == WHAT.content.partition(word)[0].rstrip() or (
        answer.choices[0].message.content == WHAT.content.partition(word)[0]
    )


def test_max_tokens_bounds_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ASK, max_completion_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_a_seed_repeats_a_sampled_answer(client: openai.OpenAI) -> None:
    def sample(seed: int) -> str:
        answer = client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": "Zebra piano seventeen"}],
            temperature=2.0,
            top_p=1.0,
            seed=seed,
            max_tokens=30,
            extra_body={"top_k": 0},
        )
        return str(answer.choices[0].message.content)

    assert sample(7) == sample(7)
    assert len({sample(seed) for seed in range(8)}) > 1


def test_log_probabilities_in_both_shapes(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(**ASK, logprobs=True, top_logprobs=2, max_tokens=4)
    content = chat.choices[0].logprobs.content
    assert len(content) == 4
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in content)
    legacy = client.completions.create(model="demo", prompt="Holdfast", logprobs=2, max_tokens=4)
    logprobs = legacy.choices[0].logprobs
    assert logprobs is not None
    tokens, scores, offsets = logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset
    assert tokens is not None
    assert scores is not None
    assert offsets is not None
    assert len(tokens) == len(scores) == len(offsets) == 4
    assert "".join(tokens) == legacy.choices[0].text


def test_completions_stream_too(client: openai.OpenAI) -> None:
    prompt = f"<|im_start|>user\n{WHAT.prompt}<|im_end|>\n<|im_start|>assistant\n"
    prompt += "<think>\n\n</think>\n\n"
    whole = client.completions.create(model="demo", prompt=prompt, max_tokens=100)
    assert whole.choices[0].text == WHAT.content
    chunks = client.completions.create(model="demo", prompt=prompt, max_tokens=100, stream=True)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == WHAT.content


def test_a_required_tool_is_called_and_a_forbidden_one_is_not(client: openai.OpenAI) -> None:
    question = CALLS[0]
    name = question.tool_calls[0].name
    asked = arguments(question)
    named = {"type": "function", "function": {"name": name}}
    for choice in ("auto", "required", named):
        asked |= {"tool_choice": choice, "max_tokens": 200}
        answer = client.chat.completions.create(**asked)
        assert answer.choices[0].message.tool_calls[0].function.name == name
    asked |= {"tool_choice": "none", "max_tokens": 40}
    answer = client.chat.completions.create(**asked)
    assert not answer.choices[0].message.tool_calls


def test_a_json_schema_is_kept_to(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "verdict": {"type": "string", "enum": ["yes", "no"]},
            "count": {"type": "integer"},
        },
        "required": ["verdict", "count"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        **ASK,
        max_tokens=80,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "verdict", "schema": schema, "strict": True},
        },
    )
    value = json.loads(answer.choices[0].message.content)
    assert set(value) == {"verdict", "count"}
    assert value["verdict"] in ("yes", "no")
    assert isinstance(value["count"], int)


def test_models_are_listed_and_described(client: openai.OpenAI, demo: Holdfast) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed == ["demo", "demo:f16", "auto", "fast", "local", "coding"], "no cloud has a key"
    described = client.models.retrieve("demo:f16").model_dump()
    assert described["owned_by"] == "holdfast"
    assert described["context_length"] == demo.engine()["context"]
    assert described["input_modalities"] == ["text"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("dem")


FETCHING = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "hm",
    "refusal": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}],
}
"""An engine would take the refusal for content, and fetch what stands in it."""

REFUSALS: list[tuple[str, dict[str, Any] | bytes, int, str]] = [
    ("not json", b"{", 400, "JSON"),
    ("truncated", json.dumps(ASK).encode()[:-2], 400, "JSON"),
    ("a list", b"[]", 400, "object"),
    ("nan", b'{"model": "demo", "temperature": NaN}', 400, "JSON"),
    ("not utf-8", b'{"model": "\xff"}', 400, "JSON"),
    ("too deep", b'{"a":' * 80 + b"1" + b"}" * 80, 400, "64"),
    ("no messages", {"model": "demo"}, 400, "messages"),
    ("no model", {"messages": ASK["messages"]}, 400, "model"),
    ("wrong type", ASK | {"temperature": "hot"}, 400, "temperature"),
    ("out of bounds", ASK | {"temperature": 3}, 400, "temperature"),
    ("unknown field", ASK | {"frobnicate": 1}, 400, "frobnicate"),
    ("an engine's field", ASK | {"n_discard": 1}, 400, "n_discard"),
    ("a template", ASK | {"chat_template": "x"}, 400, "chat_template"),
    ("template arguments", ASK | {"chat_template_kwargs": {"x": 1}}, 400, "chat_template_kwargs"),
    ("too many choices", ASK | {"n": 10_000}, 400, "n"),
    ("parts in a refusal", ASK | {"messages": [*ASK["messages"], FETCHING]}, 400, "refusal"),
    ("unknown model", ASK | {"model": "dmeo"}, 404, "demo"),
    ("too long", ASK | {"messages": [{"role": "user", "content": "a " * 9000}]}, 400, "4096"),
]


@pytest.mark.parametrize(("name", "body", "status", "told"), REFUSALS, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_request_is_told_what_is_wrong(
    demo: Holdfast, name: str, body: Any, status: int, told: str, stream: bool
) -> None:
    if isinstance(body, dict):
        body = json.dumps(body | ({"stream": True} if stream else {})).encode()
    response = httpx2.post(f"{demo.url}/chat/completions", content=body, timeout=60)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert told in error["message"]


def test_images_are_refused_clearly_by_a_build_that_cannot_see(demo: Holdfast) -> None:
    for url in (f"data:image/png;base64,{PIXEL}", "http://127.0.0.1:1/x.png", "file:///etc/passwd"):
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]
        body = {"model": "demo", "messages": [{"role": "user", "content": content}]}
        response = httpx2.post(f"{demo.url}/chat/completions", json=body, timeout=60)
        assert response.status_code == 400
        assert "image" in response.json()["error"]["message"].lower()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/admin/ps", 404),
        ("POST", "//v1/chat/completions", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("POST", "/v1/chat/%63ompletions", 400),
    ],
)
def test_routes(demo: Holdfast, method: str, path: str, status: int) -> None:
    response = httpx2.request(method, demo.root + path, timeout=60)
    assert response.status_code == status
    if status == 405:
        assert response.headers["allow"]


def test_a_connection_that_was_idle_is_still_there(demo: Holdfast) -> None:
    """Clients keep theirs for five seconds and more, and their request must not meet the close."""
    address = urlsplit(demo.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    sockets = []
    for pause in (6, 0):
        connection.request("GET", "/livez")
        sockets.append(connection.sock)
        assert connection.getresponse().read()
        time.sleep(pause)
    connection.close()
    assert sockets[0] is sockets[1], "the server closed it"


def test_a_web_page_elsewhere_cannot_use_the_server(demo: Holdfast) -> None:
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        response = httpx2.post(
            f"{demo.url}/chat/completions", json=ASK, headers=headers, timeout=60
        )
        assert response.status_code == 403
