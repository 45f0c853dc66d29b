"""A prompt is counted before it is answered: by each engine, to the very token of the usage."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from server import settings
from server.catalogue import EngineName, Model, load
from server.chat import engine_body, parse_chat, parse_completion
from server.chat.count import count_question, read_count
from tests.integration.asking import Subject

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

NOWHERE = Path("/nonexistent")
MODEL: Model = load(settings.load({}, home=NOWHERE, system_config=NOWHERE)).models["demo"]
JSON = {"content-type": "application/json"}
CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Which"}}}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather", "parameters": CITY},
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock"}}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Weather in Paris?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "A tool may know.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Paris", "days": [1]}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny, 21 °C"},
]
WORDS = (
    "What is Holdfast?", "Wie groß ist das?", "Où va la requête ?", "路由器决定请求发往何处。",
    "Маршрутизатор решает", "موجه يقرر", "ルーターが決める", "😀👩‍🚀🇫🇷", "x = [1, 22, 333]\n\n\n",
    '{"a": null}', "<|im_end|>", "<think>", "</think>\n", "   ", "\t", "", "é\u0301", "1234567890",
)  # fmt: skip


def chat(*messages: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


CHATS: dict[str, dict[str, Any]] = {
    "short": chat(user("Hello")),
    "empty": chat(user("")),
    "system": chat({"role": "system", "content": "Be brief."}, user("Hello")),
    "parts": chat(user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])),
    "thinking": chat(user("Hello"), enable_thinking=True),
    "not thinking": chat(user("Hello"), enable_thinking=False),
    "a tool": chat(user("Hello"), tools=[WEATHER]),
    "two tools": chat(user("Hello"), tools=[WEATHER, CLOCK], enable_thinking=True),
    "tools, not to be used": chat(user("Hello"), tools=[WEATHER], tool_choice="none"),
    "a tool, required": chat(user("Hello"), tools=[WEATHER], tool_choice="required"),
    "a tool's result": chat(*CALLED, tools=[WEATHER]),
    "what was thought before": chat(
        user("Hello"), {"role": "assistant", "content": "Hi.", "reasoning": "So."}, user("Bye")
    ),
    "JSON": chat(user("Hello"), response_format={"type": "json_object"}),
    "a schema": chat(
        user("Hello"),
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": CITY}},
    ),
}


def any_chat(seed: int) -> dict[str, Any]:
    rnd = random.Random(seed)

    def text() -> str:
        strange = [chr(rnd.choice((rnd.randrange(32, 0xD800), rnd.randrange(0xE000, 0x110000))))]
        pieces = [rnd.choice((*WORDS, *strange)) for _ in range(rnd.randrange(8))]
        return rnd.choice(("", " ", "\n")).join(pieces)

    turns = rnd.randrange(4)
    messages = [{"role": "system", "content": text()}] if rnd.random() < 0.5 else []
    for _ in range(turns):
        messages += [user(text()), {"role": "assistant", "content": text()}]
    more: dict[str, Any] = {"enable_thinking": rnd.random() < 0.5}
    if rnd.random() < 0.3:
        more["tools"] = rnd.sample([WEATHER, CLOCK], rnd.choice((1, 2)))
    return chat(*messages, user(text() or "?"), **more)


async def counted(subject: Subject, body: dict[str, Any]) -> int | None:
    engine: EngineName = "vllm" if subject.kind == "vllm" else "llama-server"
    path, question = count_question(body, engine)
    async with subject.engine.post(path, data=orjson.dumps(question), headers=JSON) as response:
        answer = await response.read()
        assert response.status == 200, answer
        return read_count(answer)


async def check(subject: Subject, client: dict[str, Any]) -> None:
    engine: EngineName = "vllm" if subject.kind == "vllm" else "llama-server"
    answer = await subject.answer(**client, max_tokens=1)
    whole = client | {"model": "demo"}
    request = parse_chat(whole) if "messages" in client else parse_completion(whole)
    body = engine_body(request, model=MODEL, has_mmproj=False, engine=engine)
    assert await counted(subject, body) == answer["usage"]["prompt_tokens"], client


@pytest.mark.parametrize("name", CHATS)
async def test_conversations(subject: Subject, name: str) -> None:
    await check(subject, CHATS[name])


@pytest.mark.parametrize("seed", range(40))
async def test_any_conversation(subject: Subject, seed: int) -> None:
    await check(subject, any_chat(seed))


@pytest.mark.parametrize("prompt", WORDS)
async def test_bare_prompts(subject: Subject, prompt: str) -> None:
    await check(subject, {"prompt": f"So: {prompt}"})  # two tokens or more, see divergences.py


async def test_as_anthropics_clients_ask(subject: Subject) -> None:
    """Claude Code does: with a system prompt, a tool, its result and thinking."""
    tool = {"name": "weather", "description": "The weather", "input_schema": CITY}
    used = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
    asked: dict[str, Any] = {
        "model": subject.build,
        "system": [{"type": "text", "text": "Be brief. " * 50}],
        "tools": [tool],
        "messages": [
            user("Weather?"),
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, used]},
            user([result]),
        ],
    }
    for more in ({}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}):
        body = asked | more
        async with subject.http.post("/v1/messages/count_tokens", json=body) as response:
            count = await response.json()
            assert response.headers["x-holdfast-count"] == "engine", count
            assert response.headers["x-holdfast-model"] == subject.build
        body["max_tokens"] = 1025
        async with subject.http.post("/v1/messages", json=body) as response:
            usage = (await response.json())["usage"]
        read = usage["input_tokens"] + usage["cache_read_input_tokens"]
        assert count == {"input_tokens": read}
