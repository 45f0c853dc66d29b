"""One request for an answer, in whatever dialect: read, decided on, delivered, told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from server.chat import parse_json
from server.chat.responses import Kept
from server.errors import HoldfastError
from server.ledger.admission import Pass
from server.routing.dispatch import Delivery
from server.routing.router import Course, Router
from server.routing.targets import Target
from server.units import exact_money
from server.web.auth import Client
from server.web.dialect import Manner, Speech, Turn
from server.web.exchange import Exchange, Header
from server.web.ticker import Ticker


@dataclass(frozen=True, slots=True)
class Bounds:
    body: int
    """Bytes of a request."""


class Inference:
    """Handles all dialects; `bounds` may be replaced at any time. `refused` hears the code of each
    error that a request is refused with."""

    def __init__(self, router: Router, bounds: Bounds, refused: Callable[[str], None]) -> None:
        self.bounds = bounds
        self._router = router
        self._kept = Kept()
        self._refused = refused

    async def answer(self, exchange: Exchange, client: Client, manner: Manner) -> None:
        """Raises HoldfastError for what keeps it from being answered, or breaks it off."""
        exchange.form = manner.form(exchange.request_id.decode())
        try:
            said, place, course, delivery = await self._begun(exchange, client, manner)
        except HoldfastError as error:
            self._refused(error.code or error.type)
            raise
        with place:
            await _deliver(exchange, delivery, course, said)
            if delivery.usage is not None:
                place.used(delivery.usage.total_tokens)

    async def _begun(
        self, exchange: Exchange, client: Client, manner: Manner
    ) -> tuple[Speech, Pass, Course, Delivery]:
        """Read, let in and decided on."""
        request_id = exchange.request_id.decode()
        router = self._router
        values = parse_json(await exchange.body(self.bounds.body))
        said = manner(values, Turn(request_id, client.id, self._kept))
        exchange.broken = said.broken
        needs = router.needs(said.request, said.endpoint, exchange.headers, client)
        said.prompt_tokens = needs.prompt_tokens
        account = router.account(client)
        place = router.admit(account, needs.prompt_tokens + (needs.max_tokens or 0))
        try:
            exchange.answer_headers += place.rates.headers()
            course = router.decide(needs, account, request_id)
            delivery = router.deliver(
                course, said.asked, request_id, lambda _, decoder: said.relay(decoder)
            )
        except BaseException:
            place.release()
            raise
        return said, place, course, delivery


async def _deliver(exchange: Exchange, delivery: Delivery, course: Course, said: Speech) -> None:
    task = asyncio.current_task()
    assert task is not None
    departure = asyncio.create_task(exchange.cancel_on_disconnect(task))
    whole = b""
    stream = said.request.stream
    try:
        if stream:
            await _stream(exchange, delivery, course)
        else:
            async with delivery:
                whole = b"".join([piece async for piece in delivery.pieces()])
    finally:
        # Before the last byte is sent: the server reports the end of an answer, too, as a
        # disconnect, and that must not cancel what is done by then.
        departure.cancel()
    said.answered()
    if stream:
        await exchange.end_stream()
    else:
        cost: Header = (
            b"x-holdfast-cost-usd",
            exact_money(delivery.cost).removesuffix(" USD").encode(),
        )
        await exchange.answer(200, whole, (*_told(delivery, course), cost))


async def _stream(exchange: Exchange, delivery: Delivery, course: Course) -> None:
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
            async for piece in delivery.pieces():
                await exchange.write(piece)
    finally:
        await ticker.stop()


def _told(delivery: Delivery, course: Course) -> tuple[Header, ...]:
    """Who answers, and why; of a stream that had to wait, who was being asked when it began."""
    candidate = delivery.candidate
    name = candidate.name
    if isinstance(candidate.target, Target):  # it may have come down to a smaller build
        name = candidate.target.member.berth.deployment.build
    return (
        (b"x-holdfast-model", name.encode()),
        (b"x-holdfast-route", candidate.side.encode()),
        (b"x-holdfast-reason", course.decision.reason.encode("latin-1", "replace")),
        (b"x-holdfast-attempts", str(delivery.attempts).encode()),
    )
