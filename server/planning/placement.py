"""The best plan there is: CP-SAT over all options, one goal after the other. Pure.

The goals, in order: what must be served; the most capable resident model; coverage of the others;
as little change of what runs as that allows; expected tokens per second under the demand; headroom.
Each is brought to its best before the next is looked at, and is then held there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.planning.alike import canonical, groups, side_by_side
from server.planning.candidate import Candidate, candidates, undominated
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.greedy import Table, seated, settled
from server.planning.packing import Packing
from server.planning.plan import Option, Plan, Rejection
from server.planning.reasons import plan_of
from server.planning.refusal import refusal
from server.planning.rig import Rig
from server.planning.room import Seat, fits, score
from server.planning.worth import MODES, Mode, coverage, lead, pace, shares

SECONDS = 8.0
"""Of the solver's work: most plans are proven in a tenth of it, the hardest to within 1 %."""
_LEAST = 0.5
"""What each goal gets at least, whatever those before it took."""
_LEAST_GAP = 1e-6
_WALL_FACTOR = 6.0
"""A machine so much slower than the solver's own clock assumes still gives the same plan."""


def place(
    options: Sequence[Option],
    demand: Demand,
    rig: Rig,
    *,
    running: Sequence[Deployment] = (),
    rejections: Sequence[Rejection] = (),
    seconds: float = SECONDS,
) -> Plan:
    """The best plan for `demand` on `rig`, proven so unless `seconds` of work did not suffice.

    The seconds are the solver's own count of its work, so that a busy machine plans the same. The
    deployments in `running` are left as they are where no goal before speed suffers. `rejections`
    (from `options`) go into the plan, and say why something cannot be served.

    Raises DoesNotFit where something that must be served cannot be: which, what is missing, and
    what would fit.
    """
    there = {gpu.id for gpu in rig.gpus}
    options = [option for option in options if there.issuperset(option.deployment.gpus)]
    found = solve(options, demand, rig, running=running, seconds=seconds)
    if found is None:

        def is_possible(other: Demand) -> bool:
            return solve(options, other, rig, seconds=seconds) is not None

        raise refusal(options, demand, rig, rejections, is_possible)
    return plan_of(
        found.seats, options, demand, rig,
        running=running, rejections=rejections, proven=found.proven, gap=found.gap,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Solution:
    seats: tuple[Seat, ...]
    proven: bool
    gap: float
    """Of the first stage that was not proven; 0 where all were."""


def solve(
    options: Sequence[Option],
    demand: Demand,
    rig: Rig,
    *,
    running: Sequence[Deployment] = (),
    seconds: float = SECONDS,
) -> Solution | None:
    """The best seats; None where what must be served cannot be. See `place`."""
    alike = groups(rig)
    found = list(candidates(options, demand, shares(demand, options), rig, alike))
    kept = {canonical(deployment, alike) for deployment in running}
    start = seated(found, rig)
    search = _Search(found, demand, rig, running, start, seconds)

    def is_kept(c: Candidate) -> bool:
        return c.option.deployment in kept

    leading, covered = _most_lead(found), sum(_most_covered(found).values())
    packing = search.packing(lambda c: (lead(c.option, c.wish), *_covered(c), is_kept(c)))
    if not search.maximize(packing, "lead", packing.lead(), leading):
        return None if search.infeasible else Solution(start, proven=False, gap=1.0)
    search.maximize(packing, "coverage", packing.coverage(), covered)
    if running:
        search.maximize(packing, "kept", packing.kept())
    leading, slack = search.values[0], covered - search.values[1]
    most = _most_covered(found)

    def reached(c: Candidate, mode: Mode) -> bool:
        return coverage(c.option, c.wish, mode) >= most[c.position] - slack

    packing = search.packing(
        lambda c: (lead(c.option, c.wish) >= leading, *_covered(c), is_kept(c), *_paces(c)),
        reached,
    )
    goals = (packing.lead, packing.coverage, packing.kept)
    for goal, value in zip(goals, search.values, strict=False):
        packing.model.add(goal() >= value)
    search.maximize(packing, "pace", packing.pace())
    search.maximize(packing, "headroom", packing.headroom())
    seats = settled(Table(rig, dict(search.seats)), found)
    is_better = score(seats, demand, rig, running) >= score(start, demand, rig, running)
    if not (is_better and fits(seats, rig)):
        return Solution(start, proven=False, gap=search.gap)
    if not running:  # else they would move for the looks of it
        together = side_by_side([seat.option for seat in seats], rig)
        seats = tuple(replace(seat, option=o) for seat, o in zip(seats, together, strict=True))
    return Solution(seats, proven=search.proven, gap=search.gap)


def _most_lead(found: Sequence[Candidate]) -> int:
    return max((lead(c.option, c.wish) for c in found), default=0)


def _most_covered(found: Sequence[Candidate]) -> Mapping[int, int]:
    """The most that each wish, by its position, could add to the coverage."""
    most: dict[int, int] = {}
    for c in found:
        most[c.position] = max(most.get(c.position, 0), *_covered(c))
    return most


def _covered(c: Candidate) -> Iterator[int]:
    return (coverage(c.option, c.wish, mode) if mode in c.modes else 0 for mode in MODES)


def _paces(c: Candidate) -> Iterator[int]:
    return (pace(c.option, c.share, mode) if mode in c.modes else 0 for mode in MODES)


class _Search:
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
        self._alike = groups(rig)
        self._by_shape = {(c.option.deployment, c.wish): c for c in found}
        positions = {wish: position for position, wish in enumerate(demand.wishes)}
        self.seats: Mapping[int, Seat] = {positions[seat.wish]: seat for seat in start}
        """The best so far, by the position of the wish."""
        self._last: tuple[Packing, tuple[int, ...]] | None = None
        """The model that was solved last, and the values of all its variables."""
        self.values: list[int] = []
        """What each goal was brought to."""
        self.infeasible = False
        self.proven = True
        self.gap = 0.0

    def packing(
        self,
        values: Callable[[Candidate], tuple[int, ...]],
        reached: Callable[[Candidate, Mode], bool] = lambda _candidate, _mode: True,
    ) -> Packing:
        """A model of the candidates that none replaces in these values."""
        useful = undominated(self._found, values)
        return Packing(useful, self._demand, self._rig, self._running, reached)

    def maximize(self, packing: Packing, name: str, goal: Any, most: int | None = None) -> bool:
        """Whether there is a solution at all. The goal is held at its best from then on.

        `most`: what the goal, by its name in the score, cannot exceed: where the best plan so far
        reaches it, there is nothing to search for.
        """
        from ortools.sat.python import cp_model

        if most is not None and self._is_whole() and self._score()[name] == most:
            self.values.append(most)
            packing.model.add(goal >= most)
            return True
        if self._last is not None and self._last[0] is packing:
            packing.hint_all(self._last[1])
        else:
            packing.hint(self.seats.values(), self._candidate)
        packing.model.maximize(goal)
        solver = _solver(self._left)
        status = solver.solve(packing.model)
        self._left = max(_LEAST, self._left - solver.deterministic_time)
        if status == cp_model.INFEASIBLE:
            self.infeasible = True
            return False
        found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
        best = round(solver.objective_value) if found else self._score()[name]
        if status != cp_model.OPTIMAL and self.proven:
            self.proven = False
            bound = solver.best_objective_bound
            self.gap = max(_LEAST_GAP, (bound - best) / max(1.0, abs(bound)))
        if not found and not self._is_whole():
            return False
        self.values.append(best)
        packing.model.add(goal >= best)
        if found:
            self.seats = packing.seats(solver.value)
            self._last = packing, tuple(solver.response_proto.solution)
        return True

    def _score(self) -> Mapping[str, int]:
        return dict(score(list(self.seats.values()), self._demand, self._rig, self._running))

    def _is_whole(self) -> bool:
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
    # Probing each of a thousand choices costs more here than it tells (measured: a third).
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.max_deterministic_time = seconds
    solver.parameters.max_time_in_seconds = seconds * _WALL_FACTOR
    return solver
