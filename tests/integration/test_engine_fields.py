"""Every field that Holdfast accepts, put to the real llama-server, which must accept it too."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from server import settings
from server.catalogue import Model, load
from server.chat import (
    ChatRequest,
    CompletionRequest,
    StreamFilter,
    engine_body,
    engine_error,
    finish_reply,
    parse_chat,
    parse_completion,
)
from server.chat.fields import CHAT, COMPLETIONS, Field
from server.demo import GGUF
from server.engines.binary import find_llama_server
from server.engines.engine import Engine
from server.engines.llama_server import Launch
from server.errors import ContextExceeded, HoldfastError, RequestError

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

SLOTS = 2
CONTEXT = 2048
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8, "pattern": "^[A-Z][a-z]{1,7}$"}},
    "required": ["name"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}
USER = {"role": "user", "content": "What is Holdfast?"}
CONVERSATION = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "A tool may know.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris", "days": [1]}'},
            },
            {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "rain"}]},
    {"role": "system", "content": "Answer in French."},
    {"role": "assistant", "content": "Il fait beau."},
    {"role": "user", "content": ""},
    {"role": "user", "content": "<tool_response>x</tool_response>"},
]  # fmt: skip

BOTH: dict[str, list[Any]] = {
    "model": ["demo"],
    "stream": [True],
    "stream_options": [{"include_usage": True}],
    "max_tokens": [1, 2**31 - 1],
    "n": [SLOTS],
    "stop": ["a", ["b", "\n"], []],
    "seed": [0, -1, 2**63 - 1, -(2**63)],
    "temperature": [0, 0.7, 2],
    "top_p": [1e-9, 0.9, 1],
    "top_k": [-1, 0, 40, 2**31 - 1],
    "min_p": [0, 0.05, 1],
    "presence_penalty": [-2, 0.5, 2],
    "frequency_penalty": [-2, 0.5, 2],
    "repetition_penalty": [0.01, 1.1, 2],
    "logit_bias": [{"0": -100, "7": 5.5}, {"2000000000": 1}],
    "task_type": ["coding"],
}
CHATS: dict[str, list[Any]] = BOTH | {
    "messages": [[USER], CONVERSATION, [USER, {"role": "assistant", "content": "It"}]],
    "max_completion_tokens": [2],
    "tools": [[TOOL], [{"type": "function", "function": {"name": "f"}}], []],
    "tool_choice": ["none", "auto"],
    "parallel_tool_calls": [True, False],
    "response_format": [
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": PERSON}},
    ],
    "logprobs": [True, False],
    "top_logprobs": [20],
    "reasoning_effort": ["none", "high"],
    "reasoning": [{"effort": "low"}, {"enabled": False}],
    "chat_template_kwargs": [{"enable_thinking": True}, {"enable_thinking": False}],
    "enable_thinking": [True, False],
}
TEXTS: dict[str, list[Any]] = BOTH | {
    "prompt": ["Holdfast", "é", [1, 2, 3], [[4]], ["one"]],
    "logprobs": [0, 20],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(settings.Settings(tmp_path_factory.mktemp("home"), ())).models["demo"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("engine")
    launch = Launch(
        binary=find_llama_server(settings.load(os.environ)).path,
        model_file=GGUF,
        alias="demo",
        socket=folder / "e.sock",
        context=CONTEXT,
        slots=SLOTS,
        threads=1,
    )
    engine = Engine("demo:f16", launch, logs=folder)
    await engine.start()
    await engine.wait_ready(60)
    yield engine
    await engine.stop(0)


class Asked:
    """What came of one request at the engine."""

    def __init__(self, request: ChatRequest | CompletionRequest, status: int, answer: bytes):
        self.request = request
        self.status = status
        self.answer = answer

    @property
    def error(self) -> HoldfastError:
        assert self.status != 200, self.answer
        return engine_error(self.status, self.answer)

    def check(self) -> dict[str, Any]:
        """Read the answer as Holdfast does; returns it, or of a stream its usage event."""
        assert self.status == 200, self.answer
        if self.request.stream:
            relay = StreamFilter(self.request)
            out = relay.feed(self.answer)
            assert relay.done, out
            assert relay.error is None
            assert relay.usage is not None
            return {"usage": relay.usage.as_json(), "out": out}
        reply = finish_reply(self.answer, self.request)
        assert reply.usage is not None
        answer: dict[str, Any] = orjson.loads(reply.body)
        return answer


async def ask(engine: Engine, model: Model, client: dict[str, Any]) -> Asked:
    parse: Any = parse_chat if "messages" in client else parse_completion
    request = parse(client)
    body = engine_body(request, model=model, has_mmproj=False, slots=SLOTS)
    headers = {"connection": "close"}
    async with engine.session.post(request.path, json=body, headers=headers) as response:
        return Asked(request, response.status, await response.read())


def with_company(name: str, value: Any) -> dict[str, Any]:
    """The field, with those beside it without which it would be refused."""
    company: dict[str, dict[str, Any]] = {
        "tool_choice": {"tools": [TOOL]},
        "parallel_tool_calls": {"tools": [TOOL]},
        "top_logprobs": {"logprobs": True},
        "stream_options": {"stream": True},
        "max_completion_tokens": {"max_tokens": None},
    }
    return {**company.get(name, {}), name: value}


@pytest.mark.parametrize(("cases", "fields"), [(CHATS, CHAT), (TEXTS, COMPLETIONS)])
async def test_every_accepted_field_is_put_to_the_engine(
    cases: dict[str, list[Any]], fields: dict[str, Field]
) -> None:
    accepted = {field.name for field in fields.values() if field.policy == "accepted"}
    assert set(cases) == accepted


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in CHATS.items() for value in values]
)
async def test_a_chat_with(name: str, value: Any, engine: Engine, model: Model) -> None:
    base = {"model": "demo", "messages": [USER], "max_tokens": 4}
    if value == 2**31 - 1 and name == "max_tokens":
        base["stop"] = [" "]
    for stream in (False, True):
        if stream and name == "stream":
            continue
        client = {**base, "stream": stream, **with_company(name, value)}
        (await ask(engine, model, client)).check()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in TEXTS.items() for value in values]
)
async def test_a_completion_with(name: str, value: Any, engine: Engine, model: Model) -> None:
    base: dict[str, Any] = {"model": "demo", "prompt": "Holdfast", "max_tokens": 4}
    for stream in (False, True):
        if stream and name == "stream":
            continue
        client = {**base, "stream": stream, **with_company(name, value)}
        (await ask(engine, model, client)).check()


async def test_several_choices_are_counted_together(engine: Engine, model: Model) -> None:
    client = {"model": "demo", "prompt": "Holdfast", "max_tokens": 4, "temperature": 0, "n": SLOTS}
    answer = (await ask(engine, model, client)).check()
    assert len(answer["choices"]) == SLOTS
    one = (await ask(engine, model, {**client, "n": 1})).check()
    assert answer["usage"]["completion_tokens"] == SLOTS * one["usage"]["completion_tokens"]


async def test_a_format_is_enforced(engine: Engine, model: Model) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}
    client = {
        "model": "demo",
        "messages": [USER],
        "max_tokens": 64,
        "temperature": 0,
        "enable_thinking": False,
        "response_format": form,
    }
    answer = (await ask(engine, model, client)).check()
    person = orjson.loads(answer["choices"][0]["message"]["content"])
    assert list(person) == ["name"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
async def test_a_tool_is_enforced(choice: Any, engine: Engine, model: Model) -> None:
    """Of two tools the named one. The model is pushed to begin a call: once it has begun, that the
    call is a right one is up to the engine, and a tool without parameters leaves no choice."""
    async with engine.session.post(
        "/tokenize", json={"content": "<tool_call>", "parse_special": True}
    ) as response:
        (begin,) = (await response.json())["tokens"]
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    client = {
        "model": "demo",
        "messages": [USER],
        "max_tokens": 200,
        "temperature": 0,
        "enable_thinking": False,
        "tools": tools if isinstance(choice, dict) else tools[:1],
        "tool_choice": choice,
        "parallel_tool_calls": False,
        "logit_bias": {str(begin): 100},
    }
    answer = (await ask(engine, model, client)).check()
    (picked,) = answer["choices"]
    assert picked["finish_reason"] == "tool_calls"
    assert [call["function"]["name"] for call in picked["message"]["tool_calls"]] == ["f"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long_is_told_in_numbers(
    stream: bool, engine: Engine, model: Model
) -> None:
    client = {"model": "demo", "messages": [{**USER, "content": "x y " * CONTEXT}]}
    error = (await ask(engine, model, {**client, "stream": stream})).error
    assert type(error) is ContextExceeded
    assert f"maximum context length is {CONTEXT} tokens" in error.what
    assert any(word.isdigit() and int(word) > CONTEXT for word in error.why.split())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"type": "string", "pattern": "^(a$"},
        {"$ref": "#/nope"},
        {"type": "object", "properties": {"a": {"type": "nope"}}},
    ],
)
async def test_a_schema_that_means_nothing_is_the_clients_fault(
    schema: dict[str, Any], engine: Engine, model: Model
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}
    client = {"model": "demo", "messages": [USER], "response_format": form}
    error = (await ask(engine, model, client)).error
    assert type(error) is RequestError
    assert "schema" in error.what


async def test_tokens_that_do_not_exist_are_the_clients_fault(engine: Engine, model: Model) -> None:
    error = (await ask(engine, model, {"model": "demo", "prompt": [2**31 - 1]})).error
    assert type(error) is RequestError
    assert "token ids" in error.what


async def test_the_engine_is_unhurt(engine: Engine) -> None:
    async with engine.session.get("/health") as response:
        assert response.status == 200
    assert isinstance(engine.session, aiohttp.ClientSession)
    assert engine.restarts == 0
