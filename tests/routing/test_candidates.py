"""Candidates of real members of a fleet whose engines are never launched, and of clouds."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from server import catalogue, settings
from server.catalogue import Catalogue
from server.catalogue.cloud import CloudModel, Price, Provider, Rate
from server.catalogue.router import Alias, Router, Task
from server.chat.usage import Usage
from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.lifecycle import Event
from server.engines.llama_server import Launch
from server.engines.member import Member
from server.engines.slots import SlotQueue
from server.planning.deployment import Deployment
from server.routing.candidate import Candidate
from server.routing.candidates import Candidates
from server.routing.local_candidate import load_left
from server.routing.needs import Needs
from server.routing.observe import Expected
from server.routing.observe_cloud import STALE
from server.routing.policy import decide
from server.routing.targets import Target
from server.routing.watched import Watched
from tests.routing.cases import needs_for

NOTHING = Path("/nonexistent")
BUILTIN = catalogue.load(settings.load(os.environ, home=NOTHING, system_config=NOTHING / "x"))
BUILDS = ("qwen3.5-4b:q4_k_m", "qwen3.5-9b:q4_k_m")
PROVIDERS = {
    name: Provider(name, "openai", f"https://{name}.example") for name in ("acme", "other")
}
CLOUDS = {
    model.id: model
    for model in (
        CloudModel("acme/a", "acme", "a", "A", 9000, 100, Price(Rate(1, 1)), ttft=0.7, speed=90),
        CloudModel("other/b", "other", "b", "B", 9000, 100, Price(Rate(1, 1))),
    )
}
TASKS = {"chat": Task("chat", {"ifeval": 1.0})}
KNOWN: Catalogue = replace(BUILTIN, providers=PROVIDERS, clouds=CLOUDS, router=Router(tasks=TASKS))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Downs:
    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        self.rests: dict[str, int] = {}

    def down(self, name: str) -> str:
        return self.why.get(name, "")

    def rest(self, name: str) -> int | None:
        return self.rests.get(name)


class World:
    """Two builds and two clouds, at a time of its own."""

    def __init__(self, folder: Path, *, slots: int = 2, limit: int = 3) -> None:
        self.clock, self.downs = Clock(), Downs()
        self.today = datetime.date(2026, 11, 21)
        self.targets = [self._target(name, folder, slots, limit) for name in BUILDS]
        self.candidates = Candidates(self.downs, clock=self.clock, today=lambda: self.today)
        self.serve()

    def _target(self, name: str, folder: Path, slots: int, limit: int) -> Target:
        model, build = KNOWN.resolve(name)
        assert build is not None
        socket = folder / f"{model.id}.sock"
        launch = Launch(
            Path("/none"), Path("/none.gguf"), name, socket, context=4096, slots=slots, threads=1
        )
        queue = SlotQueue(slots, limit, clock=self.clock)
        deployment = Deployment(model.id, name, "llama-server", (), 4096, slots)
        berth = Berth(name, deployment, {"ram": 1}, load_seconds=20.0)
        engine = Engine(name, launch, logs=folder, queue=queue)
        member = Member(berth, queue, engine, lambda: None, self.clock)
        return Target(model, build, member, sees=False, created=0)

    def serve(self, known: Catalogue = KNOWN, keyless: Sequence[str] = ()) -> None:
        self.candidates.serve(
            known,
            self.targets,
            expected={BUILDS[0]: Expected(prefill=100, decode=10, decode_all=15)},
            keyless=dict.fromkeys(keyless, "OTHER is not set"),
        )

    def ready(self) -> None:
        for target in self.targets:
            standing = target.member.engine._standing  # an engine's own; nobody else enters states
            standing.enter(Event.START)
            standing.enter(Event.ANSWERED)

    def begin(self, name: str, needs: Needs) -> Watched:
        watched = self.candidates.begin(self.now()[name], needs)
        assert watched is not None
        return watched

    def now(self, **more: object) -> dict[str, Candidate]:
        return {c.name: c for c in self.candidates.of(needs_for("auto", **more))}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_what_they_are(world: World) -> None:
    found = world.now()
    assert list(found) == [*BUILDS, "acme/a", "other/b"]
    local, cloud = found[BUILDS[0]], found["acme/a"]
    assert (local.side, local.model, local.context, local.image) == (
        "local", "qwen3.5-4b", 4096, False,
    )  # fmt: skip
    assert local.price is None
    assert local.target is world.targets[0]
    assert local.capability["chat"] == KNOWN.models["qwen3.5-4b"].scores["ifeval"]
    assert (cloud.side, cloud.provider, cloud.model) == ("cloud", "acme", "a")
    assert cloud.target is CLOUDS["acme/a"]
    assert cloud.capability == {}
    assert (cloud.forecast.ttft, cloud.forecast.speed) == (0.7, 90)


async def test_forecasts_begin_with_the_planner_and_the_load(world: World) -> None:
    found = world.now(prompt_tokens=1200)[BUILDS[0]]
    assert found.prompt_tokens == 1000
    assert found.forecast.load == 20.0
    assert found.forecast.prefill == pytest.approx(10.0, rel=0.01)
    world.ready()
    assert world.now()[BUILDS[0]].forecast.load == 0.0


async def test_the_load_that_is_left(world: World) -> None:
    member = world.targets[0].member
    assert load_left(member, 1000.0) == 20.0
    member.tenure.begin("start", 1000.0)
    assert load_left(member, 1015.0) == 5.0
    assert load_left(member, 1100.0) == 1.0
    member.tenure.begin("wake", 1000.0)
    assert load_left(member, 1000.5) == 1.5
    member.tenure.begin("stop", 1000.0)
    assert load_left(member, 1001.0) == 20.0


async def test_a_full_queue_is_down_for_a_while(world: World) -> None:
    member = world.targets[0].member
    waiting = [asyncio.ensure_future(member.request("k").__aenter__()) for _ in range(6)]
    member.queue.pause()
    waiting += [asyncio.ensure_future(member.request("k").__aenter__()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    found = world.now()[BUILDS[0]]
    assert "its queue is full: 3 requests wait" in found.down
    assert found.retry_after == member.queue.retry_after()
    assert world.now(key="another")[BUILDS[0]].down == ""
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_breakers_are_believed(world: World) -> None:
    world.downs.why = {"acme/a": "it failed 5 times in a row", BUILDS[1]: "broken"}
    world.downs.rests = {"acme/a": 12}
    found = world.now()
    assert (found["acme/a"].down, found["acme/a"].retry_after) == ("it failed 5 times in a row", 12)
    assert found[BUILDS[1]].down == "broken"
    world.downs.why.clear()
    assert not any(c.down for c in world.now().values())


async def test_a_cloud_that_retired_is_down_and_one_without_a_key_is_none(world: World) -> None:
    retired = replace(CLOUDS["acme/a"], retires=datetime.date(2026, 11, 22))
    world.serve(replace(KNOWN, clouds={**CLOUDS, "acme/a": retired}), keyless=["other"])
    assert list(world.now()) == [*BUILDS, "acme/a"]
    assert world.now()["acme/a"].down == ""
    world.today = datetime.date(2026, 11, 22)
    assert "has not offered it since 2026-11-22" in world.now()["acme/a"].down
    assert world.candidates.absent["other/b"] == "other has no key: OTHER is not set"
    assert "is not running" in world.candidates.absent["qwen3.5-27b"]
    assert "qwen3.5-4b" not in world.candidates.absent


async def test_a_cloud_is_the_same_candidate_until_something_changes(world: World) -> None:
    assert world.now()["acme/a"] is world.now()["acme/a"]
    hears = world.begin("acme/a", needs_for("auto"))
    hears.started(0.0)
    hears.first(0.2)
    assert world.now()["acme/a"].forecast.ttft == 0.2
    hears.end(1.2, Usage(1000, 50))
    assert world.now()["acme/a"].forecast.speed == pytest.approx(50)
    assert world.now()["acme/a"].forecast.measured


async def test_a_cheap_cloud_that_nobody_knows_is_tried_by_one_request_at_a_time(
    world: World,
) -> None:
    """`acme/a` is dearer, and known to keep what is asked for; nobody knows that of `other/b`."""

    router = Router(aliases={"cloud": Alias("cloud", ("cloud",))})

    def first() -> str:
        needs = needs_for("cloud", slo_ttft=0.5, max_tokens=50)
        return decide(needs, tuple(world.now().values()), router).attempts[0].name

    def told(name: str, ttft: float) -> None:
        hears = world.begin(name, needs_for("cloud"))
        hears.started(world.clock.now)
        world.clock.now += ttft
        hears.first(world.clock.now)
        hears.end(world.clock.now)

    dear = replace(CLOUDS["acme/a"], price=Price(Rate(10**9, 10**9)))
    world.serve(replace(KNOWN, clouds=CLOUDS | {dear.id: dear}))
    told("acme/a", 0.4)
    assert first() == "other/b"
    finds_out = world.begin("other/b", needs_for("cloud"))
    assert first() == "acme/a", "while one finds out"
    finds_out.end(world.clock.now)
    assert first() == "other/b", "it came to nothing"
    told("other/b", 0.8)
    assert first() == "acme/a", "it is known to be late"
    world.clock.now += STALE / 2
    told("acme/a", 0.4)
    assert first() == "acme/a"
    world.clock.now += STALE / 2
    assert first() == "other/b", "what is known of it is old"
    told("other/b", 0.2)
    assert first() == "other/b"


PREFIX = ((11, 100), (22, 400), (33, 800))


async def test_what_was_read_is_in_the_cache_of_that_engine_alone(world: World) -> None:
    world.ready()
    first = needs_for("auto", prefix=PREFIX[:2])
    hears = world.begin(BUILDS[0], first)
    hears.started(1000.0)
    assert world.now(prefix=PREFIX)[BUILDS[0]].cached_tokens == 0
    hears.first(1001.0)
    assert world.now(prefix=PREFIX)[BUILDS[0]].cached_tokens == 0, "its slot is busy"
    hears.end(1002.0, Usage(833, 10))
    found = world.now(prefix=PREFIX)
    assert found[BUILDS[0]].cached_tokens == pytest.approx(400, abs=100)
    assert found[BUILDS[1]].cached_tokens == 0
    cold = world.now()[BUILDS[0]].forecast.prefill
    assert found[BUILDS[0]].forecast.prefill < cold


async def test_a_conversation_is_in_the_slot_of_the_request_that_goes_on_with_it(
    world: World,
) -> None:
    def cached() -> int:
        return world.now(prefix=PREFIX)[BUILDS[0]].cached_tokens

    world.ready()
    hears = world.begin(BUILDS[0], needs_for("auto", prefix=PREFIX[:1]))
    hears.started(1000.0)
    hears.first(1001.0)
    hears.end(1002.0, Usage(833, 10))
    short = cached()
    assert short > 0
    for read in (False, True):
        hears = world.begin(BUILDS[0], needs_for("auto", prefix=PREFIX[:2]))
        assert cached() == 0
        if read:
            hears.started(1003.0)
            hears.first(1004.0)
        hears.end(1005.0)
        assert cached() == short if not read else cached() > short
        hears.end(1006.0)


async def test_a_new_engine_of_a_build_has_an_empty_cache(world: World, tmp_path: Path) -> None:
    hears = world.begin(BUILDS[0], needs_for("auto", prefix=PREFIX))
    hears.end(1000.0, Usage(833, 10))
    assert world.now(prefix=PREFIX)[BUILDS[0]].cached_tokens > 0
    member = world.targets[0].member
    launch = member.engine.launch
    member.tenure.engine = Engine(BUILDS[0], launch, logs=tmp_path, queue=member.queue)
    assert world.now(prefix=PREFIX)[BUILDS[0]].cached_tokens == 0


async def test_a_session_sticks_to_where_it_was_for_its_key(world: World) -> None:
    needs = needs_for("auto", session="s")
    world.begin("acme/a", needs).first(1000.0)
    assert [c.name for c in world.now(session="s").values() if c.sticky] == ["acme/a"]
    assert not any(c.sticky for c in world.now(session="s", key="another").values())
    assert not any(c.sticky for c in world.now(session="t").values())
    world.clock.now += 3600
    assert not any(c.sticky for c in world.now(session="s").values())


async def test_what_was_learnt_outlives_a_new_configuration(world: World) -> None:
    hears = world.begin("acme/a", needs_for("auto"))
    hears.started(0.0)
    hears.first(0.25)
    for at in (10.0, 20.0, 30.0):
        hears = world.begin(BUILDS[0], needs_for("auto"))
        hears.started(at)
        hears.first(at + 1)
        hears.end(at + 2, Usage(1000, 10))
    world.serve()
    assert world.now()["acme/a"].forecast.ttft == 0.25
    assert world.now()[BUILDS[0]].forecast.measured
