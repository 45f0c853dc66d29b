"""The order in which an engine gets prompts: whoever waits, for what, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from server.chat.usage import Usage
from server.routing.flight import Flight
from server.routing.observe import Expected, Observer
from server.routing.reading import ReadingOrder
from server.routing.tokens import ABOVE
from tests.waiting import until


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Engine:
    """Of four slots, that reads 1,000 tokens a second, and takes 0.1 s for a batch beside that."""

    def __init__(self, known: bool = True) -> None:
        self.clock = Clock()
        self.observer = Observer(4, Expected(prefill=1000, fixed=0.1))
        self.order = ReadingOrder(self.observer, self.clock)
        for prompt in (100, 2000, 500, 1000) if known else ():
            flight = self.flight(prompt)
            flight.started(self.clock.now)
            self.clock.now += 0.1 + prompt / 1000
            flight.first(self.clock.now)
            flight.end(self.clock.now, Usage(prompt, 1))

    def flight(self, prompt: int) -> Flight:
        return self.observer.begin(round(prompt * ABOVE))

    def read(self, flight: Flight, after: float = 0.0) -> None:
        self.clock.now += after
        flight.first(self.clock.now)
        self.order.passed()

    def end(self, flight: Flight) -> None:
        flight.end(self.clock.now)
        self.order.passed()


async def soon(turn: Awaitable[None]) -> asyncio.Task[None]:
    """A task that waits for its turn, and has got as far as it can."""
    task = asyncio.ensure_future(turn)
    await asyncio.sleep(0)
    return task


async def test_an_idle_engine_gets_a_prompt_at_once() -> None:
    engine = Engine()
    flight = engine.flight(1000)
    await engine.order.turn(flight)
    assert flight.started_at == flight.seated_at == engine.clock.now


async def test_prompts_are_read_one_after_the_other_in_the_order_in_which_they_came() -> None:
    engine = Engine()
    flights = [engine.flight(500) for _ in range(4)]
    tasks = [await soon(engine.order.turn(flight)) for flight in flights]
    for number, flight in enumerate(flights):
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [other <= number for other in range(4)]
        assert flight.started_at == engine.clock.now
        engine.read(flight, after=0.6)


async def test_one_whose_engine_died_does_not_wait_for_itself() -> None:
    engine = Engine()
    first, second = engine.flight(500), engine.flight(500)
    await engine.order.turn(first)
    engine.clock.now += 0.1
    first.anew()
    await engine.order.turn(first)
    assert first.started_at == engine.clock.now
    task = await soon(engine.order.turn(second))
    assert not task.done()
    engine.read(first, after=0.6)
    await task


async def test_who_waits_has_the_slot_and_is_forecast_with_its_whole_prompt() -> None:
    engine = Engine()
    first, second = engine.flight(500), engine.flight(500)
    await engine.order.turn(first)
    task = await soon(engine.order.turn(second))
    assert (second.seated_at, second.started_at) == (engine.clock.now, None)
    engine.clock.now += 0.5
    left = engine.observer.forecast(engine.clock.now, 1, 0).queue
    assert left == pytest.approx(0.1 + 0.5, rel=0.2)
    engine.read(first)
    await task


async def test_what_costs_no_more_than_a_batch_goes_along() -> None:
    engine = Engine()
    first, small, large = engine.flight(500), engine.flight(50), engine.flight(300)
    await engine.order.turn(first)
    waits = await soon(engine.order.turn(large))
    await engine.order.turn(small)
    assert not waits.done()
    engine.read(first, after=0.65)
    await asyncio.sleep(0)
    assert not waits.done(), "the small one is still to be heard of"
    engine.read(small)
    await waits


async def test_while_nobody_knows_how_fast_it_is_all_go_at_once() -> None:
    engine = Engine(known=False)
    for _ in range(3):
        await engine.order.turn(engine.flight(500))


@pytest.mark.parametrize("leaves", [0, 1])
async def test_who_leaves_holds_up_nobody(leaves: int) -> None:
    """Be it being read, or in the line."""
    engine = Engine()
    flights = [engine.flight(500) for _ in range(3)]
    tasks = [await soon(engine.order.turn(flight)) for flight in flights]
    gone, stays = flights[leaves], flights[1 - leaves]
    tasks[leaves].cancel()
    await asyncio.wait([tasks[leaves]])
    engine.end(gone)
    if leaves:
        engine.read(stays)
        await tasks[2]
        assert gone.started_at is None
    else:
        await tasks[1]
        assert not tasks[2].done()
        engine.read(stays)
        await tasks[2]


async def test_two_who_leave_at_once_hold_up_nobody() -> None:
    """The one that is read ends before the task of the one that was to follow has run."""
    engine = Engine()
    flights = [engine.flight(500) for _ in range(3)]
    tasks = [await soon(engine.order.turn(flight)) for flight in flights]
    tasks[1].cancel()
    engine.read(flights[0])
    await tasks[2]
    assert flights[1].started_at is None


async def test_what_should_have_been_read_holds_up_nobody() -> None:
    """An engine whose forecast is wrong by far, and an answer that does not tell when it began."""
    engine = Engine()
    await engine.order.turn(engine.flight(500))
    started: list[float] = []
    task = await soon(engine.order.turn(engine.flight(500)))
    task.add_done_callback(lambda _: started.append(engine.clock.now))
    began = engine.clock.now
    await until(_passes(engine.clock, started))
    assert started[0] - began >= 0.7 * 0.6


def _passes(clock: Clock, started: list[float]) -> Callable[[], bool]:
    """The clock that the order looks at goes on as true time does."""
    loop = asyncio.get_running_loop()
    began, base = loop.time(), clock.now

    def passed() -> bool:
        clock.now = base + loop.time() - began
        return bool(started)

    return passed
