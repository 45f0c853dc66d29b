"""One Holdfast for the whole suite, with both engines, and each engine as its subject."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from server import settings
from server.engines.naming import file_stem
from server.engines.vllm_binary import Interpreter
from tests.integration import both_node
from tests.integration.asking import Subject
from tests.integration.running import Holdfast, environment, serving
from tests.waiting import wait_for

START_LIMIT = 240  # seconds; vLLM takes half a minute, and more on a machine that is strained
BUILDS = {"llama-server": "demo:f16", "vllm": "demo:bf16"}


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory, require_vllm: Interpreter) -> Iterator[Holdfast]:
    """A Holdfast that serves the demo by llama-server and by vLLM."""
    home = tmp_path_factory.mktemp("both") / "home"
    with serving([sys.executable, both_node.__file__], home) as served:
        wait_for(lambda: [one["state"] for one in served.ps()] == ["ready"] * 2, START_LIMIT, 0.5)
        yield served
        log = served.log.read_text()
        assert [one["restarts"] for one in served.ps()] == [0, 0], log


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=list(BUILDS))
async def subject(request: pytest.FixtureRequest, both: Holdfast) -> AsyncIterator[Subject]:
    """The demo by one of the engines."""
    build = BUILDS[request.param]
    run: Path = settings.load(environment(both.home)).run
    connector = aiohttp.UnixConnector(str(run / f"{file_stem(build)}.sock"))
    async with (
        aiohttp.ClientSession(both.root, timeout=aiohttp.ClientTimeout(120)) as http,
        aiohttp.ClientSession("http://engine", connector=connector) as engine,
    ):
        yield Subject(request.param, build, http, engine)
