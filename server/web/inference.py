"""One request for an answer, in whatever dialect: read, decided on, delivered, told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from server.chat import parse_json
from server.chat.responses import Kept
from server.errors import HoldfastError
from server.ledger.admission import Pass
from server.ledger.rows import Text
from server.record import record
from server.routing.dispatch import Delivery
from server.routing.router import Course, Router
from server.routing.targets import Target
from server.units import exact_money
from server.web.auth import Client
from server.web.dialect import Manner, Speech, Turn
from server.web.exchange import Exchange, Header
from server.web.ticker import Ticker
from server.web.traced import traced


@dataclass(frozen=True, slots=True)
class Bounds:
    body: int
    """Bytes of a request."""


@record()
class _UnderWay:
    """A request that was read, let in and decided on."""

    said: Speech
    place: Pass
    course: Course
    delivery: Delivery


class Inference:
    """Handles all dialects; `bounds` may be replaced at any time. `refused` hears the code of each
    error that a request is refused with."""

    def __init__(self, router: Router, bounds: Bounds, refused: Callable[[str], None]) -> None:
        self.bounds = bounds
        self._router = router
        self.kept = Kept()
        """Responses, for those that go on from them or ask for them again."""
        self._refused = refused

    async def answer(self, exchange: Exchange, client: Client, manner: Manner) -> None:
        """Raises HoldfastError for what keeps it from being answered, or breaks it off."""
        if (tracer := self._router.tracer) is None:
            await self._answer(exchange, client, manner)
            return
        with traced(tracer, exchange, client):
            await self._answer(exchange, client, manner)

    async def _answer(self, exchange: Exchange, client: Client, manner: Manner) -> None:
        try:
            body = await exchange.body(self.bounds.body)
            under_way = await self._begun(exchange, client, manner, body)
        except HoldfastError as error:
            self._refused(error.code or error.type)
            raise
        delivery, place = under_way.delivery, under_way.place
        kept: list[bytes] | None = [] if client.key and client.key.keep_text else None
        if kept is None:
            body = b""  # it was read, and the answer may take minutes
        with place:
            try:
                await _deliver(exchange, under_way, kept)
            finally:
                if kept is not None:
                    self._keep_text(exchange, client, body, kept)
            if delivery.usage is not None:
                place.used(delivery.usage.total_tokens)

    async def _begun(
        self, exchange: Exchange, client: Client, manner: Manner, body: bytes
    ) -> _UnderWay:
        """Read, let in and decided on."""
        request_id = exchange.request_id.decode()
        router = self._router
        said = manner(parse_json(body), Turn(request_id, client.id, self.kept))
        exchange.form = said.form(exchange.form)
        trace = exchange.trace
        needs = router.needs(said.request, said.endpoint, exchange.headers, client, trace)
        if said.private_because and not needs.local_only:
            needs = replace(needs, local_only=True, private_because=said.private_because)
            if trace is not None:
                trace.private = True
        account = router.account(client)
        place = router.admit(account, needs.prompt_tokens + needs.n * (needs.max_tokens or 0))
        try:
            exchange.answer_headers += place.rates.headers()
            if counting := router.precounts.due(said.request, needs, account):
                await counting
            course = router.decide(needs, account, request_id, trace)
            said.prompt_tokens = course.decision.attempts[0].prompt_tokens or needs.prompt_tokens
            delivery = router.deliver(
                course,
                said.asked,
                request_id,
                lambda _, decoder: said.relay(decoder),
                trace,
            )
        except BaseException:
            place.release()
            raise
        exchange.broken = lambda error: said.broken(error, delivery.relay)
        exchange.aborting = delivery.abort
        return _UnderWay(said, place, course, delivery)

    def _keep_text(
        self, exchange: Exchange, client: Client, body: bytes, answer: list[bytes]
    ) -> None:
        """What was said, for a key that wants it kept, as far as the answer came."""
        told = b"".join(answer).decode("utf-8", "replace")
        request_id = exchange.request_id.decode()
        self._router.book.keep_text(Text(time.time(), request_id, client.id, body, told))


async def _deliver(exchange: Exchange, under_way: _UnderWay, kept: list[bytes] | None) -> None:
    """`kept`: where what is told is written down as well."""
    said, delivery, course = under_way.said, under_way.delivery, under_way.course
    whole = b""
    stream = said.request.stream
    exchange.watch_client()
    try:
        if stream:
            await _stream(exchange, delivery, course, kept)
        else:
            async with delivery:
                while piece := await delivery.read():
                    whole += piece
            if kept is not None:
                kept.append(whole)
    finally:
        # Before the last byte is sent: who has all of it may leave, and that must not cancel what
        # is done by then.
        exchange.unwatch_client()
    if delivery.relay is not None:
        said.answered(delivery.relay, private=course.decision.local_only)
    if stream:
        await exchange.end_stream()
    else:
        await exchange.answer(200, whole, (*_told(delivery, course), _cost(delivery.cost)))


async def _stream(
    exchange: Exchange, delivery: Delivery, course: Course, kept: list[bytes] | None
) -> None:
    """Relay a streamed answer to its end, or to the error that its target ended it with."""

    async def comment(text: str) -> None:
        if not exchange.started:
            exchange.answer_headers += _told(delivery, course)
        await exchange.comment(text)

    ticker = Ticker(comment, delivery.describe)
    try:
        async with delivery:
            await ticker.stop()
            if not exchange.started:
                exchange.answer_headers += _told(delivery, course)
            await exchange.begin_stream()
            while piece := await delivery.read():
                if kept is not None:
                    kept.append(piece)
                await exchange.write(piece)
    finally:
        await ticker.stop()


@lru_cache(maxsize=1024)
def _cost(nano: int) -> Header:
    """For what is not streamed; mostly it cost nothing."""
    return b"x-holdfast-cost-usd", exact_money(nano).removesuffix(" USD").encode()


def _told(delivery: Delivery, course: Course) -> tuple[Header, ...]:
    """Who answers, and why; of a stream that had to wait, who was being asked when it began."""
    candidate = delivery.candidate
    name = candidate.name
    if isinstance(candidate.target, Target):  # it may have come down to a smaller build
        name = candidate.target.member.berth.deployment.build
    bound: tuple[Header, ...] = ()
    if delivery.bound is not None:
        bound = ((b"x-holdfast-max-tokens", str(delivery.bound).encode()),)
    return (
        *bound,
        (b"x-holdfast-model", name.encode()),
        (b"x-holdfast-route", candidate.side.encode()),
        (b"x-holdfast-reason", course.decision.reason.encode("latin-1", "replace")),
        (b"x-holdfast-attempts", str(delivery.attempts).encode()),
    )
