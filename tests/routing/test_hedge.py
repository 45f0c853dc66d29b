from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from server.routing.hedge import first_to_begin

Asked = Callable[[], Coroutine[Any, Any, str | None]]


class Course:
    """Two targets that do as they are told, and what became of them."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.go = {"first": asyncio.Event(), "second": asyncio.Event()}
        self.begun = {"first": asyncio.Event(), "second": asyncio.Event()}

    def target(self, name: str, error: Exception | None = None, *, fails: bool = False) -> Asked:
        async def ask() -> str | None:
            self.told.append(f"{name} asked")
            self.begun[name].set()
            try:
                await self.go[name].wait()
            except asyncio.CancelledError:
                self.told.append(f"{name} cancelled")
                raise
            if error is not None:
                raise error
            return None if fails else name

        return ask

    async def drop(self, result: str) -> None:
        self.told.append(f"{result} dropped")

    def run(self, first: Asked, second: Asked, after: float, may: bool = True) -> Any:
        return asyncio.create_task(first_to_begin(first, second, after, lambda: may, self.drop))


async def test_a_quick_first_is_alone() -> None:
    course = Course()
    course.go["first"].set()
    assert await course.run(course.target("first"), course.target("second"), 60) == "first"
    assert course.told == ["first asked"]


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_of_two_the_first_to_begin_answers_and_the_other_is_cancelled(winner: str) -> None:
    course = Course()
    running = course.run(course.target("first"), course.target("second"), 0)
    await course.begun["second"].wait()
    course.go[winner].set()
    assert await running == winner
    loser = {"first": "second", "second": "first"}[winner]
    assert course.told == ["first asked", "second asked", f"{loser} cancelled"]


async def test_of_two_at_once_the_first_answers_and_the_other_is_dropped() -> None:
    course = Course()
    running = course.run(course.target("first"), course.target("second"), 0)
    await course.begun["second"].wait()
    course.go["second"].set()
    course.go["first"].set()
    assert await running == "first"
    assert course.told == ["first asked", "second asked", "second dropped"]


async def test_where_it_may_not_hedge_the_first_is_waited_for() -> None:
    course = Course()
    running = course.run(course.target("first"), course.target("second"), 0, may=False)
    await course.begun["first"].wait()
    await asyncio.sleep(0.02)
    course.go["first"].set()
    assert await running == "first"
    assert course.told == ["first asked"]


@pytest.mark.parametrize("may", [True, False])
async def test_a_first_that_fails_leaves_it_to_the_second(may: bool) -> None:
    course = Course()
    for event in course.go.values():
        event.set()
    failing = course.target("first", fails=True)
    assert await course.run(failing, course.target("second"), 60, may) == "second"
    assert course.told == ["first asked", "second asked"]


async def test_a_hedge_that_fails_leaves_it_to_the_first() -> None:
    course = Course()
    failing = course.target("second", fails=True)
    running = course.run(course.target("first"), failing, 0)
    await course.begun["second"].wait()
    course.go["second"].set()
    await asyncio.sleep(0.02)
    course.go["first"].set()
    assert await running == "first"


@pytest.mark.parametrize("after", [0, 60])
async def test_where_both_fail_there_is_nothing(after: float) -> None:
    course = Course()
    first, second = course.target("first", fails=True), course.target("second", fails=True)
    running = course.run(first, second, after)
    await course.begun["first"].wait()
    for event in course.go.values():
        event.set()
    assert await running is None
    assert course.told == ["first asked", "second asked"]


async def test_a_bug_is_not_covered_up_by_the_second() -> None:
    course = Course()
    course.go["first"].set()
    with pytest.raises(ZeroDivisionError):
        await course.run(course.target("first", ZeroDivisionError()), course.target("second"), 60)
    assert course.told == ["first asked"]


async def test_who_leaves_cancels_both() -> None:
    course = Course()
    running = course.run(course.target("first"), course.target("second"), 0)
    await course.begun["second"].wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(course.told[2:]) == ["first cancelled", "second cancelled"]


async def test_who_leaves_just_as_it_begins_has_it_dropped() -> None:
    course = Course()
    running = course.run(course.target("first"), course.target("second"), 60)
    await course.begun["first"].wait()
    course.go["first"].set()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert course.told in (
        ["first asked", "first dropped"],
        ["first asked", "first cancelled"],
    )


@pytest.mark.parametrize("winner", ["first", "second"])
async def test_who_leaves_while_the_late_one_ends_loses_nothing(winner: str) -> None:
    """The late one takes its time to end; what was won has nobody any more, and is dropped."""
    course = Course()
    ending = asyncio.Event()
    loser = {"first": "second", "second": "first"}[winner]

    def slow_to_end(name: str) -> Asked:
        ask = course.target(name)

        async def asked() -> str | None:
            try:
                return await ask()
            except asyncio.CancelledError:
                ending.set()
                await asyncio.sleep(0.05)
                course.told.append(f"{name} ended")
                raise

        return asked

    running = course.run(slow_to_end("first"), slow_to_end("second"), 0)
    await course.begun["second"].wait()
    course.go[winner].set()
    await ending.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert course.told[2:] == [f"{loser} cancelled", f"{loser} ended", f"{winner} dropped"]
