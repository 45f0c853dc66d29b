"""Retries, breakers, hedges, shadows and departures, with clouds that are played by processes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from server import catalogue, settings
from server.catalogue.cloud import CloudModel, Kind
from server.catalogue.router import Limits
from server.errors import (
    BudgetExceeded,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    RateLimited,
    RequestError,
)
from server.ledger.account import Account, Party
from server.routing import cloud_attempt
from server.routing.candidates import Candidates
from tests.fakes.cloud_running import FakeCloud
from tests.fakes.raw_http import STREAM, Step, chunk, raw_server, reply
from tests.integration.router.conftest import PROGRAMS
from tests.integration.router.world import (
    ASK,
    ROUTER,
    TEXT,
    Asking,
    Told,
    at_cloud,
    cloud_model,
    world,
)

pytestmark = pytest.mark.integration

KINDS = tuple(PROGRAMS)
Clouds = dict[Kind, FakeCloud]
RETRYING = replace(ROUTER, retries=2)
LARGE = at_cloud(cloud_model("openai"))
OTHER = at_cloud(cloud_model("anthropic"))


# ---- Retries ----


@pytest.mark.parametrize("fault", ["500", "cut", "503 at=before-first-token", "half-chunk"])
async def test_what_passes_is_asked_again(tmp_path: Path, clouds: Clouds, fault: str) -> None:
    clouds["openai"].faults(f"{fault} times=2")
    async with world(tmp_path, clouds, router=RETRYING) as there:
        told = await there.ask(there.job([LARGE]))
        assert (told.ending, told.text, told.attempts) == ("complete", TEXT, 3)
        await there.balance(told)
    final = [entry for entry in there.entries if entry.final]
    assert [entry.attempts for entry in final] == [3]


async def test_retries_end(tmp_path: Path, clouds: Clouds) -> None:
    clouds["openai"].faults("500 times=9")
    async with world(tmp_path, clouds, router=RETRYING) as there:
        told = await there.ask(there.job([LARGE]))
        assert (told.ending, told.attempts) == ("error", 3)
        await there.balance(told)
    assert len(clouds["openai"].requests()) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_spend_limit_is_never_asked_again(
    tmp_path: Path, clouds: Clouds, kind: Kind
) -> None:
    clouds[kind].faults("quota times=9")
    async with world(tmp_path, clouds, router=RETRYING) as there:
        told = await there.ask(there.job([at_cloud(cloud_model(kind))]))
        assert isinstance(told.error, ProviderRefused)
        assert told.attempts == 1
        await there.balance(told)
    assert len(clouds[kind].requests()) == 1


async def test_retry_after_is_waited_for(tmp_path: Path, clouds: Clouds) -> None:
    clouds["openai"].faults("429 retry_after=1")
    async with world(tmp_path, clouds, router=RETRYING) as there:
        began = time.monotonic()
        told = await there.ask(there.job([LARGE]))
        assert (told.ending, told.attempts) == ("complete", 2)
        assert time.monotonic() - began >= 1


async def test_a_long_retry_after_is_told_and_not_waited_for(
    tmp_path: Path, clouds: Clouds
) -> None:
    clouds["openai"].faults("429 retry_after=60")
    async with world(tmp_path, clouds, router=RETRYING) as there:
        told = await there.ask(there.job([LARGE]))
        assert told.attempts == 1
        assert isinstance(told.error, ProviderBusy)
        assert told.error.retry_after == 60
        again = await there.ask(there.job([LARGE]))
        assert isinstance(again.error, ProviderBusy)
        assert "it has had enough of our requests" in again.error.why
        await there.balance(told, again)
    assert len(clouds["openai"].requests()) == 1


async def test_when_everything_fails_retries_do_not_multiply_the_load(
    tmp_path: Path, clouds: Clouds
) -> None:
    router = replace(RETRYING, retry_budget=0.1, breaker_failures=1000)
    clouds["openai"].faults("500 times=1000")
    async with world(tmp_path, clouds, router=router) as there:
        told = [await there.ask(there.job([LARGE])) for _ in range(40)]
        assert {one.ending for one in told} == {"error"}
        await there.balance(*told)
    assert 40 + 10 <= len(clouds["openai"].requests()) <= 40 + 10 + 4


# ---- Breakers ----


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_provider_goes_down_in_mid_traffic_and_comes_back(
    tmp_path: Path, clouds: Clouds, backup: FakeCloud
) -> None:
    clock = Clock()
    second = at_cloud(cloud_model("backup"))
    urls = {"backup": f"{backup.url}/v1"}
    async with world(tmp_path, clouds, urls=urls, clock=clock) as there:
        before = [await there.ask(there.job([LARGE, second])) for _ in range(3)]
        running = there.job([LARGE, second], f"{ASK}\n#fake pace 0.05")
        told = Told()
        asking = asyncio.create_task(there.ask(running, told=told))
        await told.began.wait()
        clouds["openai"].listen(False)
        clouds["openai"].faults("cut times=100")  # on connections that are open still
        during = [await there.ask(there.job([LARGE, second])) for _ in range(12)]
        assert (await asking).ending == "complete", "what was under way goes on"
        assert [one.ending for one in before + during] == ["complete"] * 15
        assert [one.candidate for one in before] == [LARGE.name] * 3
        assert there.dispatch.means.breakers.down(LARGE.name)
        seen = len(clouds["openai"].requests())
        clouds["openai"].mend()
        still = await there.ask(there.job([LARGE, second]))
        assert (still.candidate, len(clouds["openai"].requests())) == (second.name, seen)
        clock.now += 30
        after = [await there.ask(there.job([LARGE, second])) for _ in range(2)]
        assert [one.candidate for one in after] == [LARGE.name] * 2
        await there.balance(*before, told, *during, still, *after)


async def test_one_request_at_a_time_tries_a_provider_that_was_down(
    tmp_path: Path, clouds: Clouds, backup: FakeCloud
) -> None:
    clock = Clock()
    router = replace(ROUTER, breaker_failures=1)
    second = at_cloud(cloud_model("backup"))
    urls = {"backup": f"{backup.url}/v1"}
    async with world(tmp_path, clouds, urls=urls, router=router, clock=clock) as there:
        clouds["openai"].faults("500", "500")
        failed = await there.ask(there.job([LARGE, second]))
        clock.now += 30
        clouds["openai"].requests(clear=True)
        many = await asyncio.gather(*(there.ask(there.job([LARGE, second])) for _ in range(9)))
        assert {one.ending for one in many} == {"complete"}
        assert len(clouds["openai"].requests()) == 1
        await there.balance(failed, *many)


# ---- Hedges ----


async def test_a_slow_first_is_overtaken_cancelled_and_charged(
    tmp_path: Path, clouds: Clouds
) -> None:
    clouds["openai"].faults("slow seconds=100")
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([LARGE, OTHER], hedge_after=0.05))
        assert (told.ending, told.candidate, told.attempts) == ("complete", OTHER.name, 2)
        await there.balance(told)
    entries = {entry.model: entry for entry in there.entries}
    assert not entries[LARGE.name].final
    assert entries[LARGE.name].outcome == "left"
    assert entries[LARGE.name].cost > 0, "it may have read the prompt"
    assert entries[OTHER.name].final
    await asyncio.to_thread(
        clouds["openai"].wait, lambda seen: [one["end"] for one in seen] == ["left"]
    )


async def test_a_quick_first_is_not_hedged(tmp_path: Path, clouds: Clouds) -> None:
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([LARGE, OTHER], hedge_after=60.0))
        assert (told.candidate, told.attempts) == (LARGE.name, 1)
        await there.balance(told)
    assert clouds["anthropic"].requests() == []


async def test_hedges_come_out_of_the_budget_of_retries(tmp_path: Path, clouds: Clouds) -> None:
    router = replace(ROUTER, retry_budget=0.0)
    text = f"{ASK}\n#fake fault slow seconds=0.5"
    async with world(tmp_path, clouds, router=router) as there:
        told = await there.ask(there.job([LARGE, OTHER], text, hedge_after=0.01))
        assert (told.candidate, told.attempts) == (LARGE.name, 1)
    assert clouds["anthropic"].requests() == []


async def test_what_no_target_can_mend_is_not_sent_on(tmp_path: Path, clouds: Clouds) -> None:
    clouds["openai"].faults("400")
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([LARGE, OTHER], hedge_after=60.0))
        assert (type(told.error), told.attempts) == (RequestError, 1)
        await there.balance(told)
    assert clouds["anthropic"].requests() == []


@pytest.mark.parametrize("hedge_after", [None, 0.0, 60.0])
async def test_of_several_errors_the_most_hopeful_is_told(
    tmp_path: Path, clouds: Clouds, hedge_after: float | None
) -> None:
    clouds["openai"].faults("429 retry_after=60")
    asking = Asking(ASK, logprobs=True)
    able = at_cloud(cloud_model("openai", "able"))
    unable = at_cloud(cloud_model("anthropic", features=frozenset()))
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([able, unable], asking=asking, hedge_after=hedge_after))
        assert isinstance(told.error, ProviderBusy)
        assert (told.error.retry_after, told.attempts) == (60, 2)
        await there.balance(told)


@pytest.mark.parametrize("faults", [("400", "429 retry_after=60"), ("429 retry_after=60", "400")])
async def test_of_two_at_once_what_no_target_can_mend_is_told(
    tmp_path: Path, clouds: Clouds, faults: tuple[str, str]
) -> None:
    clouds["openai"].faults(faults[0])
    clouds["anthropic"].faults(faults[1])
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([LARGE, OTHER], hedge_after=0.0))
        assert type(told.error) is RequestError
        await there.balance(told)


# ---- Departures ----


@pytest.mark.parametrize("kind", KINDS)
async def test_who_leaves_in_mid_stream_is_charged_for_what_came(
    tmp_path: Path, clouds: Clouds, kind: Kind
) -> None:
    async with world(tmp_path, clouds) as there:
        job = there.job([at_cloud(cloud_model(kind))], "#fake long 500\n#fake pace 0.05")
        told = await there.ask(job, leave=True)
        assert told.ending == "left"
        await asyncio.to_thread(
            clouds[kind].wait, lambda seen: [one["end"] for one in seen] == ["left"]
        )
        await there.balance(told)
    (entry,) = there.entries
    assert (entry.outcome, entry.final) == ("left", True)
    assert 0 < entry.usage.completion_tokens <= 500
    assert entry.cost > 0


async def test_who_leaves_before_the_first_word_ends_everything(
    tmp_path: Path, clouds: Clouds
) -> None:
    both: tuple[Kind, ...] = ("openai", "anthropic")
    for kind in both:
        clouds[kind].faults("slow seconds=100")
    async with world(tmp_path, clouds) as there:
        job = there.job([LARGE, OTHER], hedge_after=0.01)
        asking = asyncio.create_task(there.ask(job))
        for kind in both:
            await asyncio.to_thread(clouds[kind].wait, lambda seen: len(seen) == 1)
        asking.cancel()
        told = await asking
        assert told.ending == "left"
        for kind in both:
            await asyncio.to_thread(
                clouds[kind].wait, lambda seen: [one["end"] for one in seen] == ["left"]
            )
        await there.balance(told)
    assert [entry.outcome for entry in there.entries if entry.final] == ["left"]


async def test_who_leaves_in_a_pause_between_retries_is_gone(
    tmp_path: Path, clouds: Clouds
) -> None:
    clouds["openai"].faults("429 retry_after=15 times=9")
    async with world(tmp_path, clouds, router=RETRYING) as there:
        asking = asyncio.create_task(there.ask(there.job([LARGE])))
        await asyncio.to_thread(clouds["openai"].wait, lambda seen: len(seen) == 1)
        while there.dispatch.means.breakers[LARGE.name].state == "closed" and not asking.done():
            if there.dispatch.means.breakers.down(LARGE.name):
                break
            await asyncio.sleep(0.01)
        asking.cancel()
        told = await asking
        assert (told.ending, told.cost) == ("left", 0)
        await there.balance(told)


async def test_who_leaves_as_a_connection_ends_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is whole, and its stream has no end yet."""
    monkeypatch.setattr(cloud_attempt, "_LINGER", 60.0)
    spoke = chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n')
    stopped = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    answer: list[Step] = [STREAM, spoke, chunk(stopped + b"data: [DONE]\n\n"), asyncio.Event()]
    async with raw_server(answer) as server, world(tmp_path, urls={"raw": server.url}) as there:
        delivery = there.dispatch.deliver(there.job([at_cloud(cloud_model("raw"))]))
        heard = asyncio.Event()

        async def ask() -> None:
            async with delivery:
                while await delivery.read():
                    pass
                heard.set()

        asking = asyncio.create_task(ask())
        await heard.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(5):
            await server.gone.wait()


# ---- What may be spent ----


async def test_a_budget_for_ten_lets_ten_of_a_hundred_through(
    tmp_path: Path, clouds: Clouds
) -> None:
    model = cloud_model("openai", context=1000, max_output=100)
    # 1,000 tokens at most are read for 1 USD a million, and 100 written for 4.
    worst = 1000 * 1000 + 100 * 4000
    limits = Limits(day=10 * worst)
    account = Account((Party("key", "k", limits), Party("all", "", Limits())))
    clouds["openai"].faults("slow seconds=3 times=100")
    async with world(tmp_path, clouds) as there:
        jobs = [there.job([at_cloud(model)], account=account) for _ in range(100)]
        told = await asyncio.gather(*(there.ask(job) for job in jobs))
        endings = [one.ending for one in told]
        assert endings.count("complete") == 10
        refused = [one.error for one in told if one.error]
        assert {type(error) for error in refused} == {BudgetExceeded}
        assert len(clouds["openai"].requests()) == 10
        again = await there.ask(there.job([at_cloud(model)], account=account))
        assert again.ending == "complete", "what was not spent is given back"
        await there.balance(*told, again)


WRITER = cloud_model("openai", context=100_000, max_output=64_000)  # 0.256 USD for an answer


def up_to(day: int) -> Account:
    return Account((Party("key", "k", Limits(day=day)), Party("all", "", Limits())))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_without_a_limit_is_bounded_to_what_is_left(
    tmp_path: Path, clouds: Clouds, kind: Kind
) -> None:
    model = cloud_model(kind, context=100_000, max_output=64_000)
    account = up_to(100_000_000)
    async with world(tmp_path, clouds) as there:
        told = [await there.ask(there.job([at_cloud(model)], account=account)) for _ in range(2)]
        assert [one.ending for one in told] == ["complete"] * 2
        await there.balance(*told)
    bound = told[0].bound
    assert bound is not None
    assert 1024 <= bound <= 50_000_000 // 4000, "half of what is left, at 4 nano-USD a token"
    first, _ = clouds[kind].requests()
    assert str(bound) in orjson.dumps(first["body"]).decode()


async def test_with_less_left_than_an_answer_worth_having_it_is_refused(
    tmp_path: Path, clouds: Clouds
) -> None:
    account = up_to(1024 * 4000)  # and nothing for the prompt
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([at_cloud(WRITER)], account=account))
        assert isinstance(told.error, BudgetExceeded)
        await there.balance(told)
    assert clouds["openai"].requests() == []


async def test_a_small_rest_lets_several_through_at_once_and_is_never_overspent(
    tmp_path: Path, clouds: Clouds
) -> None:
    day = 100_000_000  # less than half of what one longest answer costs
    account = up_to(day)
    clouds["openai"].faults("slow seconds=3 times=40")
    async with world(tmp_path, clouds) as there:
        jobs = [there.job([at_cloud(WRITER)], account=account) for _ in range(40)]
        told = await asyncio.gather(*(there.ask(job) for job in jobs))
        assert [one.ending for one in told].count("complete") >= 3
        assert {type(one.error) for one in told if one.error} == {BudgetExceeded}
        assert sum(one.cost for one in told) <= day
        await there.balance(*told)
    written = [request["body"]["max_tokens"] for request in clouds["openai"].requests()]
    assert sum(written) * 4000 <= day


async def test_what_a_provider_allows_in_a_minute_is_kept(tmp_path: Path, clouds: Clouds) -> None:
    async with world(tmp_path, clouds, providers={"rpm": 2}) as there:
        told = [await there.ask(there.job([LARGE])) for _ in range(3)]
        assert [one.ending for one in told] == ["complete", "complete", "error"]
        assert isinstance(told[2].error, RateLimited)
        await there.balance(*told)
    assert len(clouds["openai"].requests()) == 2


async def test_each_of_n_answers_counts_where_a_provider_allows_so_many_tokens(
    tmp_path: Path, clouds: Clouds
) -> None:
    clouds["openai"].faults("slow seconds=1 times=2")
    async with world(tmp_path, clouds, providers={"tpm": 1000}) as there:
        jobs = [there.job([LARGE], asking=Asking(ASK, max_tokens=100)) for _ in range(2)]
        jobs = [replace(job, needs=replace(job.needs, n=8)) for job in jobs]
        told = await asyncio.gather(*(there.ask(job) for job in jobs))
        assert sorted(one.ending for one in told) == ["complete", "error"]
        assert [type(one.error) for one in told if one.error] == [RateLimited]
        await there.balance(*told)


# ---- Shadows ----


async def test_a_session_stays_where_its_client_was_answered(
    tmp_path: Path, clouds: Clouds
) -> None:
    shadows = Account((Party("shadow", "try", Limits(day=10**12)), Party("all", "", Limits())))
    candidates = Candidates()
    known = catalogue.load(settings.load({}, home=tmp_path, system_config=tmp_path / "none"))
    models = [one.target for one in (LARGE, OTHER) if isinstance(one.target, CloudModel)]
    candidates.serve(replace(known, clouds={model.id: model for model in models}), ())
    async with world(tmp_path, clouds, begin=candidates.begin) as there:
        job = there.job([LARGE], shadow=OTHER)
        needs = replace(job.needs, session="s")
        told = await there.ask(replace(job, needs=needs, shadow_account=shadows))
        assert told.candidate == LARGE.name
        while len(there.entries) < 2:
            await asyncio.sleep(0.01)
        assert [c.name for c in candidates.of(needs) if c.sticky] == [LARGE.name]


async def test_a_shadow_copy_is_nobodys_and_has_its_own_budget(
    tmp_path: Path, clouds: Clouds
) -> None:
    shadows = Account((Party("shadow", "try", Limits(day=10**12)), Party("all", "", Limits())))
    async with world(tmp_path, clouds) as there:
        job = replace(there.job([LARGE], shadow=OTHER), shadow_account=shadows)
        told = await there.ask(job)
        assert (told.ending, told.candidate) == ("complete", LARGE.name)
        await asyncio.to_thread(
            clouds["anthropic"].wait, lambda seen: [one["end"] for one in seen] == ["answered"]
        )
        while len(there.entries) < 2:
            await asyncio.sleep(0.01)
        copy = next(entry for entry in there.entries if entry.shadow)
        assert (copy.shadow, copy.model, copy.final) == ("try", OTHER.name, False)
        assert copy.cost > 0
        assert told.cost == next(entry.cost for entry in there.entries if not entry.shadow)
        own = there.book.spent(Party("key", "k", Limits()))
        assert own.day == told.cost
        await there.close()
        with contextlib.closing(sqlite3.connect(there.book.path)) as database:
            left = database.execute("SELECT key_id, model FROM egress").fetchall()
        assert {*left} == {("k", LARGE.name), ("k", OTHER.name)}, "whose words have left"


async def test_a_shadow_copy_without_a_budget_left_is_not_sent(
    tmp_path: Path, clouds: Clouds
) -> None:
    shadows = Account((Party("shadow", "try", Limits(day=1)), Party("all", "", Limits())))
    async with world(tmp_path, clouds) as there:
        job = replace(there.job([LARGE], shadow=OTHER), shadow_account=shadows)
        told = await there.ask(job)
        assert told.ending == "complete"
        await there.balance(told)
    assert clouds["anthropic"].requests() == []


async def test_shadow_copies_are_bounded_and_end_with_the_server(
    tmp_path: Path, clouds: Clouds
) -> None:
    shadows = Account((Party("shadow", "try", Limits()), Party("all", "", Limits())))
    clouds["anthropic"].faults("slow seconds=100 times=50")
    async with world(tmp_path, clouds) as there:
        told = []
        for _ in range(20):
            job = there.job([LARGE], shadow=OTHER)
            told.append(await there.ask(replace(job, shadow_account=shadows)))
        assert {one.ending for one in told} == {"complete"}
        await asyncio.to_thread(clouds["anthropic"].wait, lambda seen: len(seen) == 8)
        await there.dispatch.close()
        await asyncio.to_thread(
            clouds["anthropic"].wait, lambda seen: {one["end"] for one in seen} == {"left"}
        )
        assert len(clouds["anthropic"].requests()) == 8


# ---- Answers of another kind ----


async def test_an_answer_that_comes_whole_is_decoded_whole(tmp_path: Path) -> None:
    body = {
        "id": "a",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17},
    }
    answer = reply(orjson.dumps(body))
    async with raw_server([answer]) as server, world(tmp_path, urls={"raw": server.url}) as there:
        told = await there.ask(there.job([at_cloud(cloud_model("raw"))]))
        assert (told.ending, told.text) == ("complete", TEXT)
        assert told.cost == 5 * 1000 + 12 * 4000
        await there.balance(told)


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"{"),
        reply(b"[]"),
        reply(b'{"choices": []}'),
        reply(b"\x1f\x8b", headers=["content-encoding: gzip"]),
        reply(b"<html>", content_type="text/html"),
        reply(b"", status="204 No Content"),
        reply(b"", status="302 Found", headers=["location: http://127.0.0.1:1/"]),
        reply(b"x" * 1_000_000, status="500 Oops"),
    ],
)
async def test_what_is_no_answer_is_a_failure_of_the_provider(
    tmp_path: Path, answer: bytes
) -> None:
    async with raw_server([answer]) as server, world(tmp_path, urls={"raw": server.url}) as there:
        told = await there.ask(there.job([at_cloud(cloud_model("raw"))]))
        assert told.ending == "error"
        assert isinstance(told.error, ProviderError)
        assert len(told.error.sentence) < 500, "what a provider says is not passed on"
        await there.balance(told)


async def test_what_a_target_cannot_be_asked_is_asked_of_the_next(
    tmp_path: Path, clouds: Clouds
) -> None:
    plain = at_cloud(cloud_model("openai", features=frozenset()))
    asking = Asking(ASK, logprobs=True)
    able = at_cloud(cloud_model("openai", "able"))
    async with world(tmp_path, clouds) as there:
        told = await there.ask(there.job([plain, able], asking=asking))
        assert (told.ending, told.candidate) == ("complete", able.name)
        alone = await there.ask(there.job([plain], asking=asking))
        assert alone.error is not None
        assert alone.error.param == "logprobs"
        await there.balance(told, alone)


async def test_a_key_is_in_no_error_and_no_log(
    tmp_path: Path, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    key = "sk-canary-0123456789"
    async with world(tmp_path, clouds, key=key) as there:
        for fault in ("401", "400", "500", "cut", "bad-json at=before-first-token", "refused"):
            clouds["openai"].mend()
            clouds["openai"].faults(fault)
            told = await there.ask(there.job([at_cloud(cloud_model("openai", fault[:3]))]))
            assert told.error is not None
            assert key not in told.error.sentence + repr(told.error) + str(told.error.__cause__)
    assert all(key in str(one["headers"]) for one in clouds["openai"].requests())
    assert key not in caplog.text
    assert key.encode() not in (tmp_path / "book.db").read_bytes()
