"""Who may use an engine's slots next.

An engine works on a fixed number of sequences at once: its slots. Requests beyond them wait here,
not inside the engine, so that waiting is bounded, fair, and ends when the client leaves:

- Clients take turns (round robin); a client's own requests are served in the order they came.
- A request that needs several slots (`n` completions) is never overtaken by a smaller one.
- At most `limit` requests wait. When that many do, a client with far more of them waiting than the
  newcomer loses its newest one (longest-queue drop, as in McKenney's stochastic fairness
  queueing); otherwise the newcomer is turned away. One busy client cannot lock others out.

While the engine is not ready the queue is paused: requests wait in it as if every slot were busy,
so that waiting for a load or a restart is bounded and fair as well.

Every operation is O(1), and taking a free slot neither suspends nor creates a task. Belongs to one
event loop; not thread-safe.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from types import TracebackType

from server.errors import HoldfastError, Overloaded, RequestError

_FIRST_ESTIMATE = 5.0  # seconds; until a request of this engine has finished
_WEIGHT = 0.2  # of the newest observation in the moving average


class Lease:
    """A request's claim on `count` slots: `async with queue.acquire(client): ...`.

    Entering waits for the slots; leaving gives them back, whatever happened inside. `release` may
    be called earlier, and more than once.
    """

    __slots__ = ("_held", "_queue", "_since", "_turn", "client", "count")

    def __init__(self, queue: SlotQueue, client: str, count: int) -> None:
        self._queue = queue
        self._turn: asyncio.Future[None] | None = None
        self._held = False
        self._since = 0.0
        self.client = client
        self.count = count

    def take(self) -> bool:
        """Have them at once, if they are free and nobody waits; then nothing is to be entered."""
        return self._held or self._queue._take(self)

    async def __aenter__(self) -> Lease:
        if not self.take():
            await self._queue._wait(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the slots back; no effect if they are not held."""
        if self._held:
            self._held = False
            self._queue._give_back(self)


class SlotQueue:
    """The slots of one engine and the requests that wait for them.

    `slots`: sequences the engine works on at once. `limit`: requests that may wait. `clock`:
    monotonic seconds.
    """

    def __init__(
        self, slots: int, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if slots < 1 or limit < 0:
            raise ValueError(f"slots {slots} and limit {limit} must be at least 1 and 0")
        self.slots = slots
        self.limit = limit
        self._clock = clock
        self._free = slots
        self._waiting = 0
        self._lines: OrderedDict[str, OrderedDict[Lease, None]] = OrderedDict()
        """Each waiting client's requests; the client whose turn is next stands first."""
        self._depths: dict[int, dict[str, None]] = {}
        """Clients by the number of their waiting requests."""
        self._deepest = 0
        self._mean_service: float | None = None
        self._refusal: HoldfastError | None = None
        self._paused = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.on_quiet: Callable[[], None] | None = None
        """Called whenever no request runs any more."""

    @property
    def running(self) -> int:
        """Slots in use."""
        return self.slots - self._free

    @property
    def waiting(self) -> int:
        """Requests that wait for slots."""
        return self._waiting

    def retry_after(self) -> int:
        """Whole seconds, 1 to 60, until the requests now waiting should have been served."""
        mean = _FIRST_ESTIMATE if self._mean_service is None else self._mean_service
        return min(60, max(1, math.ceil((self._waiting + 1) * mean / self.slots)))

    def ahead(self, client: str) -> int:
        """How many of those that wait are served before the next request of `client`: as clients
        take turns, as many of each other one as it then has itself, if so many wait."""
        if not self._waiting:
            return 0
        turn = len(self._lines.get(client, ())) + 1
        return sum(min(depth, turn) * len(clients) for depth, clients in self._depths.items())

    def full(self, client: str) -> bool:
        """Whether a request of `client` would be turned away: the queue is full, and nobody has so
        many waiting that one of those gives way."""
        if self._waiting < self.limit or (self._free and not self._waiting and not self._paused):
            return False
        return self._deepest <= len(self._lines.get(client, ())) + 1

    def acquire(self, client: str, count: int = 1) -> Lease:
        """A claim on `count` slots for `client` (a key's id, or an address).

        Entering it raises Overloaded when the queue is full, RequestError when `count` can never
        be met, or the error that `close` or `fail_waiting` was given.
        """
        if not 1 <= count <= self.slots:
            raise self._too_many(count)
        return Lease(self, client, count)

    def _too_many(self, count: int) -> RequestError:
        return RequestError(
            f"{count} completions were asked for in one request",
            why=f"this model's engine works on {self.slots} at once",
            next_step=f"Ask for at most {self.slots}",
            param="n",
        )

    def close(self, refusal: HoldfastError) -> None:
        """Refuse every later request with `refusal`; those that already wait keep their place."""
        self._refusal = refusal

    def open(self) -> None:
        """Accept requests again."""
        self._refusal = None

    def pause(self) -> None:
        """Hand out no more slots; requests wait, up to the limit."""
        self._paused = True

    def resume(self) -> None:
        """Hand out slots again, first to those that wait."""
        self._paused = False
        self._serve_next()

    def fail_waiting(self, error: HoldfastError) -> None:
        """End the wait of every request that has no slots yet with `error`."""
        for line in list(self._lines.values()):
            for lease in list(line):
                self._turn_away(lease, error)

    def resize(self, slots: int) -> None:
        """Have `slots` from now on; requests that need more than that are turned away."""
        self._free += slots - self.slots
        self.slots = slots
        for line in list(self._lines.values()):
            for lease in [one for one in line if one.count > slots]:
                self._turn_away(lease, self._too_many(lease.count))
        if not self._paused:
            self._serve_next()

    async def idle(self) -> None:
        """Return when no request runs or waits."""
        while self._free < self.slots or self._waiting:
            self._idle.clear()
            await self._idle.wait()

    async def quiet(self) -> None:
        """Return when no request runs; in a paused queue some may wait."""
        while self._free < self.slots:
            self._idle.clear()
            await self._idle.wait()

    def _take(self, lease: Lease) -> bool:
        if self._refusal is not None:
            raise copy(self._refusal)  # each its own: a traceback keeps a request alive
        if self._waiting or self._paused or lease.count > self._free:
            return False
        self._hand_over(lease)
        return True

    async def _wait(self, lease: Lease) -> None:
        if self._waiting >= self.limit:
            self._make_room(lease.client)
        lease._turn = asyncio.get_running_loop().create_future()
        self._stand_in_line(lease)
        try:
            await lease._turn
        except BaseException:
            # The turn may have come in the same pass of the loop in which the task was cancelled.
            if lease._held:
                lease.release()
            else:
                self._leave_line(lease)
                self._serve_next()
            raise

    def _make_room(self, client: str) -> None:
        error = Overloaded(
            "the queue of this model is full",
            why=f"{self.running} of {self.slots} slots are in use, {self._waiting} requests wait",
            next_step="Retry later",
            retry_after=self.retry_after(),
        )
        own = len(self._lines.get(client, ()))
        if self._deepest <= own + 1:
            raise error
        crowder = next(iter(self._depths[self._deepest]))
        self._turn_away(next(reversed(self._lines[crowder])), error)

    def _turn_away(self, lease: Lease, error: HoldfastError) -> None:
        self._leave_line(lease)
        turn = lease._turn
        if turn is not None and not turn.done():
            turn.set_exception(copy(error))
            turn.exception()  # seen here: a task cancelled in this very pass will not look at it

    def _stand_in_line(self, lease: Lease) -> None:
        line = self._lines.setdefault(lease.client, OrderedDict())
        line[lease] = None
        self._waiting += 1
        self._move(lease.client, len(line) - 1, len(line))

    def _leave_line(self, lease: Lease) -> None:
        line = self._lines.get(lease.client)
        if line is None or lease not in line:
            return
        del line[lease]
        self._waiting -= 1
        self._move(lease.client, len(line) + 1, len(line))
        if not line:
            del self._lines[lease.client]
        self._note_idle()

    def _move(self, client: str, old: int, new: int) -> None:
        """Keep `_depths` and `_deepest` true as a client's line grows or shrinks by one."""
        if old:
            del self._depths[old][client]
        if new:
            self._depths.setdefault(new, {})[client] = None
        if new > self._deepest or (old == self._deepest and not self._depths[old]):
            self._deepest = new

    def _serve_next(self) -> None:
        while self._lines and not self._paused:
            client, line = next(iter(self._lines.items()))
            lease = next(iter(line))
            turn = lease._turn
            assert turn is not None
            if turn.done():  # cancelled; its task has not run yet
                self._leave_line(lease)
                continue
            if lease.count > self._free:
                return
            self._leave_line(lease)
            if client in self._lines:
                self._lines.move_to_end(client)
            self._hand_over(lease)
            turn.set_result(None)

    def _hand_over(self, lease: Lease) -> None:
        self._free -= lease.count
        lease._held = True
        lease._since = self._clock()

    def _give_back(self, lease: Lease) -> None:
        served = self._clock() - lease._since
        mean = self._mean_service
        self._mean_service = served if mean is None else mean + _WEIGHT * (served - mean)
        self._free += lease.count
        if self._waiting:
            self._serve_next()
        self._note_idle()

    def _note_idle(self) -> None:
        if self._free == self.slots:
            self._idle.set()
            if self.on_quiet is not None:
                self.on_quiet()
