"""The best plan there is: CP-SAT over all options, one goal after the other. Pure.

The goals, in order: what must be served; the most capable resident model; coverage of the others;
as little change of what runs as that allows; expected tokens per second under the demand; headroom.
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
    interchangeable = alike(rig)
    found = list(candidates(options, demand, shares(demand, options), rig, interchangeable))
    kept = {canonical(deployment, interchangeable) for deployment in running}
    start = seated(found, rig)
    search = Search(found, demand, rig, running, start, seconds)

    def is_kept(c: Candidate) -> bool:
        return c.option.deployment in kept

    most = _most_covered(found)
    leading, covered = _most_lead(found), sum(most.values())
    packing = search.packing(
        _ways(undominated(found, lambda c: (lead(c.option, c.wish), *_covered(c), is_kept(c))))
    )
    if not search.maximize(packing, "lead", leading):
        return None if search.infeasible else Solution(start, proven=False, gap=1.0)
    search.maximize(packing, "coverage", covered)
    if running:
        search.maximize(packing, "kept")
    leading, slack = search.values["lead"], covered - search.values["coverage"]
    useful = undominated(
        found,
        lambda c: (lead(c.option, c.wish) >= leading, *_covered(c), is_kept(c), *_paces(c)),
    )
    search.fastest(
        [
            (c, mode)
            for c, mode in _ways(useful)
            if coverage(c.option, c.wish, mode) >= most[c.position] - slack
        ]
    )
    seats = settled(Table(rig, dict(search.seats)), found)
    is_better = score(seats, demand, rig, running) >= score(start, demand, rig, running)
    if not (is_better and fits(seats, rig)):
        return Solution(start, proven=False, gap=search.gap)
    if not running:  # else they would move for the looks of it
        together = side_by_side([seat.option for seat in seats], rig)
        seats = tuple(replace(seat, option=o) for seat, o in zip(seats, together, strict=True))
    return Solution(seats, proven=search.proven, gap=search.gap)


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
