"""Prompts counted by real engines, for the router's decisions."""

from __future__ import annotations

import datetime
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from server import catalogue, settings
from server.chat import ChatRequest, engine_body, parse_chat
from server.engines.binary import find_llama_server
from server.engines.fleet import Fleet
from server.ledger.book import Book
from server.ledger.keys import Key
from server.providers.secrets import Keyring
from server.routing.candidate import Candidate
from server.routing.candidates import Candidates
from server.routing.counting import Counter
from server.routing.needs import Caller, Needs, needs_of
from server.routing.router import Router
from server.routing.targets import Target
from tests.integration.fleets import Harbour, berth
from tests.waiting import until

pytestmark = pytest.mark.integration

NOWHERE = Path("/nonexistent")
KNOWN = catalogue.load(settings.load({}, home=NOWHERE, system_config=NOWHERE))
DEMO = KNOWN.models["demo"]
STORY = "路由器决定请求发往何处。The router decides, 12345 times. " * 60
HERE = ("local",)


class Town:
    """`warm`, whose engine runs, and `cold`, of the same tokenizer, which is not loaded."""

    def __init__(self, fleet: Fleet) -> None:
        build = next(one for one in DEMO.builds if one.engine == "llama-server")
        self.warm, self.cold = (
            Target(DEMO, replace(build, model=name), fleet.get(name), sees=False, created=0)
            for name in ("warm", "cold")
        )
        self.candidates = Candidates()
        self.candidates.serve(KNOWN, (self.warm, self.cold))
        self.counter = Counter(self.candidates, patience=60)

    def needs(self, request: ChatRequest) -> Needs:
        now = datetime.datetime(2026, 11, 21, 12)
        return needs_of(request, "chat", {}, Caller("me"), KNOWN.router, now)

    def now(self, request: ChatRequest) -> dict[str, Candidate]:
        return {c.name: c for c in self.candidates.of(self.needs(request)) if c.side == "local"}

    async def decided(self, request: ChatRequest) -> list[str]:
        """Do what comes before a decision; whom that asked."""
        needs = self.needs(request)
        asked = self.counter.due(request, needs, HERE) if self.counter.may_matter(needs) else {}
        await self.counter.count(request, needs, asked)
        return [target.build.name for target in asked.values()]

    async def used(self, request: ChatRequest) -> int:
        """The prompt's tokens in the usage of an answer."""
        body = engine_body(request, model=DEMO, has_mmproj=False)
        session = self.warm.member.engine.session
        async with session.post(request.path, json=body) as response:
            usage: dict[str, Any] = (await response.json())["usage"]
            return int(usage["prompt_tokens"])


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    program = find_llama_server(settings.load(os.environ)).path
    berths = [berth(name, 6, context=8192) for name in ("warm", "cold")]
    async with Harbour(program, tmp_path).fleet(*berths) as fleet:
        await fleet.load("warm")
        yield Town(fleet)


@dataclass(frozen=True, slots=True)
class Somebody:
    id: str = "me"
    key: Key | None = None


@pytest.fixture
async def router(town: Town, tmp_path: Path) -> AsyncIterator[Router]:
    book = Book(tmp_path / "book.db")
    await book.start()
    made = Router(KNOWN, book, Keyring({}), lambda entry: None, lambda provider, size: None)
    made.serve((town.warm, town.cold))
    yield made
    await made.close()
    await book.close()


def ask(*texts: str) -> ChatRequest:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    return parse_chat({"model": "warm", "messages": messages, "max_tokens": 1})


async def test_a_short_prompt_is_not_worth_asking(town: Town) -> None:
    assert await town.decided(ask("Hello")) == []


async def test_a_long_one_is_counted_once_and_for_all_that_have_its_tokenizer(town: Town) -> None:
    request = ask(STORY)
    guess = town.now(request)["warm:f16"].prompt_tokens
    assert await town.decided(request) == ["warm:f16"]
    used = await town.used(request)
    found = town.now(request)
    assert [c.prompt_tokens for c in found.values()] == [used, used]
    assert found["warm:f16"].least_tokens >= 0.98 * used
    assert guess != used, "else an estimate would have done"
    assert await town.decided(request) == []


async def test_of_a_conversation_that_goes_on_nothing_is_asked_again(town: Town) -> None:
    await town.decided(ask(STORY))
    longer = ask(STORY, "It does.", "And then?")
    assert await town.decided(longer) == []
    assert town.now(longer)["warm:f16"].prompt_tokens == pytest.approx(
        await town.used(longer), rel=0.02
    )


async def test_it_is_asked_whether_a_prompt_fits_where_that_is_open(town: Town) -> None:
    short = ask(STORY[:600])
    assert await town.decided(short) == []
    tenure = town.warm.member.tenure
    context = town.now(short)["warm:f16"].prompt_tokens
    deployment = replace(tenure.berth.deployment, context=context)
    tenure.berth = replace(tenure.berth, deployment=deployment)
    town.candidates.serve(KNOWN, (town.warm, town.cold))
    assert await town.decided(short) == ["warm:f16"]
    assert town.now(short)["warm:f16"].prompt_tokens == await town.used(short)


async def test_nothing_is_counted_where_nothing_depends_on_it(router: Router) -> None:
    """But the first prompt is, so that it is known how far estimates are off."""

    def counting(text: str) -> Any:
        request = ask(text)
        needs = router.needs(request, "chat", {}, Somebody())
        return router.precounts.due(request, needs, router.account(Somebody()))

    first = counting(STORY)
    assert first is not None
    await first
    assert counting(STORY) is None, "it is known"
    assert counting(f"Another: {STORY}") is None, "it goes to the one that is named"


async def test_what_is_not_loaded_is_counted_by_another_engine(town: Town) -> None:
    request = ask("Hello")
    needs, used = town.needs(request), await town.used(request)
    assert await town.counter.exactly(request, needs, town.warm) == (used, town.warm)
    assert await town.counter.exactly(request, needs, town.cold) == (used, town.warm)


async def test_an_engine_that_hangs_or_has_gone_leaves_it_at_the_estimate(town: Town) -> None:
    request, member = ask(STORY), town.warm.member
    before = town.now(request)["warm:f16"].prompt_tokens
    town.counter = Counter(town.candidates, patience=0.2)
    pid = member.engine.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    assert await town.decided(request) == ["warm:f16"]
    assert town.now(request)["warm:f16"].prompt_tokens == before
    os.kill(pid, signal.SIGKILL)
    assert await town.counter.exactly(request, town.needs(request), town.cold) is None
    await until(lambda: member.ready and member.engine.status().pid != pid)
    town.counter = Counter(town.candidates, patience=60)
    assert await town.decided(request) == ["warm:f16"]
    assert town.now(request)["warm:f16"].prompt_tokens != before
