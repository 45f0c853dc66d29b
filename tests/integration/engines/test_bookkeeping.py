"""What a real engine teaches is kept, once for each of its starts."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from server import catalogue, settings
from server.engines.bookkeeping import Bookkeeper
from server.engines.lifecycle import State
from server.engines.observations import Observations
from server.engines.speeds import read_speeds
from server.hardware.probe import probe
from server.planning.deployment import Deployment
from server.planning.rig import rig
from server.settings import Settings
from server.store.layout import locate
from tests.integration.supervised import CONTEXT, PATIENCE, Make, complete

pytestmark = pytest.mark.integration

DEPLOYMENT = Deployment("demo", "demo:f16", "llama-server", (), context=CONTEXT, slots=2)


@pytest.fixture
def known(tmp_path: Path) -> Settings:
    return settings.load({}, home=tmp_path / "home", system_config=tmp_path / "none")


@pytest.fixture
def keeper(known: Settings) -> Bookkeeper:
    loaded = catalogue.load(known)
    machine = rig(probe(known.home))
    return Bookkeeper(known, loaded, machine, lambda build: locate(build, known), every=0.1)


async def test_every_start_is_kept_and_only_starts(
    make: Make, keeper: Bookkeeper, known: Settings
) -> None:
    engine = make(version="1")
    following = asyncio.create_task(keeper.follow(engine, DEPLOYMENT))
    observations = Observations(known.home)

    async def kept(starts: int) -> None:
        while sum(one.component == "kv_cache" for one in observations.read()) < starts:
            assert not following.done(), following.exception()
            await asyncio.sleep(0.05)

    async with asyncio.timeout(60):
        await engine.start()
        await kept(1)
        rows = {one.component: one for one in observations.read()}
        assert {(one.engine, one.version, one.device) for one in rows.values()} == {
            ("llama-server", "1", "ram")
        }
        for exact in ("kv_cache", "state"):
            assert rows[exact].actual == pytest.approx(rows[exact].predicted, abs=1 << 14)
        assert rows["process"].actual > 1 << 20

        os.kill(engine.status().pid or 0, signal.SIGKILL)
        await engine.changed()
        await engine.wait_ready(PATIENCE)
        await kept(2)
    assert engine.state is State.READY
    assert sum(one.component == "kv_cache" for one in observations.read()) == 2
    following.cancel()


async def test_speeds_are_kept_of_models_that_tell_of_others(
    make: Make, keeper: Bookkeeper, known: Settings
) -> None:
    engine = make(version="1")
    async with asyncio.timeout(60):
        await engine.start()
        await engine.wait_ready()
        async with await complete(engine, 400) as response:
            assert response.status == 200
        work = await engine.work()
        assert work is not None
        keeper._keep_speed("1", DEPLOYMENT, work)
        assert not read_speeds(known.home).measurements, "so small a model tells nothing"
        following = asyncio.create_task(replace(keeper, tiny=0).follow(engine, DEPLOYMENT))
        while not read_speeds(known.home).measurements:
            assert not following.done()
            await asyncio.sleep(0.05)
    (kept,) = read_speeds(known.home).measurements
    assert (kept.engine, kept.build) == ("llama-server", "demo:f16")
    assert kept.decode is not None
    following.cancel()


async def test_a_disk_that_takes_nothing_stops_no_engine(
    make: Make, keeper: Bookkeeper, known: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    known.home.mkdir()
    (known.home / "state").write_text("no folder")
    engine = make(version="1")
    following = asyncio.create_task(keeper.follow(engine, DEPLOYMENT))
    async with asyncio.timeout(60):
        await engine.start()
        while "could not be kept" not in caplog.text:
            await asyncio.sleep(0.05)
    assert engine.state is State.READY
    assert not following.done()
    following.cancel()
