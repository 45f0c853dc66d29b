"""Placement as an integer program: which candidate for which wish, on which GPUs, kept how.

One Boolean says that a candidate is taken in a mode; where it could go to several GPUs of a group,
one for each says to which. Interchangeable GPUs thus need no variables of their own for each set
of them, and the solver finds the symmetry that is left. All numbers are those of planning/room.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.planning.alike import Need, alike, canonical, moved
from server.planning.candidate import Candidate, placed
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.device import RAM_ID
from server.planning.rig import Rig
from server.planning.room import STEP, Seat, capacity, keep_value
from server.planning.worth import Mode, coverage, lead, pace
from server.units import MIB

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

Literal = Any
"""A Boolean variable of the model; ortools has no types of its own for mypy."""


Way = tuple[Candidate, Mode]


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate in a mode, and the variables that take it."""

    candidate: Candidate
    mode: Mode
    taken: Literal
    on: Mapping[str, Literal]
    """By GPU."""


@dataclass
class Packing:
    """The model with the expressions that are maximized one after the other."""

    ways: Sequence[Way]
    demand: Demand
    rig: Rig
    running: Sequence[Deployment]
    model: cp_model.CpModel = field(init=False)
    choices: list[Choice] = field(init=False)

    def __post_init__(self) -> None:
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self._alike = alike(self.rig)
        self._free = capacity(self.rig)
        self._pins = any(wish.pin for wish in self.demand.wishes)
        self.choices = [choice for c, mode in self.ways for choice in self._choice(c, mode)]
        self._wishes()
        self._held = {pool: self._sum(pool, ("resident", "asleep")) for pool in self._free}
        self._memory()
        self._disk()

    # What may be chosen

    def _choice(self, c: Candidate, mode: Mode) -> Iterator[Choice]:
        """The candidate in the mode, unless it does not even fit alone."""
        if c.ram > self._free[RAM_ID]:
            return
        possible = {
            need.group: [g for g in need.group if need.size <= self._free.get(g, need.size)]
            for need in c.needs
        }
        if any(len(possible[need.group]) < need.count for need in c.needs):
            return
        taken = self.model.new_bool_var("")
        on: dict[str, Literal] = {}
        is_placed = mode != "in turn" or self._pins
        for need in c.needs if is_placed else ():
            gpus = possible[need.group]
            if len(gpus) == need.count:
                on |= dict.fromkeys(gpus, taken)
                continue
            each = {gpu: self.model.new_bool_var("") for gpu in gpus}
            self.model.add(sum(each.values()) == need.count * taken)
            on |= each
        yield Choice(c, mode, taken, on)

    def _wishes(self) -> None:
        for position, wish in enumerate(self.demand.wishes):
            taken = [ch.taken for ch in self.choices if ch.candidate.position == position]
            if wish.pin or not self.demand.auto:
                self.model.add_exactly_one(taken)
            else:
                self.model.add_at_most_one(taken)

    # What it takes

    def _terms(self, choice: Choice, pool: str, mode: Mode) -> Iterator[tuple[Literal, int]]:
        """(variable, MiB) of what the choice takes of a pool in a mode."""
        needs, ram = choice.candidate.holds(mode)
        if pool == RAM_ID:
            if ram:
                yield choice.taken, ram
        elif pool in choice.on:
            size = _size(needs, pool)
            if size:
                yield choice.on[pool], size

    def _sum(self, pool: str, modes: Iterable[Mode], *, pinned: bool = False) -> Any:
        terms = [
            variable * size
            for choice in self.choices
            if choice.mode in modes and (choice.candidate.wish.pin or not pinned)
            for variable, size in self._terms(choice, pool, choice.mode)
        ]
        return sum(terms) if terms else 0

    def _memory(self) -> None:
        for pool, free in self._free.items():
            self.model.add(self._held[pool] <= free)
            if self._pins:
                self._beside_the_pinned(pool, free)

    def _beside_the_pinned(self, pool: str, free: int) -> None:
        pinned = self._sum(pool, ("resident",), pinned=True)
        for choice in self.choices:
            if choice.mode in ("asleep", "in turn"):
                for variable, size in self._terms(choice, pool, "resident"):
                    self.model.add(pinned + size * variable <= free)

    def _disk(self) -> None:
        """What is to be fetched fits on the disk; a build that two wishes share counts once."""
        fetched: dict[str, list[Choice]] = {}
        for choice in self.choices:
            if not choice.candidate.option.held:
                fetched.setdefault(choice.candidate.option.deployment.build, []).append(choice)
        sizes = {build: max(_weights(c) for c in made) for build, made in fetched.items()}
        if sum(sizes.values()) <= self.rig.disk_free // MIB:
            return
        total = []
        for build, made in fetched.items():
            is_fetched = self.model.new_bool_var("fetched")
            self.model.add_max_equality(is_fetched, [choice.taken for choice in made])
            total.append(is_fetched * sizes[build])
        self.model.add(sum(total) <= self.rig.disk_free // MIB)

    # What it is worth

    def goal(self, name: str) -> Any:
        """By its name in the score (planning/room.py), or `pace and headroom`."""
        by_name = {
            "fidelity": self._fidelity,
            "lead": self.lead,
            "coverage": self.coverage,
            "kept": self.kept,
            "pace": self.pace,
            "headroom": self.headroom,
            "pace and headroom": self._pace_and_headroom,
        }
        return by_name[name]()

    def worth(self, name: str, score: Mapping[str, int]) -> int:
        """What a plan of this score is worth to the goal."""
        if name == "pace and headroom":
            return score["pace"] * (self._most_headroom + 1) + score["headroom"]
        return score[name]

    def _fidelity(self) -> Any:
        """How few give up precision: minus their number."""
        return -sum(ch.taken for ch in self.choices if ch.candidate.compromised)

    def lead(self) -> Any:
        """The most that a resident is worth to lead: of one that is named the leader, at most."""
        terms = []
        leaders = []
        for choice in self.choices:
            if choice.mode == "resident":
                leads = self.model.new_bool_var("leads")
                self.model.add_implication(leads, choice.taken)
                leaders.append(leads)
                terms.append(leads * lead(choice.candidate.option, choice.candidate.wish))
        self.model.add_at_most_one(leaders)
        return sum(terms) if terms else 0

    def coverage(self) -> Any:
        return sum(
            ch.taken * coverage(ch.candidate.option, ch.candidate.wish, ch.mode)
            for ch in self.choices
        )

    def kept(self) -> Any:
        terms = []
        for deployment in self.running:
            shape = canonical(deployment, self._alike)
            for ch in self.choices:
                if ch.mode != "resident" or ch.candidate.option.deployment != shape:
                    continue
                if all(gpu in ch.on for gpu in deployment.gpus):
                    keeps = self.model.new_bool_var("keeps")
                    for literal in (ch.taken, *(ch.on[gpu] for gpu in deployment.gpus)):
                        self.model.add_implication(keeps, literal)
                    terms.append(keeps * keep_value(ch.candidate.option))
        return sum(terms) if terms else 0

    def pace(self) -> Any:
        return sum(
            ch.taken * pace(ch.candidate.option, ch.candidate.share, ch.mode) for ch in self.choices
        )

    def headroom(self) -> Any:
        """What is left free of all pools, in GiB."""
        left = self.model.new_int_var(0, self._most_headroom, "headroom")
        self.model.add(STEP * left + sum(self._held.values()) <= sum(self._free.values()))
        return left

    @property
    def _most_headroom(self) -> int:
        return sum(self._free.values()) // STEP

    def _pace_and_headroom(self) -> Any:
        return self.pace() * (self._most_headroom + 1) + self.headroom()

    # What was chosen

    def seats(self, value: Any) -> dict[int, Seat]:
        """The seats of a solution by the position of the wish; `value` tells a variable's."""
        found = {}
        for ch in self.choices:
            if value(ch.taken):
                c = ch.candidate
                chosen = {
                    need.group: [gpu for gpu in need.group if gpu in ch.on and value(ch.on[gpu])]
                    for need in c.needs
                }
                is_placed = all(len(chosen[need.group]) == need.count for need in c.needs)
                option = moved(c.option, placed(c, chosen)) if is_placed else c.option
                found[c.position] = Seat(c.wish, c.share, option, ch.mode)
        return found

    def hint(self, seats: Iterable[Seat], candidate: Callable[[Seat], Candidate]) -> None:
        """Tell the solver of a solution. Where a seat's own candidate is no choice here, one that
        fits into its place and covers as much stands in for it."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        wanted: dict[int, tuple[str, ...]] = {}
        for seat in seats:
            mine = candidate(seat)
            least = coverage(mine.option, seat.wish, seat.mode)
            for ch in self.choices:
                c = ch.candidate
                mode = "in turn" if seat.mode == "beside" else seat.mode
                if (
                    (c.wish, ch.mode) == (seat.wish, mode)
                    and coverage(c.option, c.wish, ch.mode) >= least
                    and lead(c.option, c.wish) >= lead(mine.option, mine.wish)
                    and c.fits_into(mine)
                ):
                    counts = {need.group: need.count for need in c.needs}
                    wanted[id(ch)] = tuple(
                        gpu
                        for group, count in counts.items()
                        for gpu in [g for g in group if g in seat.option.deployment.gpus][:count]
                    )
                    break
        for ch in self.choices:
            gpus = wanted.get(id(ch))
            self.model.add_hint(ch.taken, gpus is not None)
            for gpu, variable in ch.on.items():
                if variable is not ch.taken:
                    self.model.add_hint(variable, gpus is not None and gpu in gpus)

    def hint_all(self, values: Sequence[int]) -> None:
        """Tell the solver of its own last solution, variable by variable."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        for index, value in enumerate(values):
            self.model.add_hint(self.model.get_int_var_from_proto_index(index), value)


def _size(needs: Sequence[Need], gpu: str) -> int:
    return next((need.size for need in needs if gpu in need.group), 0)


def _weights(choice: Choice) -> int:
    return -(-choice.candidate.option.weights_bytes // MIB)
