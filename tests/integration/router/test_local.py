"""Engines of this machine beside clouds: real llama-servers, and a spy on every socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server import demo, settings
from server.catalogue.cloud import Kind
from server.catalogue.router import Limits
from server.engines.binary import find_llama_server
from server.engines.fleet import Fleet
from server.engines.lifecycle import State
from server.engines.member import Member
from server.errors import BudgetExceeded, EngineError
from server.ledger.account import Account, Party
from server.routing.attempt import Attempt, Patience
from tests.fakes.cloud_running import ROOT, FakeCloud
from tests.integration.fleets import Harbour, berth, frozen
from tests.integration.router.world import Asking, Told, World, at_cloud, at_engine, cloud_model
from tests.integration.router.world import world as made_world
from tests.waiting import until

pytestmark = pytest.mark.integration

CLOUD = at_cloud(cloud_model("openai"))
QUESTION = "What is Holdfast?"
_TOKENS = json.loads((demo.SAFETENSORS / "tokenizer.json").read_text())["added_tokens"]
ENDLESS = {
    str(token["id"]): -100
    for token in _TOKENS
    if token["content"] in ("<|im_end|>", "<|endoftext|>")
}
IMPATIENT = Patience(60, 60, first_token=2.0, token=2.0)


@pytest.fixture(scope="session")
def program() -> Path:
    return find_llama_server(settings.load(os.environ)).path


@pytest.fixture
async def fleet(program: Path, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Harbour(program, tmp_path).fleet(berth("demo", 3), berth("cold", 3)) as fleet:
        await fleet.load("demo")
        yield fleet


@pytest.fixture
async def there(tmp_path: Path, clouds: dict[Kind, FakeCloud]) -> AsyncIterator[World]:
    async with made_world(tmp_path, clouds, patience=IMPATIENT) as made:
        yield made


def freeze(member: Member) -> None:
    """Its engine lives on and does nothing any more."""
    pid = member.engine.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_answers_and_is_written_down(
    there: World, fleet: Fleet, stream: bool
) -> None:
    asking = Asking(QUESTION, stream=stream, max_tokens=8)
    told = await there.ask(there.job([at_engine(fleet.get("demo"))], asking=asking))
    assert (told.ending, told.candidate) == ("complete", "demo:f16")
    await there.balance(told)
    (entry,) = there.entries
    assert (entry.route, entry.model, entry.cost, entry.final) == ("local", "demo:f16", 0, True)
    assert entry.usage.completion_tokens == 8
    assert entry.usage.prompt_tokens > 0


async def test_an_engine_that_hangs_before_its_first_word_is_replaced_and_a_cloud_answers(
    there: World, fleet: Fleet
) -> None:
    member = fleet.get("demo")
    before = member.engine.status().pid
    freeze(member)
    told = await there.ask(there.job([at_engine(member), CLOUD]))
    assert (told.ending, told.candidate, told.attempts) == ("complete", CLOUD.name, 2)
    assert (member.queue.running, member.queue.waiting) == (0, 0)
    await until(lambda: member.ready and member.engine.status().pid != before)
    again = await there.ask(there.job([at_engine(member)], QUESTION))
    assert (again.ending, again.candidate) == ("complete", "demo:f16")
    await there.balance(told, again)


async def test_an_engine_that_hangs_in_mid_stream_is_told_and_nobody_takes_over(
    there: World, fleet: Fleet, clouds: dict[Kind, FakeCloud]
) -> None:
    member = fleet.get("demo")
    before = member.engine.status().pid
    long = Asking("Tell me a long story", max_tokens=900, logit_bias=ENDLESS)
    job = there.job([at_engine(member), CLOUD], asking=long)
    told = Told()
    asking = asyncio.create_task(there.ask(job, told=told))
    await told.began.wait()
    freeze(member)
    await asking
    assert isinstance(told.error, EngineError)
    assert "it computed nothing for 2.0 s" in told.error.why
    assert clouds["openai"].requests() == []
    await until(lambda: member.ready and member.engine.status().pid != before)
    await there.balance(told)
    (entry,) = there.entries
    assert (entry.outcome, entry.route) == ("failed", "local")
    assert entry.usage.completion_tokens > 0, "what was generated is known all the same"


async def test_who_was_about_to_answer_stands_in_the_ledger(there: World, fleet: Fleet) -> None:
    member = fleet.get("demo")
    freeze(member)
    gone = asyncio.create_task(there.ask(there.job([at_engine(member)])))
    await until(lambda: member.queue.running == 1)
    gone.cancel()
    told = [await gone, await there.ask(there.job([at_engine(member)]))]
    assert [one.ending for one in told] == ["left", "error"]
    told_of = [(one.model, one.outcome, one.usage.total_tokens) for one in there.entries]
    assert told_of == [("demo:f16", "left", 0), ("demo:f16", "failed", 0)]
    await there.balance(*told)


async def test_an_answer_without_a_limit_is_bounded_to_the_tokens_that_are_left(
    there: World, fleet: Fleet
) -> None:
    engine = replace(at_engine(fleet.get("demo")), max_output=10_000)
    limits = Limits(tokens_day=3000)
    account = Account((Party("key", "k", limits), Party("all", "", Limits())))
    told = await there.ask(there.job([engine], QUESTION, account=account))
    assert told.ending == "complete"
    assert told.bound is not None
    assert 1024 <= told.bound < 1500
    asked = Asking(QUESTION, max_tokens=3000)
    refused = await there.ask(there.job([engine], asking=asked, account=account))
    assert isinstance(refused.error, BudgetExceeded), "what a client asks for is never changed"
    told_of = [(one.model, one.outcome) for one in there.entries]
    assert told_of == [("demo:f16", "answered"), ("", "failed")], "no engine has failed"
    await there.balance(told, refused)


async def test_an_engine_is_tried_by_one_request_once_its_pause_is_over(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], fleet: Fleet
) -> None:
    """And each time anew: what is left alone once is not so for good, nor never again."""
    now = 0.0
    member = fleet.get("demo")
    engine = at_engine(member)
    async with made_world(tmp_path, clouds, clock=lambda: now) as there:
        breakers, everything = there.dispatch.means.breakers, []
        for _ in range(2):
            assert not breakers.down(engine.name)
            member.queue.close(EngineError("it is broken"))
            for _ in range(breakers.rule.failures):
                everything.append(await there.ask(there.job([engine], QUESTION)))
            member.queue.open()
            assert "left alone" in breakers.down(engine.name)
            now += breakers.rule.pause
            with frozen(member):
                gone = asyncio.create_task(there.ask(there.job([engine], QUESTION)))
                await until(lambda: member.queue.running == 1)
                assert "just being tried again" in breakers.down(engine.name)
                gone.cancel()
                everything.append(await gone)
                assert not breakers.down(engine.name), "the next one tries it"
                jobs = [there.job([engine], QUESTION) for _ in range(2)]
                two = [asyncio.create_task(there.ask(job)) for job in jobs]
                await until(lambda: member.queue.running == 2)
                assert "just being tried again" in breakers.down(engine.name)
            everything += (answered := await asyncio.gather(*two))
            assert [one.ending for one in answered] == ["complete"] * 2
            assert breakers[engine.name].state == "closed"
        await there.balance(*everything)


async def test_an_engine_that_shows_no_reading_has_the_time_that_it_should_take(
    fleet: Fleet,
) -> None:
    """It stands still altogether, as one that shows nothing of its reading seems to."""
    member = fleet.get("demo")
    freeze(member)
    seconds = 1000.0
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 4}
    path, patience = "/v1/chat/completions", Patience(60, 60, first_token=0.2, token=0.2)
    attempt = Attempt(
        member, path, body, client="k", slots=1, patience=patience, reading=lambda: seconds
    )
    asking = asyncio.create_task(attempt.__aenter__())
    done, _ = await asyncio.wait([asking], timeout=3)
    assert not done
    seconds = 0.0
    with pytest.raises(EngineError, match="hangs"):
        await asking


async def test_a_cloud_begins_beside_an_engine_that_is_slow(there: World, fleet: Fleet) -> None:
    member = fleet.get("demo")
    freeze(member)
    told = await there.ask(there.job([at_engine(member), CLOUD], hedge_after=0.1))
    assert (told.ending, told.candidate, told.attempts) == ("complete", CLOUD.name, 2)
    assert member.queue.running == 0, "the engine's slot is free again"
    await there.balance(told)


async def test_a_cloud_answers_while_the_local_model_is_loaded(there: World, fleet: Fleet) -> None:
    cold = fleet.get("cold")
    assert cold.engine.state is not State.READY
    told = await there.ask(there.job([CLOUD], load=at_engine(cold)))
    assert (told.ending, told.candidate) == ("complete", CLOUD.name)
    await until(lambda: cold.ready)
    back = await there.ask(there.job([at_engine(cold)], QUESTION))
    assert (back.ending, back.candidate) == ("complete", "cold:f16")
    await there.balance(told, back)


async def test_nothing_is_loaded_for_a_shadow_copy(there: World, fleet: Fleet) -> None:
    cold = fleet.get("cold")
    job = there.job([CLOUD], shadow=at_engine(cold))
    told = await there.ask(job)
    await there.balance(told)
    assert cold.usage.requests == 0


async def test_a_request_that_no_target_takes_ends_with_the_most_hopeful_error(
    there: World, fleet: Fleet, clouds: dict[Kind, FakeCloud]
) -> None:
    clouds["openai"].faults("quota")
    member = fleet.get("demo")
    member.queue.close(EngineError("it is being mended", retry_after=5))
    told = await there.ask(there.job([at_engine(member), CLOUD]))
    assert told.error is not None
    assert (told.error.what, told.error.retry_after) == ("it is being mended", 5)
    await there.balance(told)
    member.queue.open()


async def test_an_engine_tells_of_its_progress_in_the_midst_of_a_long_prompt(
    program: Path, tmp_path: Path
) -> None:
    """That is what a long prefill is known by to be in good health."""
    one = berth("demo", 3, context=4096, slots=1)
    async with Harbour(program, tmp_path).fleet(one) as fleet:
        await fleet.load("demo")
        engine = fleet.get("demo").engine
        body = {"prompt": "word and more of it, again and again; " * 330, "max_tokens": 1}

        async def ask() -> None:
            async with engine.session.post("/v1/completions", json=body) as response:
                assert response.status == 200
                await response.read()

        asking = asyncio.create_task(ask())
        steps = set()
        while not asking.done():
            work = await engine.work()
            assert work is not None
            if not asking.done():
                steps.add(work.steps)
        await asking
        assert len(steps) > 1, "it went on before it had an answer"


# ---- What may not leave ----


def walked(program: Path, folder: Path, cloud: FakeCloud, kind: str) -> dict[str, Any]:
    script = "tests.integration.router.local_only_program"
    done = subprocess.run(
        [sys.executable, "-m", script, str(folder), str(program), f"{cloud.url}/v1", kind],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_request_that_may_not_leave_opens_no_connection_on_any_way(
    program: Path, tmp_path: Path, clouds: dict[Kind, FakeCloud]
) -> None:
    cloud = clouds["openai"]
    found = walked(program, tmp_path, cloud, "private")
    assert found["seen"] == []
    assert cloud.requests() == []
    assert found["ended"] == {
        "plain": ["complete", "warm:f16"],
        "decided wrongly": ["error", ""],
        "shadow": ["complete", "warm:f16"],
        "bridge": ["complete", "warm:f16"],
        "hedge": ["error", ""],
        "fallback": ["error", ""],
        "vectors": ["complete", "warm:f16"],
        "vectors decided wrongly": ["error", ""],
        "vectors fallback": ["error", ""],
    }


def test_the_spy_sees_those_that_may_leave(
    program: Path, tmp_path: Path, clouds: dict[Kind, FakeCloud]
) -> None:
    cloud = clouds["openai"]
    found = walked(program, tmp_path, cloud, "open")
    there = f"socket.connect {urlsplit(cloud.url).netloc}"
    assert there in found["seen"]
    assert set(found["seen"]) <= {there}
    assert len(cloud.requests()) >= 4
    assert found["ended"]["fallback"] == ["complete", "cloud/large"]
    assert found["ended"]["hedge"] == ["complete", "cloud/large"]
    assert found["ended"]["bridge"] == ["complete", "cloud/large"]
    assert found["ended"]["vectors decided wrongly"] == ["complete", "cloud/vectors"]
    assert found["ended"]["vectors fallback"] == ["complete", "cloud/vectors"]
