"""Goals brought to their best one after the other by CP-SAT, within one budget of its work.

One worker, a fixed seed and a budget in the solver's own count: the same question has the same
answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.planning.alike import alike, canonical
from server.planning.candidate import Candidate
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.device import RAM_ID
from server.planning.packing import Packing, Way
from server.planning.pricing import Offer, limits
from server.planning.rig import Rig
from server.planning.room import Seat, capacity, score
from server.planning.worth import Mode, coverage, pace

_LEAST = 0.5
"""What each goal gets at least, whatever those before it took."""
_LEAST_GAP = 1e-6
_FEW = 20
"""Choices for each wish that are tried before all others."""
_TRIAL = 1.0
"""Of the solver's work."""
_WALL_FACTOR = 6.0
"""A machine so much slower than the solver's own clock assumes still gives the same plan."""


class Search:
    """Goals brought to their best one after the other, within one budget of work."""

    def __init__(
        self,
        found: Sequence[Candidate],
        demand: Demand,
        rig: Rig,
        running: Sequence[Deployment],
        start: Sequence[Seat],
        seconds: float,
    ) -> None:
        self._found = found
        self._demand = demand
        self._rig = rig
        self._running = running
        self._left = seconds
        self._alike = alike(rig)
        self._by_shape = {(c.option.deployment, c.wish): c for c in found}
        positions = {wish: position for position, wish in enumerate(demand.wishes)}
        self.seats: Mapping[int, Seat] = {positions[seat.wish]: seat for seat in start}
        """The best so far, by the position of the wish."""
        self._last: tuple[Packing, tuple[int, ...]] | None = None
        """The model that was solved last, and the values of all its variables."""
        self.values: dict[str, int] = {}
        """What each goal was brought to."""
        self.infeasible = False
        self.proven = True
        self.gap = 0.0

    def packing(self, ways: Sequence[Way]) -> Packing:
        """A model of these choices, in which the goals so far are held at what they reached."""
        packing = Packing(ways, self._demand, self._rig, self._running)
        for name, value in self.values.items():
            packing.model.add(packing.goal(name) >= value)
        return packing

    def fastest(self, ways: Sequence[Way]) -> None:
        """The goals from pace on, with these choices.

        A few for each wish are tried at first: beside the plan that they give, most others cannot
        be part of a better one.
        """
        limits = self._limits(ways)
        few = set(_most_promising(ways, limits))
        trial = self.packing([ways[number] for number in sorted(few)])
        is_best = self._tried(trial, "pace")
        self.values["pace"] = self.score()["pace"]
        left = [n for n, limit in enumerate(limits) if limit >= self.values["pace"]]
        packing = self.packing([ways[number] for number in left])
        is_known = is_best and few.issuperset(left)
        # As one number, so that what cannot be as fast need not be ruled out twice.
        self.maximize(packing, "headroom" if is_known else "pace and headroom")

    def _limits(self, ways: Sequence[Way]) -> list[float]:
        """What the pace of a plan with each of them is at most."""
        offers = [self._offer(c, mode) for c, mode in ways]
        pools = [1.0] * (len(self._alike.by_kind) + 1)
        least = self.values["coverage"]
        optional = frozenset(
            position
            for position, wish in enumerate(self._demand.wishes)
            if self._demand.auto and not wish.pin
        )
        return limits(offers, optional, [*pools, -least / max(1, least)], self.score()["pace"])

    def _offer(self, c: Candidate, mode: Mode) -> Offer:
        """Its parts of each kind of GPU, of RAM, and of the coverage, to which it adds."""
        needs, ram = c.holds(mode)
        free = capacity(self._rig)
        parts = []
        for kind in self._alike.by_kind:
            taken = sum(need.count * need.size for need in needs if set(need.group) <= set(kind))
            parts.append(taken / max(1, sum(free.get(gpu, 0) for gpu in kind)))
        parts.append(ram / max(1, free[RAM_ID]))
        parts.append(-coverage(c.option, c.wish, mode) / max(1, self.values["coverage"]))
        return Offer(c.position, pace(c.option, c.share, mode), tuple(parts))

    def maximize(self, packing: Packing, name: str, most: int | None = None) -> bool:
        """Whether there is a solution at all. The goal is held at its best from then on.

        `most`: what the goal cannot exceed: where the best plan so far reaches it, there is nothing
        to search for.
        """
        if most is not None and self.is_whole() and self.score()[name] == most:
            self._hold(packing, name, most)
            return True
        solver, status = self._solved(packing, name, self._left)
        if status == "INFEASIBLE":
            self.infeasible, self.proven, self.gap = True, False, 1.0
            return False
        found = status in ("OPTIMAL", "FEASIBLE")
        best = round(solver.objective_value) if found else packing.worth(name, self.score())
        if status != "OPTIMAL" and self.proven:
            self.proven = False
            bound = solver.best_objective_bound
            self.gap = max(_LEAST_GAP, (bound - best) / max(1.0, abs(bound)))
        if not found and not self.is_whole():
            return False
        self._hold(packing, name, best)
        if found:
            self._take(packing, solver)
        return True

    def _tried(self, packing: Packing, name: str) -> bool:
        """Whether the best plan of the packing is known from now on. It is taken if it is better
        than the best so far."""
        solver, status = self._solved(packing, name, min(_TRIAL, self._left))
        found = status in ("OPTIMAL", "FEASIBLE")
        if found and round(solver.objective_value) >= self.score()[name]:
            self._take(packing, solver)
        return status == "OPTIMAL"

    def _solved(self, packing: Packing, name: str, seconds: float) -> tuple[Any, str]:
        """The solver after its work, and how that ended."""
        if self._last is not None and self._last[0] is packing:
            packing.hint_all(self._last[1])
        else:
            packing.hint(self.seats.values(), self._candidate)
        packing.model.maximize(packing.goal(name))
        solver = _solver(seconds)
        status = solver.status_name(solver.solve(packing.model))
        self._left = max(_LEAST, self._left - solver.deterministic_time)
        return solver, status

    def _hold(self, packing: Packing, name: str, value: int) -> None:
        self.values[name] = value
        packing.model.add(packing.goal(name) >= value)

    def _take(self, packing: Packing, solver: Any) -> None:
        self.seats = packing.seats(solver.value)
        self._last = packing, tuple(solver.response_proto.solution)

    def score(self) -> Mapping[str, int]:
        return dict(score(list(self.seats.values()), self._demand, self._rig, self._running))

    def is_whole(self) -> bool:
        """Whether the best plan so far serves all that must be served."""
        return all(
            position in self.seats and (not wish.pin or self.seats[position].mode == "resident")
            for position, wish in enumerate(self._demand.wishes)
            if wish.pin or not self._demand.auto
        )

    def _candidate(self, seat: Seat) -> Candidate:
        return self._by_shape[canonical(seat.option.deployment, self._alike), seat.wish]


def _solver(seconds: float) -> Any:
    """One worker and a fixed seed: the same question has the same answer."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    # Probing each of a thousand choices costs more here than it tells (measured: a third); linear
    # relaxations of all constraints tell more than they cost (the hardest: 18 % of a gap, or none).
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = seconds
    solver.parameters.max_time_in_seconds = seconds * _WALL_FACTOR
    return solver


def _most_promising(ways: Sequence[Way], limits: Sequence[float]) -> Iterator[int]:
    """The numbers of those choices for each wish with which a plan may be worth most."""
    by_position: dict[int, list[int]] = {}
    for number in sorted(range(len(ways)), key=lambda number: -limits[number]):
        by_position.setdefault(ways[number][0].position, []).append(number)
    for numbers in by_position.values():
        yield from numbers[:_FEW]
