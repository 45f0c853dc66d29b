"""A dispatch of the tests' own: the real ledger, real sockets, and clouds that are played."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from server import catalogue, settings
from server.catalogue.cloud import CloudModel, Kind, Price, Provider, Rate
from server.catalogue.router import Limits, Router
from server.chat.chunk_encoder import ChunkEncoder
from server.chat.relay import Decoder, Relay, Translation
from server.chat.request import ChatRequest, CompletionRequest, parse_chat
from server.chat.sse import StreamFilter
from server.engines.member import Member
from server.errors import HoldfastError
from server.ledger.account import Account, Party
from server.ledger.admission import Admission
from server.ledger.book import Book
from server.ledger.entry import Entry
from server.providers import PROTOCOLS
from server.providers.egress import Egress
from server.routing.attempt import Patience
from server.routing.breaker import Breakers, Rule
from server.routing.candidate import Candidate, Forecast
from server.routing.cloud_candidate import cloud_candidate
from server.routing.decision import Decision
from server.routing.dispatch import Dispatch
from server.routing.leg import Job
from server.routing.means import Flight, Means
from server.routing.needs import Needs
from server.routing.retry import RetryBudget
from server.routing.targets import Target
from tests.fakes.cloud_running import FakeCloud
from tests.providers.clouds import ALL

PRICE = Price(Rate(input=1_000_000_000, output=4_000_000_000))  # 1 and 4 USD a million
TEXT = " ".join(str(number) for number in range(12))
ASK = "#fake long 12"
"""Has a fake cloud say TEXT."""
BASES: dict[Kind, str] = {
    "openai": "/v1",
    "openai-responses": "/v1",
    "anthropic": "",
    "gemini": "",
}
ROUTER = Router(retries=0, first_token_timeout=60.0, token_timeout=60.0)


def cloud_model(provider: str, name: str = "large", **fields: Any) -> CloudModel:
    values: dict[str, Any] = {
        "id": f"{provider}/{name}",
        "provider": provider,
        "name": name,
        "title": name,
        "context": 100_000,
        "max_output": 1000,
        "price": PRICE,
        "image": True,
        "features": ALL,
    }
    return CloudModel(**(values | fields))


def at_cloud(model: CloudModel) -> Candidate:
    return cloud_candidate(model, {})


def at_engine(member: Member) -> Candidate:
    """The demo's model, at that member of a fleet."""
    loaded = catalogue.load(
        settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
    )
    model = loaded.models["demo"]
    build = next(build for build in model.builds if build.engine == "llama-server")
    return Candidate(
        name=member.name,
        model=model.id,
        side="local",
        provider=None,
        context=1024,
        max_output=1024,
        image=False,
        features=ALL,
        capability={},
        forecast=Forecast(prefill=0.1),
        target=Target(model, build, member, sees=False, created=0),
    )


@dataclass
class Told:
    """What a client heard of one request."""

    text: str = ""
    done: bool = False
    error: HoldfastError | None = None
    left: bool = False
    candidate: str = ""
    attempts: int = 0
    cost: int = 0
    bound: int | None = None
    request_id: str = ""
    began: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ending(self) -> str:
        """Exactly one of complete, error and left."""
        said = [
            word
            for word, is_so in (
                ("complete", self.done and self.error is None and not self.left),
                ("error", self.error is not None and not self.done),
                ("left", self.left and self.error is None and not self.done),
            )
            if is_so
        ]
        assert len(said) == 1, self
        return said[0]


class Asking:
    """A client's words, for a stream or whole."""

    def __init__(self, text: str, *, stream: bool = True, **fields: Any) -> None:
        messages = [{"role": "user", "content": text}]
        body = {"model": "auto", "messages": messages, "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        self.request: ChatRequest = parse_chat(body | fields)


class World:
    """See the module. `entries` are what the ledger was given."""

    def __init__(self, book: Book, means: Means, entries: list[Entry]) -> None:
        self.book = book
        self.dispatch = Dispatch(means)
        self.entries = entries
        self._number = 0
        self._closed = False

    def job(
        self,
        attempts: Sequence[Candidate],
        text: str = ASK,
        *,
        asking: Asking | None = None,
        account: Account | None = None,
        local_only: bool = False,
        **decision: Any,
    ) -> Job:
        asking = asking or Asking(text)
        self._number += 1
        needs = Needs(
            asked="auto",
            endpoint="chat",
            task="chat",
            task_from="inferred",
            prompt_tokens=len(text) + 10,
            max_tokens=asking.request.max_tokens,
            local_only=local_only,
            private_because="the test says so" if local_only else "",
            key="k",
            time=datetime.time(12),
        )
        request = asking.request
        return Job(
            request=replace(request, stream=True),
            needs=needs,
            decision=Decision(tuple(attempts), "test", (), "cheapest", **decision),
            account=account or Account((Party("key", "k", Limits()), Party("all", "", Limits()))),
            request_id=f"r{self._number}",
            relay_for=lambda candidate, decoder: relay(request, decoder),
        )

    async def ask(self, job: Job, *, told: Told | None = None, leave: bool = False) -> Told:
        """`leave`: upon the first word."""
        told = Told() if told is None else told
        told.request_id = job.request_id
        heard = b""
        delivery = self.dispatch.deliver(job)
        try:
            async with delivery:
                told.candidate, told.bound = delivery.candidate.name, delivery.bound
                while piece := await delivery.read():
                    assert piece.endswith(b"\n\n"), "events are whole, whatever breaks"
                    heard += piece
                    told.began.set()
                    if leave:
                        told.left = True
                        break
        except HoldfastError as error:
            told.error = error
        except asyncio.CancelledError:
            told.left = True
        told.attempts, told.cost = delivery.attempts, delivery.cost
        told.text, told.done = said(heard)
        told.left = told.left and not told.done  # who has heard everything has missed nothing
        return told

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self.dispatch.close()
            await self.book.close()

    async def balance(self, *told: Told) -> None:
        """Asserts that every request was written down once, that nothing is held any more, and that
        what was charged is what is in the book."""
        await self.close()
        with contextlib.closing(sqlite3.connect(self.book.path)) as database:
            held = database.execute("SELECT count(*) FROM hold").fetchone()[0]
            cost = database.execute("SELECT coalesce(sum(cost), 0) FROM entry").fetchone()[0]
            finals = database.execute(
                "SELECT request_id, count(*) FROM entry WHERE final GROUP BY request_id"
            ).fetchall()
        assert held == 0
        assert dict(finals) == {f"r{number + 1}": 1 for number in range(self._number)}
        assert cost == sum(entry.cost for entry in self.entries)
        everything = self.book.spent(Party("all", "", Limits()))
        assert (everything.held, everything.tokens_held) == (0, 0)
        assert everything.day == cost
        assert sum(one.cost for one in told) == cost


def relay(request: ChatRequest | CompletionRequest, decoder: Decoder | None) -> Relay:
    """For an OpenAI client that streams."""
    if decoder is None:
        return StreamFilter(request)
    return Translation(decoder, ChunkEncoder(cast(ChatRequest, request), 0))


def said(heard: bytes) -> tuple[str, bool]:
    """The words in a stream of OpenAI's chunks, and whether it ended as it should."""
    import orjson

    text, done = "", 0
    for event in heard.decode().split("\n\n"):
        if event == "data: [DONE]":
            done += 1
        elif event.startswith("data: "):
            for choice in orjson.loads(event[6:]).get("choices", ()):
                text += choice["delta"].get("content") or ""
    assert done <= 1
    return text, done == 1


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    clouds: dict[Kind, FakeCloud] | None = None,
    *,
    urls: dict[str, str] | None = None,
    router: Router = ROUTER,
    key: str | None = None,
    patience: Patience | None = None,
    clock: Callable[[], float] | None = None,
    providers: dict[str, Any] | None = None,
    begin: Callable[[Candidate, Needs], Flight | None] = lambda candidate, needs: None,
) -> AsyncIterator[World]:
    """`clouds` are reached under their kind's name; `urls` are more of kind `openai`, by id."""
    there: dict[str, Provider] = {
        kind: Provider(kind, kind, cloud.url + BASES[kind], **(providers or {}))
        for kind, cloud in (clouds or {}).items()
    }
    more = {name: Provider(name, "openai", url) for name, url in (urls or {}).items()}
    entries: list[Entry] = []
    book = Book(folder / "book.db")
    await book.start()
    egress = Egress(lambda provider: key, {}, connect_timeout=5)
    rule = Rule(router.breaker_failures, router.breaker_pause)
    means = Means(
        router=router,
        providers={**there, **more},
        protocols=PROTOCOLS,
        egress=egress,
        book=book,
        breakers=Breakers(rule) if clock is None else Breakers(rule, clock),
        budget=RetryBudget(router.retry_budget),
        admission=Admission(),
        patience=patience or Patience(20, 20),
        begin=begin,
        tell=entries.append,
    )
    made = World(book, means, entries)
    try:
        yield made
    finally:
        await made.close()
        await egress.close()
