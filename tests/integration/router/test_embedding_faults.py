"""Whatever goes wrong with embeddings: one answer or one error, charged once."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import orjson
import pytest

from server import settings
from server.catalogue.cloud import Kind
from server.engines.binary import find_llama_server
from server.errors import ContextExceeded, NoRoute, ProviderError
from tests.fakes.cloud_running import FakeCloud
from tests.fakes.faults import BREAKING, PLACES
from tests.integration.fleets import Harbour, berth, frozen
from tests.integration.router.vectors import TEXTS, embed, embedding_job, vectors
from tests.integration.router.world import at_cloud, at_engine, cloud_model, world
from tests.waiting import until

pytestmark = pytest.mark.integration

KINDS: tuple[Kind, ...] = ("openai", "openai-responses", "gemini")


@pytest.fixture(scope="module")
def program() -> Path:
    return find_llama_server(settings.load(os.environ)).path


@pytest.mark.parametrize("fault", BREAKING)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_is_told_and_charged_once(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], kind: Kind, fault: str
) -> None:
    cloud = clouds[kind]
    everything = []
    async with world(tmp_path, clouds) as there:
        for place in PLACES:
            cloud.mend()
            cloud.faults(f"{fault} at={place}")
            model = cloud_model(kind, place, embeddings=True)
            told = await embed(there, embedding_job(there, [at_cloud(model)]))
            if told.ending == "complete":  # the whole of it had come
                assert len(vectors(told)) == len(TEXTS)
            else:
                assert isinstance(told.error, ProviderError), place
            everything.append(told)
        await there.balance(*everything)
    assert any(told.error is not None for told in everything)


@pytest.mark.parametrize("fault", BREAKING)
async def test_another_provider_of_the_same_model_takes_over(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], backup: FakeCloud, fault: str
) -> None:
    cloud = clouds["openai"]
    cloud.mend()
    cloud.faults(fault)
    first = at_cloud(cloud_model("openai", embeddings=True))
    second = at_cloud(cloud_model("backup", embeddings=True))
    async with world(tmp_path, clouds, urls={"backup": f"{backup.url}/v1"}) as there:
        told = await embed(there, embedding_job(there, [first, second]))
        assert (told.ending, told.candidate, told.attempts) == ("complete", second.name, 2)
        await there.balance(told)
    usage = [entry.usage for entry in there.entries if entry.final]
    assert [one.prompt_tokens for one in usage] == [6]


async def test_what_a_provider_finds_too_long_is_the_inputs_fault(
    tmp_path: Path, clouds: dict[Kind, FakeCloud]
) -> None:
    cloud = clouds["openai"]
    cloud.mend()
    cloud.faults("context")
    async with world(tmp_path, clouds) as there:
        model = at_cloud(cloud_model("openai", embeddings=True))
        told = await embed(there, embedding_job(there, [model]))
        assert isinstance(told.error, ContextExceeded)
        assert told.error.param == "input"
        await there.balance(told)


@pytest.mark.parametrize(("name", "tokens"), [("gemini-embedding-2", 6), ("older", 12)])
async def test_gemini_is_paid_for_what_it_tells_or_what_was_estimated(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], name: str, tokens: int
) -> None:
    async with world(tmp_path, clouds) as there:
        model = at_cloud(cloud_model("gemini", name, embeddings=True))
        told = await embed(there, embedding_job(there, [model]))
        assert [len(one) for one in vectors(told)] == [8, 8, 8]
        assert orjson.loads(told.text)["usage"]["prompt_tokens"] == tokens
        assert told.cost == tokens * 1000
        await there.balance(told)


async def test_who_speaks_no_embeddings_is_never_asked(
    tmp_path: Path, clouds: dict[Kind, FakeCloud]
) -> None:
    async with world(tmp_path, clouds) as there:
        before = len(clouds["anthropic"].requests())
        model = at_cloud(cloud_model("anthropic", embeddings=True))
        told = await embed(there, embedding_job(there, [model]))
        assert isinstance(told.error, NoRoute)
        assert len(clouds["anthropic"].requests()) == before
        await there.balance(told)


FOUR = ["one", "two", "three", "four"]


async def test_who_waits_for_a_model_takes_what_slots_it_comes_with(
    program: Path, tmp_path: Path
) -> None:
    """Memory may be short, so that there are fewer than were planned."""
    planned = berth("demo", 3, embeddings=True, slots=4)
    async with Harbour(program, tmp_path).fleet(planned) as fleet, world(tmp_path) as there:
        member = fleet.get("demo")
        asking = asyncio.create_task(embed(there, embedding_job(there, [at_engine(member)], FOUR)))
        await until(lambda: member.queue.waiting == 1)
        member.queue.resize(2)
        assert member.queue.waiting == 1, "it keeps its place"
        told = await asking
        assert len(vectors(told)) == 4
        await there.balance(told)


async def test_an_engine_that_comes_back_with_fewer_slots_gets_fewer_inputs_at_a_time(
    program: Path, tmp_path: Path
) -> None:
    planned = berth("demo", 3, embeddings=True, slots=4)
    async with Harbour(program, tmp_path).fleet(planned) as fleet, world(tmp_path) as there:
        await fleet.load("demo")
        member = fleet.get("demo")
        pid = member.engine.status().pid
        assert pid is not None
        with frozen(member):
            job = embedding_job(there, [at_engine(member)], FOUR)
            asking = asyncio.create_task(embed(there, job))
            await until(lambda: member.queue.running == 4)
            member.queue.resize(2)
            os.kill(pid, signal.SIGKILL)
            told = await asking
        assert len(vectors(told)) == 4
        await there.balance(told)


async def test_a_batch_leaves_slots_to_others_and_ends_with_its_client(
    program: Path, tmp_path: Path
) -> None:
    many = [f"text number {number}" for number in range(2000)]
    async with Harbour(program, tmp_path).fleet(berth("demo", 3, embeddings=True)) as fleet:
        await fleet.load("demo")
        member = fleet.get("demo")
        async with world(tmp_path) as there:
            asking = asyncio.create_task(
                embed(there, embedding_job(there, [at_engine(member)], many))
            )
            await until(lambda: member.queue.running > 0)
            other = await embed(there, embedding_job(there, [at_engine(member)], ["short"]))
            assert other.ending == "complete"
            assert not asking.done(), "it did not wait for the whole batch"
            asking.cancel()
            left = await asking
            assert left.ending == "left"
            assert (member.queue.running, member.queue.waiting) == (0, 0)
            again = await embed(there, embedding_job(there, [at_engine(member)], ["short"]))
            assert vectors(again)[0] == pytest.approx(vectors(other)[0], abs=1e-3)
            await there.balance(left, other, again)
