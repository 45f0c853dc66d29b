"""What attempts at clouds are charged with where the cloud does not say, or says what cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from server.catalogue.cloud import Kind
from server.routing import tally
from server.routing.candidate import Candidate
from tests.fakes.cloud_running import FakeCloud
from tests.fakes.raw_http import CLOSE, STREAM, Step, raw_server, reply
from tests.integration.router.vectors import TEXTS, embed, embedding_job
from tests.integration.router.world import ASK, Asking, World, at_cloud, cloud_model, world
from tests.providers.clouds import ALL

pytestmark = pytest.mark.integration

Clouds = dict[Kind, FakeCloud]
READ, WRITTEN = 1000, 4000
"""Nano-USD a token; see world.PRICE."""
THINKER = cloud_model("openai", efforts=("none", "low"))
ABSURD = 2**64 - 1


# ---- Thoughts that nobody was shown ----


async def left(there: World, candidate: Candidate, asked: Awaitable[object], **fields: Any) -> int:
    """What the answer cost beyond its prompt to one who leaves a third of a second after `asked`,
    with no word of it shown yet."""
    asking = asyncio.create_task(there.ask(there.job([candidate], asking=Asking(ASK, **fields))))
    await asked
    await asyncio.sleep(0.3)
    asking.cancel()
    told = await asking
    assert (told.ending, told.text) == ("left", "")
    await there.balance(told)
    (entry,) = (entry for entry in there.entries if entry.cost)
    assert entry.cost <= entry.usage.prompt_tokens * READ + THINKER.max_output * WRITTEN
    return entry.cost - entry.usage.prompt_tokens * READ


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter silence counts as well."""
    monkeypatch.setattr(tally, "_PAUSE", 0.1)


async def asked_slowly(cloud: FakeCloud, place: str) -> None:
    """Return once the cloud has a request, which it lets wait at `place`."""
    cloud.faults(f"slow seconds=100 at={place}")
    await asyncio.to_thread(cloud.wait, lambda seen: len(seen) == 1)


PLACES = ("before-headers", "before-first-token")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("place", PLACES)
async def test_who_leaves_while_it_thinks_pays_for_its_thoughts(
    tmp_path: Path, clouds: Clouds, place: str
) -> None:
    asked = asked_slowly(clouds["openai"], place)
    async with world(tmp_path, clouds) as there:
        assert await left(there, at_cloud(THINKER), asked) >= 0.3 * 300 * WRITTEN


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("features", "fields"),
    [(ALL - {"thinking"}, {}), (ALL, {"reasoning_effort": "none"})],
    ids=["it cannot", "it is told not to"],
)
async def test_who_leaves_one_that_does_not_think_pays_for_the_prompt(
    tmp_path: Path,
    clouds: Clouds,
    place: str,
    features: frozenset[str],
    fields: dict[str, Any],
) -> None:
    model = cloud_model("openai", efforts=THINKER.efforts, features=features)
    asked = asked_slowly(clouds["openai"], place)
    async with world(tmp_path, clouds) as there:
        assert await left(there, at_cloud(model), asked, **fields) == 0


@pytest.mark.usefixtures("quick")
async def test_the_thoughts_before_an_answer_that_comes_whole_count_from_the_beginning(
    tmp_path: Path,
) -> None:
    """Also those before its head, with which nothing of it has come."""
    begun: list[Step] = [0.7, reply(b"x" * 1000)[:-990], 100.0]
    async with raw_server(begun) as server, world(tmp_path, urls={"raw": server.url}) as there:
        model = at_cloud(cloud_model("raw"))
        assert await left(there, model, asyncio.sleep(0.8)) >= 1.0 * 300 * WRITTEN


# ---- What cannot be ----

CHAT: dict[str, Any] = {
    "id": "a",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}
    ],
}
MESSAGE: dict[str, Any] = {
    "id": "a",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "No."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
}
CANDIDATES: dict[str, Any] = {
    "responseId": "a",
    "modelVersion": "m",
    "candidates": [
        {
            "index": 0,
            "content": {"role": "model", "parts": [{"text": "No."}]},
            "finishReason": "STOP",
        }
    ],
}


def of_chat(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def of_message(prompt: int, completion: int) -> dict[str, Any]:
    return {"usage": {"input_tokens": prompt, "output_tokens": completion}}


def of_candidates(prompt: int, completion: int) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": completion}
    return {"usageMetadata": counts}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        pytest.param("openai", CHAT | of_chat(5, ABSURD), id="openai-written"),
        pytest.param("openai", CHAT | of_chat(ABSURD, 5), id="openai-read"),
        pytest.param("openai", CHAT | of_chat(5, -5), id="openai-negative"),
        pytest.param("anthropic", MESSAGE | of_message(5, ABSURD), id="anthropic-written"),
        pytest.param("anthropic", MESSAGE | of_message(5, -(10**6)), id="anthropic-negative"),
        pytest.param("anthropic", MESSAGE | of_message(-(10**6), 5), id="anthropic-refund"),
        pytest.param("gemini", CANDIDATES | of_candidates(5, ABSURD), id="gemini-written"),
        pytest.param("gemini", CANDIDATES | of_candidates(5, -(10**6)), id="gemini-negative"),
        pytest.param("gemini", CANDIDATES | of_candidates(-(10**6), 5), id="gemini-refund"),
    ],
)
async def test_a_usage_that_cannot_be_closes_no_budget_and_is_no_refund(
    tmp_path: Path, kind: Kind, answer: dict[str, Any]
) -> None:
    model = cloud_model(kind)
    async with raw_server([reply(orjson.dumps(answer))]) as server:
        playing = {kind: cast(FakeCloud, server)}  # it has its URL, and nothing else is asked of it
        async with world(tmp_path, playing) as there:
            told = await there.ask(there.job([at_cloud(model)]))
            await there.balance(told)
    assert (told.ending, told.text) == ("complete", "No.")
    (entry,) = there.entries
    assert 0 < entry.usage.prompt_tokens < 1000
    assert entry.usage.prompt_tokens * READ <= told.cost < 1000 * READ + 1000 * WRITTEN


@pytest.mark.parametrize("prompt", [ABSURD, -5])
async def test_embeddings_of_more_than_can_be_are_charged_as_estimated(
    tmp_path: Path, prompt: int
) -> None:
    data = [{"object": "embedding", "index": at, "embedding": [1.0]} for at in range(len(TEXTS))]
    answer = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": prompt}}
    maker = at_cloud(cloud_model("raw", embeddings=True, max_output=1))
    async with (
        raw_server([reply(orjson.dumps(answer))]) as server,
        world(tmp_path, urls={"raw": server.url}) as there,
    ):
        job = embedding_job(there, [maker])
        told = await embed(there, job)
        assert told.ending == "complete"
        assert told.cost == job.needs.prompt_tokens * READ
        await there.balance(told)


# ---- How long it took ----


async def test_a_request_is_timed_from_its_beginning_and_an_attempt_from_its_own(
    tmp_path: Path, clouds: Clouds
) -> None:
    late: list[Step] = [0.5, reply(b"{}", status="500 Oops")]
    breaking: list[Step] = [STREAM, 0.1, CLOSE]
    async with raw_server(late) as first, raw_server(breaking) as second:
        urls = {"late": first.url, "breaking": second.url}
        attempts = [at_cloud(cloud_model(name)) for name in (*urls, "openai")]
        async with world(tmp_path, clouds, urls=urls) as there:
            told = await there.ask(there.job(attempts))
            assert (told.ending, told.attempts) == ("complete", 3)
            await there.balance(told)
    broke, final = there.entries
    assert (broke.final, final.final) == (False, True)
    assert broke.seconds < 0.5, "it was asked once the first had failed"
    assert final.seconds >= 0.6
    assert (broke.waited, 0.6 <= final.waited <= final.seconds) == (0.0, True)
    assert final.ttft is not None
    assert final.ttft < 0.5, "of the one that answered"
