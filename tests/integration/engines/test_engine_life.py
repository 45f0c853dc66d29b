"""The real llama-server under its supervisor: starting, serving, dying and coming back."""

from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import psutil
import pytest

from server.engines.engine import Engine
from server.engines.lifecycle import State
from server.errors import EngineError, HoldfastError
from tests.integration.supervised import PATIENCE, QUICK, Make, answer, complete, failed

pytestmark = pytest.mark.integration

SECRETS = {"OPENAI_API_KEY": "canary-key", "HF_TOKEN": "canary-token", "LLAMA_ARG_PORT": "8199"}


async def test_it_starts_serves_and_stops(make: Make) -> None:
    engine = make(environ={**os.environ, **SECRETS})
    await engine.start()
    assert engine.state is State.STARTING
    await engine.wait_ready(PATIENCE)
    async with await complete(engine, 8) as response:
        assert (await response.json())["tokens_predicted"] == 8
    status = engine.status()
    assert (status.state, status.restarts, status.last_error) == (State.READY, 0, None)
    assert status.pid is not None
    assert status.rss > 1 << 20
    assert {buffer.kind for buffer in status.buffers} == {"model", "KV", "RS", "compute", "output"}

    taken = await engine.taken()
    assert taken is not None
    sizes = {component: size for (device, component), size in taken.items() if device == "ram"}
    logged = {buffer.kind: buffer.bytes for buffer in status.buffers}
    assert sizes["kv_cache"] == logged["KV"]
    assert sizes["process"] > 1 << 20
    work = await engine.work()
    assert work is not None
    assert work.tokens == 8
    assert work.decode

    process = psutil.Process(status.pid)
    sockets = [c for c in process.net_connections("all") if c.status == "LISTEN" or c.laddr]
    assert process.net_connections("inet") == [], "nothing listens on TCP"
    assert str(engine.launch.socket) in {str(c.laddr) for c in sockets}
    assert engine.launch.socket.stat().st_mode & 0o077 == 0, "its socket is ours alone"
    surroundings = process.environ()
    assert surroundings["PATH"] == os.environ["PATH"]
    assert not {*SECRETS, *SECRETS.values()} & {*surroundings, *surroundings.values()}

    await engine.stop(5)
    assert engine.status().state is State.STOPPED
    assert not psutil.pid_exists(status.pid)
    assert await engine.taken() is None


async def test_it_starts_though_its_caller_left(make: Make) -> None:
    engine = make()
    start = asyncio.create_task(engine.start())
    await asyncio.sleep(0)
    start.cancel()
    await engine.wait_ready(PATIENCE)
    await engine.start()
    assert engine.state is State.READY, "starting what runs changes nothing"


async def test_every_slot_has_its_whole_context(make: Make) -> None:
    engine = make(context=1000, slots=3)
    await engine.start()
    await engine.wait_ready(PATIENCE)
    async with engine.session.get("/slots") as response:
        contexts = [slot["n_ctx"] for slot in await response.json()]
    assert contexts == [1024] * 3


async def test_requests_wait_for_a_loading_engine_in_the_queue(make: Make) -> None:
    engine = make(queue_limit=1)
    async with asyncio.timeout(PATIENCE):
        waiting = asyncio.create_task(answer(engine))
        await asyncio.sleep(0)
        await engine.start()
        with pytest.raises(HoldfastError, match="queue of this model is full"):
            async with engine.queue.acquire("other"):
                pass
        assert await waiting == 200


async def test_killed_it_breaks_streams_and_comes_back(make: Make) -> None:
    engine = make(context=1 << 15)  # the answer does not end before it
    await engine.start()
    await engine.wait_ready(PATIENCE)
    first = engine.status().pid
    assert first is not None
    async with await complete(engine, 100_000, stream=True) as response:
        await response.content.readany()
        os.kill(first, signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(response.read(), PATIENCE)
    await engine.recovered(PATIENCE)
    after = engine.status()
    assert after.pid != first
    assert after.restarts == 1
    assert "it was killed" in (after.last_error or "")
    assert await answer(engine) == 200


async def test_killed_again_and_again_it_stays_down(make: Make) -> None:
    engine = make()
    await engine.start()
    for _ in range(QUICK.exits):
        await engine.wait_ready(PATIENCE)
        os.kill(engine.status().pid or 0, signal.SIGKILL)
        await engine.changed()
    error = await failed(engine, EngineError)
    assert "exited 3 times within 120 s" in error.why
    assert engine.restarts == 2


async def test_replace_launches_it_anew_and_says_why(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    first = engine.status().pid
    engine.replace("no token came for 60 s")
    assert await engine.changed() is State.STARTING
    await engine.wait_ready(PATIENCE)
    assert engine.status().pid != first
    assert "no token came for 60 s" in (engine.status().last_error or "")


async def test_one_that_someone_asked_to_end_is_replaced_when_it_listens_no_more(
    make: Make,
) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    assert await answer(engine) == 200
    first = engine.status().pid
    os.kill(first or 0, signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        while await listens(engine):
            await asyncio.sleep(0.01)
    # It now waits for our idle connection, for seconds, and takes no new one.
    await engine.recovered(PATIENCE)
    assert engine.status().pid != first
    assert await answer(engine) == 200


async def listens(engine: Engine) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(engine.launch.socket)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_recovered_from_what_was_no_exit(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    first = engine.status().pid
    await asyncio.wait_for(engine.recovered(10 * PATIENCE), PATIENCE)
    assert engine.status().pid == first


async def test_a_hanging_process_can_be_replaced(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(PATIENCE)
    os.kill(engine.status().pid or 0, signal.SIGSTOP)
    engine.replace("it hangs")
    assert await asyncio.wait_for(engine.changed(), PATIENCE) is State.STARTING
    await engine.wait_ready(PATIENCE)
