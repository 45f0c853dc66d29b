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
from server.chat.embeddings import engine_embedding_body, parse_embedding
from server.chat.vectors import Vectors
from server.demo import GGUF
from server.engines.llama_server import Launch, argv, environment
from server.errors import EngineError, RequestError
from server.settings import Settings

pytestmark = pytest.mark.integration

_PATIENCE = 60.0  # seconds


Running = Callable[..., AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture
def running(program: Path, tmp_path: Path) -> Running:
    """An engine that is launched so, while the context lasts."""

    @asynccontextmanager
    async def running(**changes: Any) -> AsyncIterator[aiohttp.ClientSession]:
        socket = tmp_path / "e.sock"
        launch = Launch(
            binary=program,
            model_file=GGUF,
            alias="demo",
            socket=socket,
            context=4096,
            slots=2,
            threads=1,
            **changes,
        )
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *argv(launch), env=environment(os.environ), stdout=log, stderr=log
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


async def embed(engine: aiohttp.ClientSession, given: Any, **fields: Any) -> tuple[list[Any], int]:
    """The vectors as a client gets them, and the tokens that were read."""
    request = parse_embedding({"model": "demo", "input": given, **fields})
    body = engine_embedding_body(request, request.inputs)
    async with engine.post(request.path, json=body) as response:
        if response.status != 200:
            raise engine_error(response.status, await response.read())
        relay = Vectors(request, EngineError)
        told = orjson.loads(relay.feed(await response.read()))
    assert relay.done
    assert relay.usage is not None
    return [one["embedding"] for one in told["data"]], relay.usage.prompt_tokens


async def test_texts_and_tokens_become_vectors(running: Running, tmp_path: Path) -> None:
    async with running(embeddings=True) as engine:
        await vectors_come(engine)
        await it_still_chats(engine, tmp_path)


async def vectors_come(engine: aiohttp.ClientSession) -> None:
    (first, other, again, tokens), read = await embed(
        engine, ["Holdfast", "a", "Holdfast", [5, 6, 7]]
    )
    assert first == pytest.approx(again, abs=1e-3)
    assert first != pytest.approx(other, abs=1e-3)
    assert len({len(first), len(other), len(tokens)}) == 1
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-3)
    assert read > 5

    (text,), _ = await embed(engine, "Holdfast", encoding_format="base64")
    raw = base64.b64decode(text)
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(first, abs=1e-3)

    _, read = await embed(engine, " ".join(str(number) for number in range(300)))
    assert read > 512, "more than it takes at once"


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
