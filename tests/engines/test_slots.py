"""The slot queue against a naive model of it, and the promises in its docstring one by one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from server.engines.slots import Lease, SlotQueue
from server.errors import EngineUnready, Overloaded, RequestError


class Request:
    """A task that takes a lease, and holds it until told to finish."""

    def __init__(self, queue: SlotQueue, client: str, count: int = 1) -> None:
        self.client = client
        self.count = count
        self.served = False
        self.finish = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(queue.acquire(client, count)))

    async def _run(self, lease: Lease) -> None:
        async with lease:
            self.served = True
            await self.finish.wait()

    @property
    def waits(self) -> bool:
        return not self.served and not self.task.done()

    @property
    def runs(self) -> bool:
        return self.served and not self.task.done()


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def arrive(queue: SlotQueue, *clients: str, count: int = 1) -> list[Request]:
    requests = []
    for client in clients:
        requests.append(Request(queue, client, count))
        await settle()
    return requests


async def served_order(queue: SlotQueue, requests: list[Request]) -> list[str]:
    """Clients in the order in which their requests get the one slot, each finishing at once."""
    order: list[str] = []
    seen: set[int] = set()
    while any(request.waits or request.runs for request in requests):
        for index, request in enumerate(requests):
            if request.runs and index not in seen:
                seen.add(index)
                order.append(request.client)
                request.finish.set()
        await settle()
    return order


async def test_clients_take_turns_and_their_own_requests_keep_their_order() -> None:
    queue = SlotQueue(1, 16)
    requests = await arrive(queue, *"aaaabbc")
    assert await served_order(queue, requests) == ["a", "a", "b", "c", "a", "b", "a"]


async def test_a_large_request_is_not_starved_by_small_ones() -> None:
    queue = SlotQueue(2, 16)
    (first, second) = await arrive(queue, "a", "a")
    (large,) = await arrive(queue, "b", count=2)
    (small,) = await arrive(queue, "c")
    first.finish.set()
    await settle()
    assert large.waits
    assert small.waits, "a slot is free, but the larger request's turn comes first"
    second.finish.set()
    await settle()
    assert large.runs
    large.finish.set()
    await settle()
    assert small.runs
    small.finish.set()


async def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    now = 0.0
    queue = SlotQueue(1, 2, clock=lambda: now)
    (first,) = await arrive(queue, "a")
    now = 8.0
    first.finish.set()
    await settle()
    requests = await arrive(queue, *"aaa")
    (refused,) = await arrive(queue, "a")
    error = refused.task.exception()
    assert isinstance(error, Overloaded)
    assert error.status == 429
    assert error.retry_after == 24, "three requests of 8 s come before it"
    await cancel(requests)


@pytest.mark.parametrize(("served", "expected"), [(0.0, 1), (0.01, 1), (7.2, 8), (900.0, 60)])
async def test_retry_after_is_whole_seconds_from_1_to_60(served: float, expected: int) -> None:
    now = 0.0
    queue = SlotQueue(1, 0, clock=lambda: now)
    (request,) = await arrive(queue, "a")
    now = served
    request.finish.set()
    await settle()
    assert queue.retry_after() == expected


async def test_a_crowding_client_makes_room_for_another() -> None:
    queue = SlotQueue(1, 4)
    crowd = await arrive(queue, *"aaaaa")
    (other,) = await arrive(queue, "b")
    assert other.waits
    assert isinstance(crowd[-1].task.exception(), Overloaded), "its newest request gives way"
    assert [request.waits for request in crowd[1:4]] == [True] * 3
    (more, yet) = await arrive(queue, "b", "b")
    assert more.waits
    assert isinstance(yet.task.exception(), Overloaded), "two of each wait: nobody crowds"
    await cancel([*crowd, other, more])


@pytest.mark.parametrize(
    ("waiting", "client", "ahead"),
    [
        ("", "a", 0),
        ("a", "a", 1),
        ("aaa", "a", 3),
        ("aaa", "b", 1),
        ("aaabbc", "c", 2 + 2 + 1),
        ("aaabbc", "d", 3),
    ],
)
async def test_it_tells_how_many_go_before_a_client_s_next(
    waiting: str, client: str, ahead: int
) -> None:
    queue = SlotQueue(1, 64)
    requests = await arrive(queue, "x", *waiting)
    assert queue.ahead(client) == ahead
    newcomer = await arrive(queue, client)
    order = (await served_order(queue, [*requests, *newcomer]))[1:]
    assert len(order) - 1 - order[::-1].index(client) == ahead


@pytest.mark.parametrize(
    ("slots", "limit", "running", "waiting", "full"),
    [
        (1, 2, "x", "", ""),
        (1, 2, "x", "a", ""),
        (1, 2, "x", "aa", "a"),
        (1, 3, "x", "aaa", "a"),
        (1, 2, "x", "ab", "abc"),
        (2, 0, "x", "", ""),
        (1, 0, "x", "", "abc"),
    ],
)
async def test_it_tells_whom_it_would_turn_away(
    slots: int, limit: int, running: str, waiting: str, full: str
) -> None:
    queue = SlotQueue(slots, limit)
    requests = await arrive(queue, *running, *waiting)
    told = {client for client in "abc" if queue.full(client)}
    assert told == set(full)
    for client in "abc":
        if client in told:
            with pytest.raises(Overloaded):
                await queue.acquire(client).__aenter__()
    await cancel(requests)


async def test_cancelled_in_the_pass_in_which_its_turn_comes() -> None:
    queue = SlotQueue(1, 4)
    running, waiting, third = await arrive(queue, "a", "b", "c")
    running.finish.set()
    await asyncio.sleep(0)  # `running` gives its slot to `waiting`, whose task has not run yet
    assert queue.running == 1
    waiting.task.cancel()
    await settle()
    assert not waiting.served
    assert third.runs
    third.finish.set()
    await settle()
    assert (queue.running, queue.waiting) == (0, 0)


async def test_a_cancelled_large_request_lets_those_behind_it_pass() -> None:
    queue = SlotQueue(2, 4)
    (running,) = await arrive(queue, "a")
    (large,) = await arrive(queue, "b", count=2)
    (small,) = await arrive(queue, "c")
    large.task.cancel()
    await settle()
    assert small.runs
    await cancel([running, small])


async def test_paused_it_queues_and_resumed_it_serves() -> None:
    queue = SlotQueue(2, 4)
    queue.pause()
    requests = await arrive(queue, "a", "b", "c")
    assert (queue.running, queue.waiting) == (0, 3)
    queue.resume()
    await settle()
    assert (queue.running, queue.waiting) == (2, 1)
    await cancel(requests)


async def test_closed_it_refuses_newcomers_and_serves_those_that_wait() -> None:
    queue = SlotQueue(1, 4)
    running, waiting = await arrive(queue, "a", "b")
    queue.close(EngineUnready("stopping"))
    (late,) = await arrive(queue, "c")
    assert isinstance(late.task.exception(), EngineUnready)
    running.finish.set()
    await settle()
    assert waiting.runs
    idle = asyncio.ensure_future(queue.idle())
    await settle()
    assert not idle.done()
    waiting.finish.set()
    await settle()
    assert idle.done()


async def test_a_paused_queue_is_quiet_when_nothing_runs_though_some_wait() -> None:
    queue = SlotQueue(2, 4)
    running, other = await arrive(queue, "a", "b")
    queue.pause()
    (waiting,) = await arrive(queue, "c")
    quiet, idle = asyncio.ensure_future(queue.quiet()), asyncio.ensure_future(queue.idle())
    running.finish.set()
    await settle()
    assert not quiet.done()
    other.finish.set()
    await settle()
    assert quiet.done()
    assert waiting.waits
    assert not idle.done()
    queue.resume()
    waiting.finish.set()
    await settle()
    assert idle.done()


async def test_fail_waiting_ends_every_wait_and_no_run() -> None:
    queue = SlotQueue(1, 4)
    running, *waiting = await arrive(queue, *"abbc")
    queue.fail_waiting(EngineUnready("gone"))
    await settle()
    errors = [request.task.exception() for request in waiting]
    assert all(isinstance(error, EngineUnready) and error.what == "gone" for error in errors)
    assert len({id(error) for error in errors}) == 3, "no traceback is shared"
    assert running.runs
    assert (queue.running, queue.waiting) == (1, 0)
    await cancel([running])


async def test_more_slots_than_there_are_is_the_clients_error() -> None:
    with pytest.raises(RequestError, match="at most 2") as caught:
        SlotQueue(2, 4).acquire("a", 3)
    assert caught.value.param == "n"


async def test_resized_it_serves_by_the_new_number_and_turns_away_what_is_too_large() -> None:
    queue = SlotQueue(2, 8)
    queue.pause()
    large, *small = await arrive(queue, "a", count=2) + await arrive(queue, "b", "c", "d")
    queue.resize(1)
    queue.resume()
    await settle()
    with pytest.raises(RequestError, match="works on 1 at once"):
        await large.task
    assert [request.served for request in small] == [True, False, False]
    queue.resize(3)
    await settle()
    assert all(request.served for request in small)
    await cancel(small)
    assert queue.running == 0


async def test_it_tells_when_nothing_runs_any_more() -> None:
    queue, told = SlotQueue(2, 8), []
    queue.on_quiet = lambda: told.append(queue.waiting)
    requests = await arrive(queue, "a", "b", "c")
    for request in requests:
        assert told == []
        request.finish.set()
        await settle()
    assert told == [0]


async def test_taking_a_free_slot_is_cheap_and_makes_no_task() -> None:
    queue = SlotQueue(4, 4)
    rounds = 2000
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        for _ in range(rounds):
            async with queue.acquire("a"):
                pass
        best = min(best, time.thread_time() - began)
    assert len(asyncio.all_tasks()) == 1
    assert best / rounds < 20e-6, "a few microseconds, with room for a busy machine"


async def cancel(requests: list[Request]) -> None:
    for request in requests:
        request.task.cancel()
    await asyncio.gather(*(request.task for request in requests), return_exceptions=True)


class QueueMachine(RuleBasedStateMachine):
    """Arrivals, departures, cancellations and pauses in any order, against a list-based model."""

    requests: Bundle[Request] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.all: list[Request] = []
        self.turns: list[str] = []
        self.paused = False

    @initialize(slots=st.integers(1, 4), limit=st.integers(0, 5))
    def begin(self, slots: int, limit: int) -> None:
        self.queue = SlotQueue(slots, limit)

    @rule(target=requests, client=st.sampled_from("abc"), count=st.integers(1, 4))
    def arrive(self, client: str, count: int) -> Request:
        return self.loop.run_until_complete(self._arrive(client, min(count, self.queue.slots)))

    async def _arrive(self, client: str, count: int) -> Request:
        before = [request for request in self.all if request.waits]
        free = self.queue.slots - self._in_use()
        request = Request(self.queue, client, count)
        await settle()
        self.all.append(request)
        if not before and not self.paused and count <= free:
            assert request.runs
            return request
        depths = Counter(waiting.client for waiting in before)
        if len(before) < self.queue.limit:
            assert request.waits
        elif max(depths.values(), default=0) <= depths[client] + 1:
            assert isinstance(request.task.exception(), Overloaded)
            return request
        else:
            (gone,) = [one for one in before if not one.waits]
            assert depths[gone.client] == max(depths.values())
            assert isinstance(gone.task.exception(), Overloaded)
            assert not any(one.client == gone.client for one in before[before.index(gone) + 1 :])
            assert request.waits
        if client not in self.turns:
            self.turns.append(client)
        return request

    @rule(request=consumes(requests), cancel=st.booleans())
    def leave(self, request: Request, cancel: bool) -> None:
        if cancel or not request.served:
            request.task.cancel()
        else:
            request.finish.set()
        self._follow_turns()

    @rule(leaving=st.lists(consumes(requests), max_size=3, unique=True))
    def leave_together(self, leaving: list[Request]) -> None:
        for request in leaving:
            request.task.cancel()
        self._follow_turns()

    @rule(pause=st.booleans())
    def pause(self, pause: bool) -> None:
        self.paused = pause
        self.queue.pause() if pause else self.queue.resume()
        self._follow_turns()

    def _follow_turns(self) -> None:
        """Let the loop run, and hold what was served against the order of turns."""
        waited = [request for request in self.all if request.waits]
        self.loop.run_until_complete(settle())
        served = [request for request in waited if request.served]
        waited = [request for request in waited if not request.task.cancelled()]
        self.turns = [c for c in self.turns if any(request.client == c for request in waited)]
        while served:
            client = self.turns.pop(0)
            request = next(one for one in waited if one.client == client)
            assert request in served, f"{client} was next"
            waited.remove(request)
            served.remove(request)
            if any(one.client == client for one in waited):
                self.turns.append(client)

    def _in_use(self) -> int:
        return sum(request.count for request in self.all if request.runs)

    @invariant()
    def slots_are_neither_lost_nor_given_twice(self) -> None:
        if not hasattr(self, "queue"):
            return
        waiting = [request for request in self.all if request.waits]
        assert self.queue.running == self._in_use() <= self.queue.slots
        assert self.queue.waiting == len(waiting) <= self.queue.limit
        if waiting and not self.paused:
            head = next(one for one in waiting if one.client == self.turns[0])
            assert head.count > self.queue.slots - self._in_use(), "it could have been served"

    def teardown(self) -> None:
        self.loop.run_until_complete(cancel(self.all))
        if hasattr(self, "queue"):
            assert (self.queue.running, self.queue.waiting) == (0, 0)
            assert not self.queue._lines
            assert self.queue._deepest == 0
            self.loop.run_until_complete(asyncio.wait_for(self.queue.idle(), 60))
        self.loop.close()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=120, stateful_step_count=40)
