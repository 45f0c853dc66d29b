"""The fleet with real engines: loading, evicting, moving, failing; no request is ever lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path

import psutil
import pytest

from server.engines.berth import Berth
from server.engines.lifecycle import State
from server.engines.member import Member
from server.engines.watchdog import Watchdog
from server.errors import DoesNotFit, EngineError, EngineUnready, ModelNotFound, StoreError
from server.planning.deployment import Deployment
from server.planning.device import Device
from server.planning.rig import Rig
from server.routing.attempt import Attempt, Patience
from tests.integration.fleets import Harbour, ask, berth, fitted, frozen, moved
from tests.waiting import until

pytestmark = pytest.mark.integration

Script = Callable[[str], Path]


@pytest.fixture
def harbour(program: Path, tmp_path: Path) -> Harbour:
    return Harbour(program, tmp_path)


async def test_residents_start_and_what_is_on_demand_waits_to_be_asked(harbour: Harbour) -> None:
    guest = berth("guest", 3, residency="on demand")
    early = berth("early", 1, residency="on demand", preload=True)
    async with harbour.fleet(berth("home", 3), guest, early) as fleet:
        await asyncio.wait_for(fleet.settled(), 60)
        states = {name: m.engine.state for name, m in fleet.members.items()}
        assert states == {
            "home:f16": State.READY,
            "guest:f16": State.ABSENT,
            "early:f16": State.READY,
        }
        assert await ask(fleet.get("guest")) == 4
        assert [m.engine.state for m in fleet.members.values()] == [State.READY] * 3
    assert {engine.state for engine in harbour.made} == {State.STOPPED}


async def test_one_start_at_a_time_on_a_device(harbour: Harbour) -> None:
    async with harbour.fleet(berth("a", 2), berth("b", 2), berth("c", 2)) as fleet:
        most = 0
        done = asyncio.create_task(fleet.settled())
        while not done.done():
            starting = [e for e in harbour.made if e.state is State.STARTING]
            most = max(most, len(starting))
            await asyncio.sleep(0.002)
        assert most == 1
        assert {e.state for e in harbour.made} == {State.READY}


async def test_two_models_that_do_not_fit_together_take_turns_under_load(
    harbour: Harbour,
) -> None:
    one, other = berth("one", load_seconds=0.1), berth("other", load_seconds=0.1)
    async with harbour.fleet(one, other) as fleet:
        served: dict[str, int] = {"one": 0, "other": 0}
        overlap = 0

        async def client(name: str, number: int) -> None:
            for _ in range(8):
                assert await ask(fleet.get(name), 16, f"{name}-{number}") == 16
                served[name] += 1

        clients = [client(name, number) for name in served for number in range(3)]
        work = asyncio.gather(*clients)
        while not work.done():
            holding = [e for e in harbour.made if e.state not in (State.ABSENT, State.STOPPED)]
            overlap = max(overlap, len(holding))
            await asyncio.sleep(0.005)
        await work
        assert served == {"one": 24, "other": 24}
        assert overlap == 1, "never both at once"


async def test_clients_of_two_models_do_not_have_them_swapped_at_each_request(
    harbour: Harbour, script: Script, tmp_path: Path
) -> None:
    launches = tmp_path / "launches"
    launches.touch()
    slow = script(f'echo launched >> {launches}; sleep 0.5; exec {harbour.program} "$@"')
    harbour.programs = {"one:f16": slow, "other:f16": slow}
    async with harbour.fleet(berth("one"), berth("other", residency="on demand")) as fleet:

        async def client(name: str) -> None:
            for _ in range(15):
                assert await ask(fleet.get(name)) == 4
                await asyncio.sleep(0.02)  # the way to the client and back

        await asyncio.wait_for(asyncio.gather(client("one"), client("other")), 60)
    assert len(launches.read_text().splitlines()) <= 15, "at every second request at most"


async def test_two_in_constant_use_do_not_lock_out_a_third(harbour: Harbour) -> None:
    async with harbour.fleet(berth("a"), berth("b"), berth("c", residency="on demand")) as fleet:

        async def client(name: str, number: int) -> None:
            while True:
                await ask(fleet.get(name), 16, str(number))

        # More of them than slots: the queues of both are never empty.
        crowd = [asyncio.create_task(client(name, n)) for name in "ab" for n in range(4)]
        both = [fleet.get(name).tenure for name in "ab"]
        await until(lambda: all(tenure.ready_since for tenure in both), 60)
        try:
            assert await asyncio.wait_for(ask(fleet.get("c")), 60) == 4
        finally:
            for one in crowd:
                one.cancel()
            await asyncio.wait(crowd)


async def test_what_runs_is_not_cut_off_by_another_models_request(harbour: Harbour) -> None:
    async with harbour.fleet(berth("slow"), berth("next", residency="on demand")) as fleet:
        await fleet.settled()
        slow, following = fleet.get("slow"), fleet.get("next")
        with frozen(slow):
            long = asyncio.create_task(ask(slow, 300))
            await until(lambda: slow.queue.running == 1)
            asking = asyncio.create_task(ask(following))
            await until(lambda: slow.draining)
            assert "slow:f16 to finish" in following.describe()
            late = asyncio.create_task(ask(slow))
            await until(lambda: slow.queue.waiting == 1)
        assert (await long, await asking, await late) == (300, 4, 4)


async def test_a_pinned_one_stays_and_who_needs_its_memory_is_told_why(harbour: Harbour) -> None:
    async with harbour.fleet(berth("kept", pin=True), berth("big", residency="on demand")) as fleet:
        await fleet.settled()
        with pytest.raises(DoesNotFit) as caught:
            await asyncio.wait_for(ask(fleet.get("big")), 60)
        assert "needs 6 B of RAM (6 bytes), 2 B (2 bytes) more than can be made free" in str(
            caught.value
        )
        assert "kept:f16 is pinned there" in caught.value.why
        with pytest.raises(DoesNotFit):
            await asyncio.wait_for(fleet.load("big"), 60)
        assert fleet.get("kept").engine.state is State.READY
        assert await ask(fleet.get("kept")) == 4


async def test_idle_for_its_ttl_it_goes_and_a_request_brings_it_back(harbour: Harbour) -> None:
    async with harbour.fleet(berth("brief", ttl=0.2, residency="on demand")) as fleet:
        member = fleet.get("brief")
        assert await ask(member) == 4
        await until(lambda: member.engine.state is State.STOPPED)
        assert await ask(member) == 4


async def test_load_and_unload_by_hand(harbour: Harbour) -> None:
    async with harbour.fleet(berth("home"), berth("guest", residency="on demand")) as fleet:
        await fleet.settled()
        guest = await asyncio.wait_for(fleet.load("guest"), 60)
        assert guest.engine.state is State.READY
        assert fleet.get("home").engine.state is State.STOPPED
        await asyncio.wait_for(fleet.unload("guest:f16"), 60)
        assert guest.engine.status().state is State.STOPPED
        await until(lambda: fleet.get("home").engine.state is State.READY)
        with pytest.raises(ModelNotFound, match="Served: home:f16, guest:f16"):
            await fleet.load("nobody")


async def test_unloading_waits_for_what_runs(harbour: Harbour) -> None:
    async with harbour.fleet(berth("busy")) as fleet:
        await fleet.settled()
        busy = fleet.get("busy")
        with frozen(busy):
            running = asyncio.create_task(ask(busy, 300))
            await until(lambda: busy.queue.running == 1)
            unloading = asyncio.create_task(fleet.unload("busy"))
            await until(lambda: busy.draining)
        await asyncio.wait_for(unloading, 60)
        assert running.done()
        assert await running == 300


async def test_unloading_ends_a_load_that_is_waited_for(harbour: Harbour, script: Script) -> None:
    harbour.programs["never:f16"] = script("exec sleep 1000")
    async with harbour.fleet(berth("never", residency="on demand")) as fleet:
        loading = asyncio.create_task(fleet.load("never"))
        await until(lambda: fleet.get("never").engine.state is State.STARTING)
        await asyncio.wait_for(fleet.unload("never"), 60)
        with pytest.raises(EngineUnready, match="is being unloaded"):
            await loading
        await asyncio.wait_for(fleet.settled(), 60)
        assert fleet.get("never").engine.state is State.STOPPED


async def test_who_leaves_while_it_loads_leaves_nothing_behind(harbour: Harbour) -> None:
    async with harbour.fleet(berth("guest", residency="on demand")) as fleet:
        member = fleet.get("guest")
        waiting = asyncio.create_task(ask(member))
        await until(lambda: member.engine.state is State.STARTING)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert (member.queue.waiting, member.queue.running) == (0, 0)
        assert await ask(member) == 4


async def test_a_change_of_plan_moves_models_without_losing_a_request(harbour: Harbour) -> None:
    kept, leaves, moves = berth("kept", 2), berth("leaves", 2), berth("moves", 2)
    async with harbour.fleet(kept, leaves, moves) as fleet:
        await fleet.settled()
        pid = fleet.get("kept").engine.status().pid
        members = [fleet.get(name) for name in ("kept", "leaves", "moves")]
        with frozen(*members):
            running = [asyncio.create_task(ask(member, 200)) for member in members]
            await until(lambda: all(member.queue.running for member in members))
            plan = [kept, moved(moves, "GPU-1"), berth("new", 4)]
            foreseen = fleet.actions(plan, {"ram": 10, "GPU-1": 10})
            assert fleet.get("leaves").planned, "to look ahead changes nothing"
            fleet.apply(plan, {"ram": 10, "GPU-1": 10})
            waiting = asyncio.create_task(ask(fleet.get("moves")))
            await until(lambda: fleet.get("moves").queue.waiting == 1)
        assert await asyncio.gather(*running) == [200] * 3
        assert await waiting == 4
        await asyncio.wait_for(fleet.settled(), 60)
        assert fleet.get("kept").engine.status().pid == pid
        assert fleet.get("new").engine.state is State.READY
        with pytest.raises(ModelNotFound):
            fleet.get("leaves")
        assert sorted((a.kind, a.name) for a in foreseen) == [
            ("start", "moves:f16"),
            ("start", "new:f16"),
            ("stop", "leaves:f16"),
            ("stop", "moves:f16"),
        ]


async def test_out_of_memory_leads_down_the_ladder_and_who_waits_is_served(
    harbour: Harbour, script: Script
) -> None:
    # Its address space is bounded, in the middle between what two slots take (1.43 GB) and four
    # (2.02 GB). One heap for all threads: how many they get otherwise changes from run to run.
    bounded = f'export MALLOC_ARENA_MAX=1; ulimit -v 1720000; exec {harbour.program} "$@"'
    harbour.programs["tight:f16"] = script(bounded)
    large = berth("tight", slots=4, context=262_144)
    async with harbour.fleet(large, lower=fitted) as fleet:
        member = fleet.get("tight")
        assert await asyncio.wait_for(ask(member), 60) == 4
        assert member.steps
        assert member.tried[0] == large.deployment
        assert len(set(member.tried)) == len(member.tried)
        assert member.berth.deployment not in member.tried
        assert member.queue.slots == member.berth.deployment.slots < 4
        pid = member.engine.status().pid
        fleet.apply([large])
        await asyncio.wait_for(fleet.settled(), 60)
        assert member.engine.status().pid == pid, "what has failed is not tried again"


@pytest.mark.parametrize("stream", [False, True])
async def test_without_memory_for_requests_it_goes_down_the_ladder_too(
    harbour: Harbour, script: Script, stream: bool
) -> None:
    # Whatever has a page is mapped anew and given back at once: nothing is held in reserve.
    eager = "MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=4096 MALLOC_TRIM_THRESHOLD_=0"
    harbour.programs["tight:f16"] = script(f'export {eager}; exec {harbour.program} "$@"')
    body = {"prompt": "word " * 3000, "n_predict": 4, "ignore_eos": True, "stream": stream}

    async def attempt(member: Member) -> bytes:
        patience = Patience(60, 60)
        async with Attempt(
            member, "/completion", body, client="client", slots=1, patience=patience
        ) as answered:
            return await answered.whole()

    async with harbour.fleet(berth("tight", slots=2, context=4096), lower=fitted) as fleet:
        await fleet.settled()
        member = fleet.get("tight")
        engine = psutil.Process(member.engine.status().pid)
        size = await settled_size(engine)
        # Below what it has, so that a thread's stack that it gives back is none to gain either.
        engine.rlimit(psutil.RLIMIT_AS, (size // 2, size // 2))
        for _ in range(2):
            assert member.engine.state is State.READY, "it lives on, and refuses what it can"
            with pytest.raises(DoesNotFit, match="too little memory for this request"):
                await attempt(member)
        await until(lambda: member.engine.state is not State.READY or member.steps)
        assert b'"stop":true' in await attempt(member)
        assert member.steps == ["1 slots instead of 2 slots"]


async def settled_size(engine: psutil.Process) -> int:
    """Its address space once it has all its threads: ready, it still starts and ends some."""
    sizes: list[int] = []
    while len(sizes) < 50 or len(set(sizes[-50:])) > 1:
        await asyncio.sleep(0.02)
        sizes.append(engine.memory_info().vms)
    return sizes[-1]


async def test_where_the_ladder_ends_the_reason_stands(harbour: Harbour, script: Script) -> None:
    harbour.programs["tight:f16"] = script(f'ulimit -v 100000; exec {harbour.program} "$@"')
    async with harbour.fleet(berth("tight", slots=2, context=512), lower=fitted) as fleet:
        member = fleet.get("tight")
        with pytest.raises(EngineError) as caught:
            await asyncio.wait_for(ask(member), 60)
        assert member.engine.state is State.FAILED
        assert caught.value.sentence == str(member.error)
        with pytest.raises(EngineError):
            await asyncio.wait_for(ask(member), 60)


async def test_a_crash_loop_fails_with_its_reason_and_load_tries_again(
    harbour: Harbour, script: Script, tmp_path: Path
) -> None:
    cured = tmp_path / "cured"
    harbour.programs["ill:f16"] = script(
        f'[ -e {cured} ] && exec {harbour.program} "$@"; echo "E something is wrong"; exit 3'
    )
    async with harbour.fleet(berth("ill"), berth("well", 2)) as fleet:
        with pytest.raises(EngineError, match=r"something is wrong.*exited 3 times"):
            await asyncio.wait_for(ask(fleet.get("ill")), 60)
        assert await ask(fleet.get("well")) == 4, "the others do not suffer"
        cured.touch()
        await asyncio.wait_for(fleet.load("ill"), 60)
        assert await ask(fleet.get("ill")) == 4


async def test_killed_it_comes_back_and_who_waits_is_served(harbour: Harbour) -> None:
    async with harbour.fleet(berth("a")) as fleet:
        await fleet.settled()
        member = fleet.get("a")
        pid = member.engine.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: member.engine.restarts == 1)
        assert await asyncio.wait_for(ask(member), 60) == 4


async def test_one_that_hangs_is_launched_anew(harbour: Harbour) -> None:
    watchdog = Watchdog(every=0.1, patience=3.0)
    async with harbour.fleet(berth("a"), watchdog=watchdog) as fleet:
        await fleet.settled()
        member = fleet.get("a")
        pid = member.engine.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: member.engine.restarts > 0)
        assert await asyncio.wait_for(ask(member), 60) == 4
        assert "did not answer its health check" in str(member.error)
        assert not psutil.pid_exists(pid)


async def test_a_slow_load_is_waited_for(harbour: Harbour, script: Script) -> None:
    harbour.programs["slow:f16"] = script(f'sleep 1; exec {harbour.program} "$@"')
    async with harbour.fleet(berth("slow", residency="on demand")) as fleet:
        member = fleet.get("slow")
        waiting = asyncio.create_task(ask(member))
        await until(lambda: member.engine.state is State.STARTING)
        assert member.describe().startswith("loading slow:f16")
        assert await asyncio.wait_for(waiting, 60) == 4
        assert member.tenure.load_seconds >= 1


async def test_weights_that_are_gone_fail_with_what_is_missing(
    harbour: Harbour, tmp_path: Path
) -> None:
    harbour.files["gone:f16"] = tmp_path / "none.gguf"
    async with harbour.fleet(berth("gone", residency="on demand")) as fleet:
        with pytest.raises(StoreError, match=r"none\.gguf"):
            await asyncio.wait_for(ask(fleet.get("gone")), 60)
        assert fleet.get("gone").engine.state is State.FAILED


def rig(*gpus: str) -> Rig:
    def device(name: str, index: int | None) -> Device:
        return Device(name, name, name, index, name, 100, 10, 1e9, 1e9, None, 1e9)

    return Rig(
        tuple(device(gpu, number) for number, gpu in enumerate(gpus)),
        device("ram", None),
        (), 2, 10, 1e9, (),
    )  # fmt: skip


async def test_a_gpu_that_is_lost_is_planned_without(harbour: Harbour) -> None:
    there = ["GPU-0", "GPU-1"]
    first = berth("a", gpus=("GPU-0",))
    asked: list[tuple[Deployment, ...]] = []

    def replan(found: Rig, running: tuple[Deployment, ...]) -> tuple[Berth, ...]:
        asked.append(running)
        return (moved(first, found.gpus[0].id), other)

    other = berth("b", 2, gpus=("GPU-1",))

    def survey(pids: Collection[int]) -> Rig:
        return rig(*there)

    async with harbour.fleet(first, other, survey=survey, replan=replan) as fleet:
        await fleet.settled()
        stays = fleet.get("b").engine.status().pid
        there.remove("GPU-0")
        os.kill(fleet.get("a").engine.status().pid or 0, signal.SIGKILL)
        await until(lambda: fleet.get("a").berth.deployment.gpus == ("GPU-1",))
        assert await asyncio.wait_for(ask(fleet.get("a")), 60) == 4
        assert fleet.get("b").engine.status().pid == stays
        assert asked == [(other.deployment,)]
