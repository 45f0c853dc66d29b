"""The plan of a careful administrator: one model after the other, each where it just fits.

Pinned models come first, then the more capable ones. Each gets the smallest option that is as good
as it can be to lead, on the GPUs that it leaves the least of; then, in the same order, what is left
makes each of them faster. It is the solver's first solution, and what its plans are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from server.planning.alike import Group, alike, moved
from server.planning.candidate import Candidate, candidates, placed
from server.planning.demand import Demand
from server.planning.device import RAM_ID
from server.planning.plan import Option
from server.planning.rig import Rig
from server.planning.room import Seat, capacity, disk, over, used
from server.planning.worth import Mode, coverage, demand_seconds, lead, pace, shares

_HOLDING: tuple[Mode, ...] = ("resident", "asleep")


def greedy(options: Sequence[Option], demand: Demand, rig: Rig) -> tuple[Seat, ...]:
    """Seats that fit, in the order of the demand; wishes for which nothing fits are left out."""
    return seated(list(candidates(options, demand, shares(demand, options), rig, alike(rig))), rig)


def seated(found: Sequence[Candidate], rig: Rig) -> tuple[Seat, ...]:
    """The same, of options that were already weighed."""
    table = Table(rig)
    order = _order(found)
    for position in order:
        table.seat(_by_size(c for c in found if c.position == position))
    for position in order:
        table.improve(_by_pace(c for c in found if c.position == position))
    return settled(table, found)


def settled(table: Table, found: Sequence[Candidate]) -> tuple[Seat, ...]:
    """The seats in the order of the demand, each model on demand with its fastest option: one that
    is loaded beside the others, or one that takes turns with them, whichever is expected to answer
    sooner."""
    for position, seat in list(table.seats.items()):
        if seat.mode in ("beside", "in turn"):
            table.settle([c for c in found if c.position == position])
    return tuple(table.seats[position] for position in sorted(table.seats))


def _order(found: Sequence[Candidate]) -> list[int]:
    best: dict[int, tuple[bool, float, int]] = {}
    for c in found:
        best[c.position] = (c.wish.pin, c.option.capability, -c.position)
    return sorted(best, key=lambda position: best[position], reverse=True)


def _by_size(found: Iterator[Candidate]) -> list[Candidate]:
    """The best to lead first; of equal ones the smallest."""

    def key(c: Candidate) -> tuple[int, int, str]:
        return (-lead(c.option, c.wish), c.size, c.option.deployment.key)

    return sorted(found, key=key)


def _by_pace(found: Iterator[Candidate]) -> list[Candidate]:
    def key(c: Candidate) -> tuple[int, int, str]:
        return (-pace(c.option, c.share, "resident"), c.size, c.option.deployment.key)

    return sorted(found, key=key)


@dataclass
class Table:
    """Who sits where so far, by the position of the wish."""

    rig: Rig
    seats: dict[int, Seat] = field(default_factory=dict)

    def seat(self, choice: Sequence[Candidate]) -> None:
        """The first candidate that fits, in full precision if any does so, then resident."""
        modes: tuple[Mode, ...] = ("resident", "in turn")
        for compromised, mode in product((False, True), modes):
            for c in choice:
                if c.compromised is compromised and mode in c.modes:
                    seat = self._fitting(c, mode)
                    if seat is not None:
                        self.seats[c.position] = seat
                        return

    def improve(self, choice: Sequence[Candidate]) -> None:
        """The fastest candidate that fits in the same mode and is no worse otherwise."""
        if not choice or (now := self.seats.get(choice[0].position)) is None:
            return
        for c in choice:
            if pace(c.option, c.share, now.mode) <= pace(now.option, now.share, now.mode):
                return
            if c.compromised > _compromised(now, choice):
                continue
            if _merit(c.option, now) < _merit(now.option, now):
                continue
            if (seat := self._fitting(c, now.mode)) is not None:
                self.seats[c.position] = seat
                return

    def settle(self, choice: Sequence[Candidate]) -> None:
        """The candidate on demand that is expected to answer soonest, and covers no less."""
        now = self.seats[choice[0].position]
        best: tuple[float, Seat] | None = None
        modes: tuple[Mode, ...] = ("beside", "in turn")
        for mode in modes:
            for seconds, c in sorted(
                ((demand_seconds(c.option, mode), c) for c in choice),
                key=lambda pair: (pair[0], pair[1].size, pair[1].option.deployment.key),
            ):
                if best is not None and seconds >= best[0]:
                    break
                if coverage(c.option, c.wish, mode) < coverage(now.option, now.wish, now.mode):
                    continue
                if c.compromised > _compromised(now, choice):
                    continue
                if (seat := self._fitting(c, mode)) is not None:
                    best = seconds, seat
                    break
        if best is not None:
            self.seats[choice[0].position] = best[1]

    def _fitting(self, c: Candidate, mode: Mode) -> Seat | None:
        """The candidate on the GPUs that it leaves the least of."""
        others = [seat for position, seat in self.seats.items() if position != c.position]
        beside = [seat for seat in others if mode != "in turn" or seat.wish.pin]
        taken = used(beside, self.rig)
        free = {pool: size - taken[pool] for pool, size in capacity(self.rig).items()}
        chosen: dict[Group, list[str]] = {}
        for need in c.needs:
            own = [gpu for gpu in need.group if free.get(gpu, need.size) >= need.size]
            own.sort(key=lambda gpu: (free.get(gpu, 0), need.group.index(gpu)))
            if len(own) < need.count:
                return None
            chosen[need.group] = sorted(own[: need.count], key=need.group.index)
        if c.ram > free[RAM_ID]:
            return None
        seat = Seat(c.wish, c.share, moved(c.option, placed(c, chosen)), mode)
        # What is on demand is not loaded together; where each of it may go is settled by itself.
        there = others if mode == "resident" else [o for o in others if o.mode in _HOLDING]
        is_possible = not over([*there, seat], self.rig)
        return seat if is_possible and disk([*others, seat]) <= self.rig.disk_free else None


def _merit(option: Option, seat: Seat) -> tuple[int, int]:
    return lead(option, seat.wish), coverage(option, seat.wish, seat.mode)


def _compromised(seat: Seat, choice: Sequence[Candidate]) -> bool:
    """Whether the seat's own candidate is, which may have been moved to other GPUs since."""
    kept, cache = seat.option.retention, seat.option.deployment.kv_type
    return any(
        c.compromised
        for c in choice
        if (c.option.retention, c.option.deployment.kv_type) == (kept, cache)
    )
