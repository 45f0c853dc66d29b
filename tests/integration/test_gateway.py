"""What people's programs get of a Holdfast with clouds behind it: every SDK, every target."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from langchain_openai import ChatOpenAI

from server import demo
from tests.integration.clouds import KEYS, MODELS, Clouds, gateway
from tests.integration.running import Holdfast, run
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

WHAT = demo.question("what-is-holdfast")
MESSAGES: Any = list(WHAT.messages)
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
CALL = '#fake call weather {"city": "Paris"}'
ALL = ("demo", *MODELS)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path_factory.mktemp("gateway"), played) as running:
        yield running


def words(model: str) -> str:
    return WHAT.content if model == "demo" else f"Hello from {model.partition('/')[2]}."


def asked(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", ALL)
def test_chat_whole_and_streamed_says_the_same(client: openai.OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES)
    whole = raw.parse()
    assert whole.choices[0].message.content == words(model)
    assert whole.usage is not None
    assert raw.headers["x-holdfast-route"] == ("local" if model == "demo" else "cloud")
    assert (float(raw.headers["x-holdfast-cost-usd"]) > 0) == (model != "demo")
    stream = client.chat.completions.create(
        model=model,
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == words(model)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_is_called_and_answered_over_two_turns(client: openai.OpenAI, model: str) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    messages = asked(CALL)
    first = client.chat.completions.create(model=model, messages=messages, tools=tools)
    said = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert said.tool_calls is not None
    (call,) = said.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}  # type: ignore[union-attr]
    messages += [
        said.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = client.chat.completions.create(model=model, messages=messages, tools=tools)
    assert "sunny" in (second.choices[0].message.content or "")


@pytest.mark.parametrize("model", ALL)
def test_a_custom_tool_is_called_and_answered(client: openai.OpenAI, model: str) -> None:
    """The demo knows how to call this one tool, and writes what it likes into its input."""
    here, name = model == "demo", "get_weather"
    said = '#fake call get_weather {"input": "in \\"Paris\\""}'
    messages: Any = list(demo.question("tool-weather").messages) if here else asked(said)
    tools: Any = [{"type": "custom", "custom": {"name": name, "description": "Says it."}}]
    asks: Any = {"model": model, "tools": tools, "temperature": 0, "max_tokens": 200}
    asks["tool_choice"] = {"type": "custom", "custom": {"name": name}}
    first = client.chat.completions.create(messages=messages, **asks)
    answer = first.choices[0].message
    assert answer.tool_calls is not None
    (call,) = answer.tool_calls
    assert call.type == "custom"
    assert (call.custom.name, first.choices[0].finish_reason) == (name, "tool_calls")
    assert "Paris" in call.custom.input if here else call.custom.input == 'in "Paris"'
    stream = client.chat.completions.create(messages=messages, **asks, stream=True)
    begun, *rest = [
        part.to_dict()
        for chunk in stream
        for one in chunk.choices
        for part in one.delta.tool_calls or ()
    ]
    assert (begun["type"], begun["custom"]) == ("custom", {"name": name, "input": ""})
    assert [one["custom"] for one in rest] == [{"input": call.custom.input}]
    messages += [
        answer.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = client.chat.completions.create(model=model, messages=messages, tools=tools)
    assert here or "sunny" in (second.choices[0].message.content or "")


@pytest.mark.parametrize("model", ALL)
def test_anthropics_sdk_whole_and_streamed(claude: anthropic.Anthropic, model: str) -> None:
    whole = claude.messages.create(model=model, max_tokens=64, messages=list(WHAT.messages))  # type: ignore[arg-type]
    assert [block.text for block in whole.content if block.type == "text"] == [words(model)]
    assert whole.stop_reason == "end_turn"
    with claude.messages.stream(
        model=model,
        max_tokens=64,
        messages=list(WHAT.messages),  # type: ignore[arg-type]
    ) as stream:
        final = stream.get_final_message()
    assert [block.text for block in final.content if block.type == "text"] == [words(model)]
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("model", MODELS)
def test_anthropics_sdk_gets_a_tools_arguments_to_the_byte(
    claude: anthropic.Anthropic, model: str
) -> None:
    with claude.messages.stream(
        model=model,
        max_tokens=64,
        messages=asked('#fake call weather {"city": "\\u00e9\\ud83d\\ude00 \\"x\\""}'),
        tools=[{"name": "weather", "input_schema": WEATHER}],
    ) as stream:
        final = stream.get_final_message()
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert call.input == {"city": 'é😀 "x"'}
    assert final.stop_reason == "tool_use"


@pytest.mark.parametrize("model", ALL)
def test_responses_whole_streamed_and_continued(client: openai.OpenAI, model: str) -> None:
    question = WHAT.messages[-1]["content"]
    first = client.responses.create(model=model, input=question)
    assert first.output_text == words(model)
    with client.responses.stream(
        model=model, input="And again?", previous_response_id=first.id
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.status == "completed"
    assert final.previous_response_id == first.id


def test_a_response_that_is_not_kept_is_told(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="resp_none"):
        client.responses.create(model="demo", input="x", previous_response_id="resp_none")


def test_langchain_works_unchanged(node: Holdfast) -> None:
    for model in ALL:
        chat = ChatOpenAI(model=model, base_url=node.url, api_key="none")  # type: ignore[arg-type]
        assert chat.invoke(WHAT.messages[-1]["content"]).content == words(model)


def counted(claude: anthropic.Anthropic, model: str, text: str) -> tuple[int, str | None]:
    raw = claude.messages.with_raw_response.count_tokens(model=model, messages=asked(text))
    return raw.parse().input_tokens, raw.headers.get("x-holdfast-count")


@pytest.mark.parametrize("text", ["Hello", "Hello " * 200, "这是什么", "<think>12345"])
def test_tokens_are_counted_for_anthropics_clients(claude: anthropic.Anthropic, text: str) -> None:
    answer = claude.messages.create(model="demo", max_tokens=1, messages=asked(text))
    read = answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)
    assert counted(claude, "demo", text) == (read, "engine")


@pytest.mark.parametrize("model", MODELS)
def test_a_clouds_tokens_are_estimated(claude: anthropic.Anthropic, model: str) -> None:
    # How good it is, the unit tests say: here it was corrected by what played clouds count.
    short, _ = counted(claude, model, "What is Holdfast? ")
    long, source = counted(claude, model, "What is Holdfast? " * 100)
    assert 30 * short < long < 100 * short
    assert source == "estimate"


def test_what_does_not_fit_is_counted_too_and_refused_by_its_count(
    claude: anthropic.Anthropic, client: openai.OpenAI
) -> None:
    text = "Hello there. " * 5000
    tokens, source = counted(claude, "demo", text)
    assert tokens > 4096
    assert source == "engine"
    with pytest.raises(openai.BadRequestError) as told:
        client.chat.completions.create(model="demo", messages=asked(text))
    assert told.value.code == "context_length_exceeded"
    assert f"the prompt has about {tokens}" in told.value.message


def test_a_stream_tells_at_its_beginning_what_a_long_prompt_has(
    claude: anthropic.Anthropic,
) -> None:
    text = "路由器决定请求发往何处。 " * 90
    tokens, _ = counted(claude, "demo", text)
    with claude.messages.stream(model="demo", max_tokens=1, messages=asked(text)) as stream:
        first = next(iter(stream))
    assert first.type == "message_start"
    assert first.message.usage.input_tokens == tokens


def test_errors_have_the_shape_that_their_client_knows(
    client: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        client.chat.completions.create(model="openai/gpt-55", messages=asked("x"))
    assert "openai/gpt-5" in told.value.message
    with pytest.raises(anthropic.NotFoundError) as also:
        claude.messages.create(model="openai/gpt-55", max_tokens=9, messages=asked("x"))
    body: Any = also.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"


def test_the_models_say_what_they_can_do(client: openai.OpenAI) -> None:
    listed = {model.id: model.model_dump() for model in client.models.list()}
    assert set(MODELS) <= set(listed)
    assert listed["openai/gpt-5"]["context_length"] == 400_000
    assert "tools" in listed["openai/gpt-5"]["features"]
    assert listed["auto"]["stands_for"]


def test_anthropics_clients_read_the_same_list(claude: anthropic.Anthropic) -> None:
    listed = {model.id: model for model in claude.models.list()}
    assert set(MODELS) <= set(listed)
    assert listed["openai/gpt-5"].display_name == "OpenAI's, played"
    raw = claude.messages.with_raw_response.create(
        model="demo", max_tokens=9, messages=asked("Hello")
    )
    assert raw.headers["request-id"] == raw.headers["x-request-id"]


def test_no_key_of_a_cloud_is_anywhere_but_in_its_requests(
    node: Holdfast, client: openai.OpenAI, played: Clouds
) -> None:
    for model in MODELS:
        client.chat.completions.create(model=model, messages=asked("x"))
    for key, cloud in zip(KEYS.values(), played.all, strict=True):
        others = [secret for secret in KEYS.values() if secret != key]
        entries = json.dumps(cloud.requests())
        assert not any(secret in entries for secret in others)
    for process in node.descendants():
        assert not any(secret in str(process.environ()) for secret in KEYS.values())
    said = node.log.read_text() + run("usage", "--json", home=node.home).stdout
    said += httpx2.get(f"{node.root}/metrics", timeout=60).text
    assert not any(secret in said for secret in KEYS.values())
    for path in node.home.rglob("*"):
        with contextlib.suppress(OSError):  # a folder, a socket, or a file that is replaced now
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in KEYS.values()), path


def test_what_was_spent_is_told_by_metrics_and_by_usage_alike(
    node: Holdfast, client: openai.OpenAI
) -> None:
    client.chat.completions.create(model="openai/gpt-5", messages=asked("x"))

    def charted() -> float:
        metrics = httpx2.get(f"{node.root}/metrics", timeout=60).text
        costs = [line for line in metrics.splitlines() if line.startswith("ai_cost_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in costs)

    def booked() -> float:
        told = json.loads(run("usage", "--by", "model", "--json", home=node.home).stdout)
        return float(told["total"]["spent_nano_usd"]) * 1e-9

    wait_for(lambda: abs(booked() - charted()) < 1e-7, 60)
    assert charted() > 0


def test_a_local_only_request_never_leaves(client: openai.OpenAI, played: Clouds) -> None:
    before = played.sent()
    headers = {"x-holdfast-local-only": "true"}
    for model in (*MODELS, "frontier"):
        with pytest.raises(openai.APIStatusError) as told:
            client.chat.completions.create(model=model, messages=asked("x"), extra_headers=headers)
        assert "local-only" in told.value.message
    answer = client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, extra_headers=headers
    )
    assert answer.headers["x-holdfast-route"] == "local"
    assert played.sent() == before


def test_nor_does_a_response_that_goes_on_from_one(client: openai.OpenAI, played: Clouds) -> None:
    before = played.sent()
    question = WHAT.messages[-1]["content"]
    headers = {"x-holdfast-local-only": "true"}
    said = client.responses.create(model="demo", input=question, extra_headers=headers)
    for _ in range(2):
        for model in (*MODELS, "frontier"):
            with pytest.raises(openai.APIStatusError) as told:
                client.responses.create(model=model, input="x", previous_response_id=said.id)
            assert "the response that it goes on from was local-only" in told.value.message
        answer = client.responses.with_raw_response.create(
            model="auto", input=question, previous_response_id=said.id
        )
        assert answer.headers["x-holdfast-route"] == "local"
        said = answer.parse()
    assert played.sent() == before


def are(number: int) -> Callable[[Sequence[Any]], bool]:
    return lambda seen: len(seen) == number


def test_a_shadow_copy_writes_no_part_of_the_answer(tmp_path: Path, played: Clouds) -> None:
    """Each attempt has a writer of its own: what is kept and told is the answer's alone."""
    route = """
[[route]]
id = "trial"
when = { models = ["demo"] }
shadow = { model = "openai/gpt-5", percent = 100, day = "1 USD" }
"""
    with gateway(tmp_path, played, route) as running:
        client = running.client(timeout=60)
        sent = len(played.openai.requests())
        for stream in (False, True):
            said = client.responses.create(model="demo", input=WHAT.messages[-1]["content"])
            assert said.output_text == words("demo")
            sent += 1  # the copy, which nobody waits for but we here
            played.openai.wait(are(sent))
            asked_again = client.responses.create(
                model="openai/gpt-5",
                input="#fake text second",
                previous_response_id=said.id,
                stream=stream,
            )
            assert list(asked_again) if stream else asked_again
            sent += 1
            requests = played.openai.requests()
            assert len(requests) == sent
            told = json.dumps(requests[-1])
            assert words("demo") in told, "the conversation goes on from what was answered"


def test_a_key_may_have_its_text_kept_and_no_other_has(tmp_path: Path, played: Clouds) -> None:
    with gateway(tmp_path, played) as running:
        made = {
            name: run("keys", "create", name, *flags, home=running.home).stdout.strip()
            for name, flags in (("kept", ("--keep-text",)), ("other", ()))
        }
        with pytest.raises(anthropic.AuthenticationError) as refused:
            anthropic.Anthropic(base_url=running.root, api_key="none").models.list()
        with pytest.raises(anthropic.AuthenticationError) as told:
            anthropic.Anthropic(base_url=running.root, api_key="none").messages.create(
                model="demo", max_tokens=9, messages=asked("x")
            )
        assert refused.value.status_code == 401
        body: Any = told.value.body
        assert body["error"]["type"] == "authentication_error"
        for name, key in made.items():
            for stream in (False, True):
                answer = running.client(api_key=key).chat.completions.create(
                    model="demo", messages=asked(f"canary {name} {stream}"), stream=stream
                )
                assert list(answer) if stream else answer

        def kept() -> list[tuple[bytes, str]]:
            path = running.home / "ledger" / "book.db"
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as book:
                return book.execute("SELECT request, answer FROM text").fetchall()

        wait_for(lambda: len(kept()) == 2, 60)
        for request, answer_text in kept():
            assert b"canary kept" in request
            assert "choices" in answer_text
