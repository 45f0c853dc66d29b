"""Every fault, at every kind of cloud, at every place of an answer: alone, and with a way out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue.cloud import Kind
from server.errors import ProviderBusy, ProviderError, ProviderRefused
from tests.fakes.cloud_running import FakeCloud
from tests.fakes.faults import BREAKING, PLACES
from tests.fakes.raw_http import CLOSE, END, STREAM, Step, chunk, raw_server
from tests.integration.router.conftest import PROGRAMS
from tests.integration.router.world import ASK, ROUTER, TEXT, Told, at_cloud, cloud_model, world

pytestmark = pytest.mark.integration

KINDS = tuple(PROGRAMS)
UNSEEN = ("before-headers", "before-first-token")
"""Places at which a client has heard nothing."""
STALLING = ("slow seconds=100", "drip seconds=5")


@pytest.mark.parametrize("fault", BREAKING)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_fault_is_told_and_charged_once(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], kind: Kind, fault: str
) -> None:
    cloud = clouds[kind]
    declined = fault.split()[0].isdigit() or fault == "quota"
    everything = []
    async with world(tmp_path, clouds) as there:
        for place in PLACES:
            cloud.mend()
            cloud.faults(f"{fault} at={place}")
            # Each at a model of its own: what rests after one fault is not asked for the next.
            told = await there.ask(there.job([at_cloud(cloud_model(kind, place))]))
            assert told.ending == "error", place
            assert isinstance(told.error, ProviderError), place
            assert TEXT.startswith(told.text), place
            assert not told.text or place not in UNSEEN
            # Who is declined pays nothing; what was read and said has to be paid for.
            assert (told.cost == 0) == (declined and place == "before-headers"), place
            everything.append(told)
        await there.balance(*everything)


@pytest.mark.parametrize("fault", BREAKING)
@pytest.mark.parametrize("kind", KINDS)
async def test_another_target_takes_over_only_while_nothing_was_heard(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], backup: FakeCloud, kind: Kind, fault: str
) -> None:
    cloud = clouds[kind]
    second = at_cloud(cloud_model("backup"))
    everything = []
    async with world(tmp_path, clouds, urls={"backup": f"{backup.url}/v1"}) as there:
        for place in PLACES:
            cloud.mend()
            cloud.faults(f"{fault} at={place}")
            first = at_cloud(cloud_model(kind, place))
            told = await there.ask(there.job([first, second]))
            if told.candidate == first.name:
                assert place not in UNSEEN
                assert (told.ending, told.attempts) == ("error", 1), place
                assert TEXT.startswith(told.text), place
            else:  # what comes in one packet with its end was not heard, either
                assert (told.ending, told.text) == ("complete", TEXT), place
                assert (told.candidate, told.attempts) == (second.name, 2), place
            everything.append(told)
        await there.balance(*everything)


WORD = b'data: {"id": "a", "choices": [{"index": 0, "delta": {"content": "0 1"}}]}\n\n'
ENDS: dict[str, Step] = {
    "reset": CLOSE,
    "clean": END,
    "half an event": chunk(b"data: [DONE"),
    "bad json": chunk(b"data: {\n\n"),
    "an error": chunk(b'data: {"error": {"message": "no"}}\n\n'),
    "no chunk": b"data: [DONE]\n\n",  # of which aiohttp does not tell: the time-out does
}


@pytest.mark.parametrize("end", ENDS)
async def test_what_was_heard_is_never_said_again_by_another(
    tmp_path: Path, backup: FakeCloud, end: str
) -> None:
    """As above, but the server breaks when the client has heard a word, and not before."""
    router = replace(ROUTER, token_timeout=2.0)
    heard = asyncio.Event()
    async with raw_server([STREAM, chunk(WORD), heard, ENDS[end]]) as server:
        urls = {"raw": server.url, "backup": f"{backup.url}/v1"}
        async with world(tmp_path, urls=urls, router=router) as there:
            attempts = [at_cloud(cloud_model("raw")), at_cloud(cloud_model("backup"))]
            told = await there.ask(there.job(attempts), told=Told(began=heard))
            assert (told.ending, told.candidate) == ("error", "raw/large")
            assert told.text == "0 1"
            await there.balance(told)


@pytest.mark.parametrize("fault", STALLING)
async def test_what_makes_no_progress_is_given_up(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], fault: str
) -> None:
    """All kinds and places at once, since each takes as long as the time-out."""
    router = replace(ROUTER, first_token_timeout=2.0, token_timeout=2.0)
    async with world(tmp_path, clouds, router=router) as there:
        cells = [(kind, place) for kind in KINDS for place in PLACES]
        jobs = [
            there.job([at_cloud(cloud_model(kind))], f"{ASK}\n#fake fault {fault} at={place}")
            for kind, place in cells
        ]
        everything = await asyncio.gather(*(there.ask(job) for job in jobs))
        for (kind, place), told in zip(cells, everything, strict=True):
            assert told.ending == "error", (kind, place)
            assert not told.text or place not in UNSEEN, (kind, place)
            assert "it made no progress for 2.0 s" in str(told.error)
            assert told.cost > 0
        await there.balance(*everything)
    ends = clouds["openai"].wait(lambda seen: all(one["end"] != "open" for one in seen))
    assert {one["end"] for one in ends} == {"left"}


async def test_a_slow_answer_that_makes_progress_is_whole(
    tmp_path: Path, clouds: dict[Kind, FakeCloud]
) -> None:
    """It takes longer than any time-out, which is one between two tokens. All kinds at once."""
    router = replace(ROUTER, first_token_timeout=5.0, token_timeout=5.0)
    async with world(tmp_path, clouds, router=router) as there:
        jobs = [
            there.job([at_cloud(cloud_model(kind))], f"{ASK}\n#fake pace 0.6") for kind in KINDS
        ]
        everything = await asyncio.gather(*(there.ask(job) for job in jobs))
        for told in everything:
            assert (told.ending, told.text) == ("complete", TEXT)
        await there.balance(*everything)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "error", "retry_after"),
    [
        ("429 retry_after=7", ProviderBusy, 7),
        ("quota", ProviderRefused, None),
        ("401", ProviderRefused, None),
        ("529", ProviderBusy, None),
        ("500", ProviderError, None),
    ],
)
async def test_what_is_told_of_a_failure(
    tmp_path: Path,
    clouds: dict[Kind, FakeCloud],
    kind: Kind,
    fault: str,
    error: type[ProviderError],
    retry_after: int | None,
) -> None:
    clouds[kind].faults(fault)
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([at_cloud(cloud_model(kind))]))
    assert isinstance(told.error, error)
    if retry_after is not None:
        assert told.error.retry_after == retry_after


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_answer_is_charged_with_what_it_used(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], kind: Kind
) -> None:
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([at_cloud(cloud_model(kind))]))
        assert (told.ending, told.text) == ("complete", TEXT)
        await there.balance(told)
    (entry,) = there.entries
    assert (entry.model, entry.provider, entry.outcome) == (f"{kind}/large", kind, "answered")
    assert entry.usage.completion_tokens == 12
    usage = entry.usage
    assert told.cost == entry.cost == usage.prompt_tokens * 1000 + usage.completion_tokens * 4000
    assert entry.ttft is not None
