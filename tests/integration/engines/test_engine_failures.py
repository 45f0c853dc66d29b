"""Engines that cannot be started: what is told of each reason, and what is not tried again."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.demo import GGUF
from server.engines.lifecycle import State
from server.engines.restart import Policy
from server.errors import (
    DoesNotFit,
    EngineError,
    EngineMissing,
    StoreError,
)
from tests.integration.supervised import PATIENCE, Make, answer, failed

pytestmark = pytest.mark.integration


async def test_a_crash_loop_ends_with_the_last_words(
    make: Make, script: Callable[[str], Path]
) -> None:
    engine = make(binary=script("echo 'E kaboom'; exit 3"))
    began = time.monotonic()
    await engine.start()
    waiting = asyncio.create_task(answer(engine))
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
        await answer(engine)


async def test_a_failed_engine_can_be_started_again(
    make: Make, script: Callable[[str], Path], program: Path
) -> None:
    binary = script("exit 3")
    engine = make(binary=binary, policy=Policy(exits=1))
    await engine.start()
    await failed(engine, EngineError)
    script(f'exec {shlex.quote(str(program))} "$@"')
    await engine.start()
    await engine.wait_ready(PATIENCE)
    assert await answer(engine) == 200


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


async def test_weights_that_cannot_draft(make: Make) -> None:
    engine = make(draft_tokens=2)
    await engine.start()
    error = await failed(engine, StoreError)
    assert "MTP" in error.why
    assert (
        error.next_step == "This build has no layer that drafts tokens: serve it without drafting"
    )
    assert engine.status().restarts == 0


async def test_a_smaller_cache_is_really_smaller(make: Make) -> None:
    sizes = []
    for kv_type in ("f16", "q8_0"):
        engine = make(kv_type=kv_type)
        await engine.start()
        await engine.wait_ready(PATIENCE)
        assert await answer(engine) == 200
        sizes += [b.bytes for b in engine.status().buffers if b.kind == "KV"]
        await engine.stop(5)
    assert sizes[1] / sizes[0] == pytest.approx(34 / 64, rel=0.02)  # 32 values and an f16 scale


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


async def test_a_socket_path_that_is_too_long_is_told(make: Make, tmp_path: Path) -> None:
    engine = make(socket=tmp_path / ("x" * 100) / "e.sock")
    await engine.start()
    assert "may have 107" in (await failed(engine, EngineError)).why
