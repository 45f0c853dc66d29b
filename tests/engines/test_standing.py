from __future__ import annotations

import asyncio

import pytest

from server.engines.lifecycle import Event, State
from server.engines.standing import Standing
from server.errors import EngineUnready, StoreError

E = Event


def standing(*story: Event, progress: float | None = None) -> Standing:
    made = Standing("nine", lambda: progress)
    for event in story:
        made.enter(event)
    return made


async def test_waiting_ends_when_it_is_ready() -> None:
    one = standing()
    waiting = [asyncio.create_task(one.wait_ready(5)) for _ in range(3)]
    for event in (E.START, E.EXITED, E.ANSWERED):
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        one.enter(event)
    await asyncio.gather(*waiting)


async def test_one_that_sleeps_is_waited_for() -> None:
    one = standing(E.START, E.ANSWERED, E.SLEPT)
    waiting = asyncio.create_task(one.wait_ready(5))
    for event in (E.START, E.ANSWERED):
        await asyncio.sleep(0)
        assert not waiting.done()
        one.enter(event)
    await waiting


@pytest.mark.parametrize(
    ("story", "message"),
    [
        ([E.START, E.STOP], "nine is draining"),
        ([E.STOP], "nine is stopped"),
        ([E.START, E.STOP, E.EXITED], "nine is stopped"),
        ([E.START, E.ANSWERED, E.SLEPT, E.EXITED], "nine is stopped"),
    ],
)
async def test_waiting_for_what_is_going_away_ends_at_once(
    story: list[Event], message: str
) -> None:
    with pytest.raises(EngineUnready, match=message):
        await standing(*story).wait_ready(None)


async def test_waiting_ends_with_the_patience() -> None:
    with pytest.raises(EngineUnready, match="nine is loading: 40% of it is in memory") as caught:
        await standing(E.START, progress=0.4).wait_ready(0.01)
    assert caught.value.retry_after


async def test_a_failure_is_told_as_it_is_and_does_not_grow_with_each_telling() -> None:
    one = standing(E.START, E.GAVE_UP)
    one.last_error = StoreError("the file is damaged")
    depths = []
    for _ in range(5):
        with pytest.raises(StoreError, match="the file is damaged") as caught:
            await one.wait_ready(None)
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


async def test_an_exit_is_given_time_to_be_noticed() -> None:
    one = standing(E.START, E.ANSWERED)
    noticing = asyncio.create_task(one.noticed())
    await asyncio.sleep(0)
    assert not noticing.done(), "still ready, but its connection broke"
    one.enter(E.EXITED)
    await asyncio.wait_for(noticing, 60)


async def test_what_was_no_exit_is_not_waited_for_long() -> None:
    await asyncio.wait_for(standing(E.START, E.ANSWERED).noticed(), 60)
    await asyncio.wait_for(standing(E.START).noticed(), 60)


async def test_changed_tells_the_next_state() -> None:
    one = standing()
    change = asyncio.create_task(one.changed())
    await asyncio.sleep(0)
    one.enter(E.START)
    assert await change is State.STARTING
    assert one.seconds < 5
