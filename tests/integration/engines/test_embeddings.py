"""The real llama-server makes embeddings, and goes on to serve chats, if it is started for it."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from server.catalogue import load
from server.chat import engine_body, engine_error, parse_chat
from server.chat.embeddings import (
    EmbeddingReply,
    engine_embedding_body,
    finish_embedding,
    parse_embedding,
)
from server.demo import GGUF
from server.engines.llama_server import Launch, argv, environment
from server.errors import EngineError, RequestError
from server.settings import Settings

pytestmark = pytest.mark.integration

FLAGS = ("--embeddings", "--pooling", "last")
_PATIENCE = 60.0  # seconds


Running = Callable[..., AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture
def running(program: Path, tmp_path: Path) -> Running:
    """An engine with these flags beside its own, while the context lasts."""

    @asynccontextmanager
    async def running(*flags: str) -> AsyncIterator[aiohttp.ClientSession]:
        socket = tmp_path / "e.sock"
        launch = Launch(
            binary=program,
            model_file=GGUF,
            alias="demo",
            socket=socket,
            context=4096,
            slots=2,
            threads=1,
        )
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *argv(launch), *flags, env=environment(os.environ), stdout=log, stderr=log
            )
        connector = aiohttp.UnixConnector(str(socket))
        try:
            async with aiohttp.ClientSession("http://engine", connector=connector) as session:
                async with asyncio.timeout(_PATIENCE):
                    await _ready(session, process)
                yield session
        finally:
            process.kill()
            await process.wait()

    return running


async def _ready(session: aiohttp.ClientSession, process: Process) -> None:
    while True:
        assert process.returncode is None, "it did not start"
        try:
            async with session.get("/health") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)


async def embed(engine: aiohttp.ClientSession, given: Any, **fields: Any) -> EmbeddingReply:
    request = parse_embedding({"model": "demo", "input": given, **fields})
    async with engine.post(request.path, json=engine_embedding_body(request)) as response:
        if response.status != 200:
            raise engine_error(response.status, await response.read())
        return finish_embedding(await response.read(), request, EngineError)


def vectors(reply: EmbeddingReply) -> list[list[float]]:
    return [one["embedding"] for one in orjson.loads(reply.body)["data"]]


async def test_texts_and_tokens_become_vectors(running: Running, tmp_path: Path) -> None:
    async with running(*FLAGS) as engine:
        await vectors_come(engine)
        await it_still_chats(engine, tmp_path)


async def vectors_come(engine: aiohttp.ClientSession) -> None:
    reply = await embed(engine, ["Holdfast", "a", "Holdfast", [5, 6, 7]])
    first, other, again, tokens = vectors(reply)
    assert first == pytest.approx(again, abs=1e-3)
    assert first != pytest.approx(other, abs=1e-3)
    assert len({len(first), len(other), len(tokens)}) == 1
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-3)
    assert reply.usage is not None
    assert reply.usage.prompt_tokens > 5

    packed = await embed(engine, "Holdfast", encoding_format="base64")
    (text,) = [one["embedding"] for one in orjson.loads(packed.body)["data"]]
    raw = base64.b64decode(text)
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(first, abs=1e-3)

    long = await embed(engine, " ".join(str(number) for number in range(300)))
    assert long.usage is not None
    assert long.usage.prompt_tokens > 512, "more than it takes at once"


async def it_still_chats(engine: aiohttp.ClientSession, tmp_path: Path) -> None:
    models = load(Settings(home=tmp_path, configs=())).models
    asked = parse_chat(
        {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    )
    body = engine_body(asked, model=models["demo"], has_mmproj=False)
    async with engine.post(asked.path, json=body) as response:
        assert (await response.json())["usage"]["completion_tokens"] == 3


async def test_others_say_that_they_make_none(running: Running) -> None:
    async with running() as engine:
        with pytest.raises(RequestError, match="makes no embeddings") as caught:
            await embed(engine, "Holdfast")
    assert caught.value.param == "model"
