"""The supervisor with the real llama-server and the demo model."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from server import settings
from server.demo import GGUF
from server.engines.binary import find_llama_server
from server.engines.engine import Engine
from server.engines.fleet import Fleet, Member
from server.engines.lifecycle import State
from server.engines.llama_server import Launch
from server.engines.restart import Policy
from server.errors import (
    DoesNotFit,
    EngineError,
    EngineMissing,
    EngineUnready,
    HoldfastError,
    StoreError,
)

pytestmark = pytest.mark.integration

CONTEXT = 1024
QUICK = Policy(first=0.05, longest=0.2, exits=3)
SECRETS = {"OPENAI_API_KEY": "canary-key", "HF_TOKEN": "canary-token", "LLAMA_ARG_PORT": "1"}
PROMPT = "canary-prompt tell me something"

Make = Callable[..., Engine]


@pytest.fixture(scope="session")
def program() -> Path:
    return find_llama_server(settings.load(os.environ)).path


@pytest.fixture
async def make(program: Path, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes engines; what runs of them in the end is stopped."""
    made: list[Engine] = []
    before = set(psutil.Process().children(recursive=True))

    def make(name: str = "demo:test", **changes: Any) -> Engine:
        launch = Launch(
            binary=program,
            model_file=GGUF,
            alias="demo",
            socket=tmp_path / "run" / f"{len(made)}.sock",
            context=CONTEXT,
            slots=2,
            threads=1,
        )
        known = {key: changes.pop(key) for key in list(changes) if hasattr(launch, key)}
        options = {"logs": tmp_path / "logs", "policy": QUICK} | changes
        made.append(Engine(name, replace(launch, **known), **options))
        return made[-1]

    yield make
    await asyncio.gather(*(engine.stop(0) for engine in made))
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a program out of lines of shell, to stand where llama-server stands."""

    def write(lines: str) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return path

    return write


async def complete(engine: Engine, tokens: int, *, stream: bool = False) -> aiohttp.ClientResponse:
    body = {"prompt": PROMPT, "n_predict": tokens, "ignore_eos": True, "stream": stream}
    return await engine.session.post("/completion", json=body)


async def failed(engine: Engine, kind: type[HoldfastError]) -> HoldfastError:
    with pytest.raises(kind) as caught:
        await engine.wait_ready(20)
    assert engine.state is State.FAILED
    return caught.value


async def test_it_starts_serves_and_stops(make: Make) -> None:
    engine = make(environ={**os.environ, **SECRETS})
    await engine.start()
    assert engine.state is State.STARTING
    await engine.wait_ready(20)
    async with await complete(engine, 8) as response:
        assert (await response.json())["tokens_predicted"] == 8
    status = engine.status()
    assert (status.state, status.restarts, status.last_error) == (State.READY, 0, None)
    assert status.pid is not None
    assert status.rss > 1 << 20
    assert {buffer.kind for buffer in status.buffers} == {"model", "KV", "RS", "compute", "output"}

    process = psutil.Process(status.pid)
    sockets = [c for c in process.net_connections("all") if c.status == "LISTEN" or c.laddr]
    assert process.net_connections("inet") == [], "nothing listens on TCP"
    assert str(engine.launch.socket) in {c.laddr for c in sockets}
    assert engine.launch.socket.stat().st_mode & 0o077 == 0, "its socket is ours alone"
    surroundings = process.environ()
    assert surroundings["PATH"] == os.environ["PATH"]
    assert not {*SECRETS, *SECRETS.values()} & {*surroundings, *surroundings.values()}

    await engine.stop(5)
    assert engine.state is State.STOPPED
    assert not psutil.pid_exists(status.pid)
    assert b"canary" not in engine.log.path.read_bytes(), "no prompt stands in a log"


async def test_every_slot_has_its_whole_context(make: Make) -> None:
    engine = make(context=1000, slots=3)
    await engine.start()
    await engine.wait_ready(20)
    async with engine.session.get("/slots") as response:
        contexts = [slot["n_ctx"] for slot in await response.json()]
    assert contexts == [1024] * 3


async def test_requests_wait_for_a_loading_engine_in_the_queue(make: Make) -> None:
    engine = make(queue_limit=1)
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(_answer(engine))
        await asyncio.sleep(0)
        await engine.start()
        with pytest.raises(HoldfastError, match="queue of this model is full"):
            async with engine.queue.acquire("other"):
                pass
        assert await waiting == 200


async def _answer(engine: Engine) -> int:
    async with engine.queue.acquire("client"), await complete(engine, 2) as response:
        return response.status


async def test_killed_it_breaks_streams_and_comes_back(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(20)
    first = engine.status().pid
    assert first is not None
    async with await complete(engine, 100_000, stream=True) as response:
        await response.content.readany()
        os.kill(first, signal.SIGKILL)
        killed = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
        assert time.monotonic() - killed < 1
    await engine.recovered(10)
    assert time.monotonic() - killed < 5
    after = engine.status()
    assert after.pid != first
    assert after.restarts == 1
    assert "it was killed" in (after.last_error or "")
    assert await _answer(engine) == 200


async def test_killed_again_and_again_it_stays_down(make: Make) -> None:
    engine = make()
    await engine.start()
    for _ in range(QUICK.exits):
        await engine.wait_ready(20)
        os.kill(engine.status().pid or 0, signal.SIGKILL)
        await engine.changed()
    error = await failed(engine, EngineError)
    assert "exited 3 times within 120 s" in error.why
    assert engine.restarts == 2


async def test_replace_launches_it_anew_and_says_why(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(20)
    first = engine.status().pid
    engine.replace("no token came for 60 s")
    assert await engine.changed() is State.STARTING
    await engine.wait_ready(10)
    assert engine.status().pid != first
    assert "no token came for 60 s" in (engine.status().last_error or "")


async def test_a_hanging_process_can_be_replaced(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(20)
    os.kill(engine.status().pid or 0, signal.SIGSTOP)
    engine.replace("it hangs")
    assert await asyncio.wait_for(engine.changed(), 2) is State.STARTING
    await engine.wait_ready(10)


async def test_a_crash_loop_ends_with_the_last_words(
    make: Make, script: Callable[[str], Path]
) -> None:
    engine = make(binary=script("echo 'E kaboom'; exit 3"))
    began = time.monotonic()
    await engine.start()
    waiting = asyncio.create_task(_answer(engine))
    error = await failed(engine, EngineError)
    assert time.monotonic() - began >= 0.05 + 0.1, "it waited before each relaunch"
    assert "kaboom" in error.why
    assert "exited 3 times" in error.why
    assert str(engine.log.path) in error.next_step
    status = engine.status()
    assert (status.restarts, status.pid) == (2, None)
    assert status.log_tail == ("E kaboom",)
    with pytest.raises(EngineError, match="kaboom"):
        await waiting
    with pytest.raises(EngineError, match="kaboom"):
        await _answer(engine)


async def test_a_failed_engine_can_be_started_again(
    make: Make, script: Callable[[str], Path], program: Path
) -> None:
    binary = script("exit 3")
    engine = make(binary=binary, policy=Policy(exits=1))
    await engine.start()
    await failed(engine, EngineError)
    script(f'exec {shlex.quote(str(program))} "$@"')
    await engine.start()
    await engine.wait_ready(20)
    assert await _answer(engine) == 200


async def test_a_flag_that_it_does_not_know_is_not_tried_twice(
    make: Make, script: Callable[[str], Path], program: Path
) -> None:
    engine = make(binary=script(f'exec {shlex.quote(str(program))} "$@" --no-such-flag'))
    await engine.start()
    error = await failed(engine, EngineMissing)
    assert "--no-such-flag" in error.why
    assert engine.status().restarts == 0


async def test_a_program_that_is_not_there(make: Make, tmp_path: Path) -> None:
    engine = make(binary=tmp_path / "nothing")
    await engine.start()
    assert "No such file" in (await failed(engine, EngineError)).why


async def test_a_launch_that_breaks_the_supervisor_leaves_nobody_waiting(make: Make) -> None:
    engine = make(alias="nul\0byte")
    await engine.start()
    error = await failed(engine, EngineError)
    assert "the supervisor of demo:test broke" in error.what
    assert "embedded null byte" in error.why


async def test_weights_without_a_tensor_are_told_and_not_tried_twice(
    make: Make, tmp_path: Path
) -> None:
    content = GGUF.read_bytes()
    name = b"blk.0.attn_norm.weight"
    assert content.count(name) == 1
    lacking = tmp_path / "lacking.gguf"
    lacking.write_bytes(content.replace(name, b"blk.0.attn_nirm.weight"))
    engine = make(model_file=lacking)
    await engine.start()
    error = await failed(engine, StoreError)
    assert "attn_norm" in error.why
    assert engine.status().restarts == 0
    assert any("attn_norm" in line for line in engine.status().log_tail)


async def test_weights_of_an_unknown_architecture(make: Make, tmp_path: Path) -> None:
    content = GGUF.read_bytes()
    name = b"general.architecture\x08\0\0\0\x06\0\0\0\0\0\0\0qwen"
    assert content.count(name + b"35") == 1
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(content.replace(name + b"35", name + b"99"))
    engine = make(model_file=strange)
    await engine.start()
    error = await failed(engine, StoreError)
    assert "unknown model architecture: 'qwen99'" in error.why
    assert "newer llama-server" in error.next_step


async def test_out_of_memory_is_told_and_not_tried_twice(
    make: Make, script: Callable[[str], Path], program: Path
) -> None:
    limited = script(f'ulimit -v 2000000; exec {shlex.quote(str(program))} "$@"')
    engine = make(binary=limited, context=1 << 22)
    await engine.start()
    error = await failed(engine, DoesNotFit)
    assert "alloc" in error.why
    assert "[serve]" in error.next_step
    assert engine.status().restarts == 0


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "absent", "empty"])
async def test_a_damaged_file_is_refused_before_any_engine_sees_it(
    make: Make, script: Callable[[str], Path], tmp_path: Path, damage: str
) -> None:
    content = GGUF.read_bytes()
    path = tmp_path / "damaged.gguf"
    if damage == "truncated":
        path.write_bytes(content[:-1000])
    elif damage == "corrupt":
        path.write_bytes(content[:16] + b"\xff" * 8 + content[24:])
    elif damage == "empty":
        path.write_bytes(b"")
    seen = tmp_path / "seen"
    engine = make(model_file=path, binary=script(f"touch {seen}"))
    with pytest.raises(StoreError) as caught:
        await engine.start()
    assert str(path) in caught.value.what
    assert engine.state is State.FAILED
    assert not seen.exists()
    assert (await failed(engine, StoreError)).what == caught.value.what


async def test_a_stuck_start_is_ended(make: Make, script: Callable[[str], Path]) -> None:
    engine = make(binary=script("exec sleep 1000"), load_timeout=0.3, policy=Policy(exits=1))
    await engine.start()
    error = await failed(engine, EngineError)
    assert "made no progress in loading for 300 ms" in error.why


async def test_draining_finishes_what_runs_and_refuses_the_rest(make: Make) -> None:
    engine = make()
    await engine.start()
    await engine.wait_ready(20)
    async with engine.queue.acquire("client"):
        response = await complete(engine, 200, stream=True)
        stopping = asyncio.create_task(engine.stop(20))
        assert await engine.changed() is State.DRAINING
        with pytest.raises(EngineUnready, match="is being stopped"):
            async with engine.queue.acquire("late"):
                pass
        with pytest.raises(EngineUnready):
            await engine.wait_ready(1)
        text = await response.text()
        assert '"stop":true' in text, "the stream came to its end"
        assert not stopping.done()
    await asyncio.wait_for(stopping, 5)
    assert engine.state is State.STOPPED


@pytest.mark.parametrize("impatient", [False, True])
async def test_a_drain_has_an_end(make: Make, impatient: bool) -> None:
    engine = make(slots=1)
    await engine.start()
    await engine.wait_ready(20)
    began = time.monotonic()
    async with engine.queue.acquire("client"):
        waiting = asyncio.create_task(_answer(engine))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(engine.stop(60 if impatient else 0.2))
        assert await engine.changed() is State.DRAINING
        if impatient:
            await engine.stop(0)
        await stopping
    assert time.monotonic() - began < 3
    assert engine.state is State.STOPPED
    with pytest.raises(EngineUnready, match="was stopped"):
        await waiting


async def test_stopped_while_loading_it_is_gone_at_once(
    make: Make, script: Callable[[str], Path]
) -> None:
    engine = make(binary=script("exec sleep 1000"))
    await engine.start()
    waiting = asyncio.create_task(_answer(engine))
    await asyncio.sleep(0.1)
    assert engine.progress is not None
    await asyncio.wait_for(engine.stop(60), 2)
    assert engine.state is State.STOPPED
    assert engine.progress is None
    with pytest.raises(EngineUnready):
        await waiting


async def test_stopped_between_two_launches_it_stays_away(
    make: Make, script: Callable[[str], Path]
) -> None:
    engine = make(binary=script("exit 3"), policy=Policy(first=60, longest=60))
    await engine.start()
    while engine.status().restarts == 0:
        await engine.changed()
    await asyncio.wait_for(engine.stop(60), 2)
    assert engine.state is State.STOPPED


async def test_a_socket_path_that_is_too_long_is_told(make: Make, tmp_path: Path) -> None:
    engine = make(socket=tmp_path / ("x" * 100) / "e.sock")
    await engine.start()
    assert "may have 107" in (await failed(engine, EngineError)).why


async def test_a_fleet_starts_what_fits_and_says_what_does_not(make: Make) -> None:
    small, large, broken = make("a"), make("b"), make("c", binary=Path("/nowhere"))
    last = make("d")
    members = [Member(small, 10), Member(large, 91), Member(broken, 5), Member(last, 90)]
    fleet = Fleet(members, available=100)
    await asyncio.wait_for(fleet.start_all(), 60)
    states = [status.state for status in fleet.status()]
    assert states == [State.READY, State.FAILED, State.FAILED, State.READY]
    with pytest.raises(DoesNotFit, match=r"needs 91 B .* and 90 B"):
        await fleet.get("b").wait_ready()
    await fleet.stop_all(5)
    assert {status.state for status in fleet.status()} == {State.STOPPED}


PARENT = """
import asyncio, sys
from pathlib import Path
from server.engines.engine import Engine
from server.engines.llama_server import Launch

async def main():
    launch = Launch(Path({program!r}), Path({model!r}), "demo", Path({socket!r}), 1024, 2, 1)
    engine = Engine("demo", launch, logs=Path({logs!r}))
    await engine.start()
    await engine.wait_ready()
    print(engine.status().pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def test_no_llama_server_outlives_its_supervisor(program: Path, tmp_path: Path) -> None:
    text = PARENT.format(
        program=str(program),
        model=str(GGUF),
        socket=str(tmp_path / "e.sock"),
        logs=str(tmp_path / "logs"),
    )
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        family = psutil.Process(parent.pid).children(recursive=True)
        assert engine in family
        parent.kill()
    _, left = psutil.wait_procs(family, timeout=3)
    assert left == []
