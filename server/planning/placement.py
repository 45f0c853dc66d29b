"""The best plan there is: CP-SAT over all options, one goal after the other. Pure.

The goals, in order: what must be served, with less precision only where that cannot be
otherwise; the most capable resident model; coverage of the others; as little change of what runs as
that allows; expected tokens per second under the demand; headroom.
Each is brought to its best before the next is looked at, and is then held there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from server.planning.alike import alike, canonical, side_by_side
from server.planning.candidate import Candidate, candidates, undominated
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.greedy import Table, seated, settled
from server.planning.packing import Way
from server.planning.plan import Option, Plan, Rejection
from server.planning.reasons import plan_of
from server.planning.refusal import refusal
from server.planning.rig import Rig
from server.planning.room import Seat, fits, score
from server.planning.search import Search
from server.planning.worth import MODES, coverage, lead, pace, shares

SECONDS = 8.0
"""Of the solver's work: most plans are proven in a tenth of it, the hardest to within 1 %."""


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
    at = alike(rig)
    found = list(candidates(options, demand, shares(demand, options), rig, at))
    kept = frozenset(canonical(deployment, at) for deployment in running)
    start = seated(found, rig)
    search = Search(found, demand, rig, running, start, seconds)
    left = _faithful(search, found)
    if left is None or not _ready(search, left, kept):
        return None if search.infeasible else Solution(start, proven=False, gap=1.0)
    search.fastest(_as_ready(search, left, kept))
    seats = settled(Table(rig, dict(search.seats)), left)
    is_better = score(seats, demand, rig, running) >= score(start, demand, rig, running)
    if not (is_better and fits(seats, rig)):
        return Solution(start, proven=False, gap=search.gap)
    if not running:  # else they would move for the looks of it
        together = side_by_side([seat.option for seat in seats], rig)
        seats = tuple(replace(seat, option=o) for seat, o in zip(seats, together, strict=True))
    return Solution(seats, proven=search.proven, gap=search.gap)


def _faithful(search: Search, found: list[Candidate]) -> list[Candidate] | None:
    """The candidates that are left once as few as can be give up precision; None where no plan is
    known that serves what must be served."""
    if not any(c.compromised for c in found):
        return found
    packing = search.packing(_ways(undominated(found, lambda c: (not c.compromised,))))
    if not search.maximize(packing, "fidelity", 0):
        return None
    if search.values["fidelity"] < 0:
        return found
    return [c for c in found if not c.compromised]


def _ready(search: Search, found: list[Candidate], kept: frozenset[Deployment]) -> bool:
    """Goes on to the goals before pace; whether there is a plan at all."""
    useful = undominated(
        found,
        lambda c: (
            not c.compromised,
            lead(c.option, c.wish),
            *_covered(c),
            c.option.deployment in kept,
        ),
    )
    packing = search.packing(_ways(useful))
    if not search.maximize(packing, "lead", _most_lead(found)):
        return False
    search.maximize(packing, "coverage", sum(_most_covered(found).values()))
    if kept:
        search.maximize(packing, "kept")
    return True


def _as_ready(search: Search, found: list[Candidate], kept: frozenset[Deployment]) -> Sequence[Way]:
    """The choices with which the goals so far can be held."""
    most, leading = _most_covered(found), search.values["lead"]
    slack = sum(most.values()) - search.values["coverage"]
    useful = undominated(
        found,
        lambda c: (
            not c.compromised,
            lead(c.option, c.wish) >= leading,
            *_covered(c),
            c.option.deployment in kept,
            *_paces(c),
        ),
    )
    return [
        (c, mode)
        for c, mode in _ways(useful)
        if coverage(c.option, c.wish, mode) >= most[c.position] - slack
    ]


def _ways(found: Sequence[Candidate]) -> list[Way]:
    return [(c, mode) for c in found for mode in c.modes]


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
