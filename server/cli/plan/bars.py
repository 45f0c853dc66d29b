"""Each memory as a bar of what is in it, or as a line of numbers where no bar can be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from server.cli.plan.draft import Draft
from server.cli.plan.screen import Screen
from server.cli.plan.table import colour
from server.planning.plan import Assignment, PoolUse
from server.units import format_bytes

_WIDEST = 60
_NARROWEST = 16
_FULL_NAMES = 40  # cells of a bar that must be left where the names of GPUs are written out


@dataclass(frozen=True, slots=True)
class Segment:
    mark: str
    """The letter it begins with; empty for what is not an engine's."""
    label: str
    bytes: int
    fill: tuple[str, str]
    """One character for each cell: with block characters, and without."""
    style: str


def bars(draft: Draft, screen: Screen) -> Iterator[Text]:
    """A line for each pool of memory."""
    uses = draft.plan.pools
    if screen.width is None:
        yield from (_numbers(draft, use) for use in uses)
        return
    amounts = [_amount(use) for use in uses]
    names = [use.name for use in uses]
    longest = max(map(len, amounts), default=0)
    if max(map(len, names), default=0) + longest + _FULL_NAMES + 4 > screen.width:
        names = [name.partition(" (")[0] for name in names]
    label = max(map(len, names), default=0)
    room = max(_NARROWEST, min(_WIDEST, screen.width - label - longest - 4))
    for use, name, amount in zip(uses, names, amounts, strict=True):
        yield Text.assemble(
            f"{name:<{label}}  ", _bar(segments(draft, use), room, screen), f"  {amount:>{longest}}"
        )
    left, kept = ("░", "▒") if screen.unicode else (".", "#")
    yield Text(f"{'':<{label}}  {left} left  {kept} taken by others, or reserved", style="dim")


def segments(draft: Draft, use: PoolUse) -> list[Segment]:
    """What a pool holds: what others have and the reserve, the engines, what is left."""
    kept = Segment("", "taken by others or reserved", use.memory - use.free, ("▒", "#"), "dim")
    engines = [
        Segment(draft.mark(one), draft.mark(one), size, ("█", "="), colour(position))
        for position, one in enumerate(draft.ordered)
        if (size := held(draft, one, use.pool))
    ]
    left = max(0, use.free - sum(segment.bytes for segment in engines))
    return [*engines, Segment("", "left", left, ("░", "."), "dim"), kept]


def held(draft: Draft, assignment: Assignment, pool: str) -> int:
    """Bytes of a pool that an assignment takes while nobody asks for it."""
    option = assignment.option
    taken = {"resident": option.footprint, "asleep": option.asleep, "on demand": None}
    footprint = taken[assignment.residency]
    if footprint is None:
        return 0
    sizes = footprint.by_device().items()
    return sum(size for device, size in sizes if draft.rig.device(device).pool == pool)


def cells(sizes: Sequence[int], width: int) -> list[int]:
    """`width` cells shared out by size: each that is not zero gets one at least.

    What that costs comes off the largest. Where there are more sizes than cells, the smallest get
    none.
    """
    total = sum(sizes)
    if total == 0:
        return [0] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda number: -sizes[number])
    shares = [size * width / total for size in sizes]
    counts = [max(1, round(share)) if share else 0 for share in shares]
    while sum(counts) > width:
        largest = max(order, key=lambda number: counts[number])
        victim = largest if counts[largest] > 1 else [n for n in order if counts[n]][-1]
        counts[victim] -= 1
    while sum(counts) < width:
        counts[max(order, key=lambda number: shares[number] - counts[number])] += 1
    return counts


def _bar(parts: Sequence[Segment], room: int, screen: Screen) -> Text:
    bar = Text()
    for part, count in zip(parts, cells([part.bytes for part in parts], room), strict=True):
        fill = part.fill[0] if screen.unicode else part.fill[1]
        if count:
            bar.append((part.mark + fill * count)[:count], style=part.style)
    return bar


def _numbers(draft: Draft, use: PoolUse) -> Text:
    parts = [f"{part.label} {format_bytes(part.bytes)}" for part in segments(draft, use)]
    return Text(f"{use.name}: {format_bytes(use.memory)} = " + " + ".join(parts))


def _amount(use: PoolUse) -> str:
    """`19.0 of 22.0 GiB`"""
    used, free = format_bytes(use.used), format_bytes(use.free)
    number, unit = used.split()
    return f"{number} of {free}" if free.endswith(unit) else f"{used} of {free}"
