"""What an option needs of each group of interchangeable GPUs, and of RAM; where it could go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import ge

from server.planning.alike import Alike, Group, Need, within
from server.planning.demand import Demand, Wish
from server.planning.device import RAM_ID
from server.planning.footprint.component import Footprint
from server.planning.plan import Option
from server.planning.rig import Rig
from server.planning.worth import Mode, compromised, modes, serves
from server.units import MIB


@dataclass(frozen=True, slots=True)
class Candidate:
    """An option for a wish, on any GPUs that are like its own."""

    wish: Wish
    position: int
    """Of the wish in the demand."""
    share: float
    option: Option
    modes: Sequence[Mode]
    needs: tuple[Need, ...]
    ram: int
    """MiB, those of GPUs without memory of their own included."""
    asleep: tuple[Need, ...] = ()
    asleep_ram: int = 0
    compromised: bool = False
    """See planning/worth.py."""

    @property
    def size(self) -> int:
        """MiB on all devices together."""
        return self.ram + sum(need.count * need.size for need in self.needs)

    @property
    def fetched(self) -> int:
        """Bytes that it takes of the disk."""
        return 0 if self.option.held else self.option.weights_bytes

    def fits_into(self, other: Candidate) -> bool:
        """Whether it takes no more of anything, awake or asleep, and can sleep if that can."""
        return (
            self.ram <= other.ram
            and self.fetched <= other.fetched
            and within(self.needs, other.needs)
            and (
                other.option.asleep is None
                or (
                    self.option.asleep is not None
                    and self.asleep_ram <= other.asleep_ram
                    and within(self.asleep, other.asleep)
                )
            )
        )

    def holds(self, mode: Mode) -> tuple[tuple[Need, ...], int]:
        """What it takes in this mode for good."""
        if mode == "resident":
            return self.needs, self.ram
        return (self.asleep, self.asleep_ram) if mode == "asleep" else ((), 0)


def candidates(
    options: Sequence[Option],
    demand: Demand,
    shares: Sequence[float],
    rig: Rig,
    alike: Alike,
) -> Iterator[Candidate]:
    """Each option for each wish that it serves, in a stable order."""
    ordered = sorted(options, key=lambda option: option.deployment.key)
    for position, (wish, share) in enumerate(zip(demand.wishes, shares, strict=True)):
        for option in ordered:
            if serves(option, wish):
                needs, ram = _needs(option, option.footprint, rig, alike)
                asleep, asleep_ram = (
                    ((), 0) if option.asleep is None else _needs(option, option.asleep, rig, alike)
                )
                yield Candidate(
                    wish, position, share, option, modes(option, wish),
                    needs, ram, asleep, asleep_ram, compromised(option, wish, demand),
                )  # fmt: skip


def undominated(
    found: Sequence[Candidate], values: Callable[[Candidate], tuple[int, ...]]
) -> list[Candidate]:
    """Those that no other candidate for the same wish replaces: no larger, of no less value.

    No plan is lost: whatever could be done with what is dropped can be done with its replacement.
    """
    by_wish: dict[int, list[tuple[Candidate, tuple[int, ...]]]] = {}
    for c in found:
        by_wish.setdefault(c.position, []).append((c, values(c)))
    kept: list[Candidate] = []
    for position in sorted(by_wish):
        kept += _undominated(by_wish[position])
    return kept


def _undominated(found: list[tuple[Candidate, tuple[int, ...]]]) -> list[Candidate]:
    kept: list[tuple[Candidate, tuple[int, ...]]] = []
    found.sort(key=lambda pair: (pair[0].size, [-value for value in pair[1]]))
    for c, mine in found:
        for other, theirs in kept:
            if all(map(ge, theirs, mine)) and other.fits_into(c):
                break
        else:
            kept.append((c, mine))
    return [c for c, _ in kept]


def placed(candidate: Candidate, chosen: Mapping[Group, Sequence[str]]) -> tuple[str, ...]:
    """The option's GPUs, where those of each group are taken from `chosen` in order."""
    home = {gpu: need.group for need in candidate.needs for gpu in need.group}
    left = {group: iter(gpus) for group, gpus in chosen.items()}
    return tuple(next(left[home[gpu]]) for gpu in candidate.option.deployment.gpus)


def _needs(
    option: Option, footprint: Footprint, rig: Rig, alike: Alike
) -> tuple[tuple[Need, ...], int]:
    """By group of GPUs the size of the largest share, since any of them may get it; and RAM's."""
    own = {gpu.id for gpu in rig.gpus if gpu.pool == gpu.id}
    ram = sum(size for device, size in footprint.by_device().items() if device not in own)
    needs = []
    for group in alike.of(option.deployment):
        used = [gpu for gpu in option.deployment.gpus if gpu in group]
        if used:
            sizes = [footprint.on(gpu) if gpu in own else 0 for gpu in used]
            needs.append(Need(group, len(used), -(-max(sizes) // MIB)))
    assert RAM_ID in rig.pools()
    return tuple(needs), -(-ram // MIB)
