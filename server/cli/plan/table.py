"""What goes where, as a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from server.cli.columns import columns
from server.cli.plan.draft import Draft
from server.cli.plan.screen import Screen
from server.planning.deployment import Deployment
from server.planning.plan import Assignment, Option, Residency
from server.planning.rig import RAM_ID, Rig
from server.units import GIB, format_duration

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")
_MEANS: dict[Residency, str] = {
    "resident": "always loaded",
    "asleep": "weights wait in RAM, awake in seconds",
    "on demand": "loaded when asked for",
}


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    right: bool = False
    rank: int = 0
    """0: always shown. Of the others the highest is left out first where the width is short."""


_COLUMNS = (
    Column(""),
    Column("MODEL"),
    Column("ON"),
    Column("SLOTS", right=True),
    Column("GPU GIB", right=True),
    Column("RAM GIB", right=True),
    Column("TOK/S", right=True),
    Column("ALL SLOTS", right=True, rank=3),
    Column("PROMPT", right=True, rank=5),
    Column("LOADS IN", right=True, rank=1),
    Column("ENGINE", rank=2),
    Column("LIMITED BY", rank=4),
)


def table(draft: Draft, screen: Screen) -> Iterator[Text]:
    """The assignments under a heading for each residency. Speeds are tokens per second."""
    cells = [_cells(draft, assignment) for assignment in draft.ordered]
    rows = [tuple(column.heading for column in _COLUMNS), *cells]
    shown = fitting(rows, screen.width)
    right = frozenset(at for at, number in enumerate(shown) if _COLUMNS[number].right)
    head, *body = columns([[row[number] for number in shown] for row in rows], right)
    yield Text(head, style="dim")
    before = None
    for position, (assignment, line) in enumerate(zip(draft.ordered, body, strict=True)):
        if assignment.residency != before:
            before = assignment.residency
            yield Text.assemble("   ", (before, "bold"), (f": {_MEANS[before]}", "dim"))
        text = Text(line)
        text.stylize(f"bold {colour(position)}", 0, 1)
        yield text
    if any(one.option.estimated for one in draft.ordered):
        yield Text("~ estimated: the size of these files is not known yet", style="dim")


def fitting(rows: list[tuple[str, ...]], width: int | None) -> list[int]:
    """Numbers of the columns that say something and fit `width`, the least important out first."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(_COLUMNS))]
    shown = filled(rows)
    while width is not None and sum(widths[n] + 2 for n in shown) - 2 > width:
        least = max(shown, key=lambda number: _COLUMNS[number].rank)
        if _COLUMNS[least].rank == 0:
            break
        shown.remove(least)
    return shown


def filled(rows: Sequence[Sequence[str]]) -> list[int]:
    """Numbers of the columns in which something stands below the heading."""
    return [number for number in range(len(rows[0])) if any(row[number] for row in rows[1:])]


def colour(position: int) -> str:
    """The colour of an assignment, by its position in the table."""
    return COLOURS[position % len(COLOURS)]


def where(deployment: Deployment, rig: Rig) -> str:
    """The devices that it computes on: `GPU 0-3`, `GPU 0+RAM`, `MIG 0.1`, `CPU`."""
    if not deployment.gpus:
        return "CPU"
    names = [rig.device(gpu).name.partition(" (")[0] for gpu in deployment.gpus]
    numbers = [re.fullmatch(r"GPU (\d+)", name) for name in names]
    text = ",".join(re.sub(r"GPU (\d+), MIG (\d+)", r"MIG \1.\2", name) for name in names)
    if all(numbers):
        text = "GPU " + ranges([int(match[1]) for match in numbers if match])
    partly = deployment.cpu_experts > 0 or deployment.gpu_layers is not None
    return f"{text}+RAM" if partly else text


def extras(deployment: Deployment) -> list[str]:
    """What is not as usual: `2 drafted`, `KV q8_0`."""
    found = [f"{deployment.draft_tokens} drafted"] if deployment.draft_tokens else []
    found += ["embeddings"] if deployment.embeddings else []
    return found + ([f"KV {deployment.kv_type}"] if deployment.quantized_cache else [])


def ranges(numbers: list[int]) -> str:
    """`[0, 1, 2, 5]` -> `0-2,5`"""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def tokens(count: int) -> str:
    """`131072` -> `128K`"""
    return f"{count // 1024}K" if count % 1024 == 0 else str(count)


def rate(per_second: float) -> str:
    """Tokens per second, one decimal below ten."""
    return f"{per_second:.1f}" if per_second < 9.95 else f"{per_second:.0f}"


def gib(option: Option, rig: Rig) -> tuple[str, str]:
    """What it takes of GPUs with memory of their own, and of RAM; `~`: its size is estimated."""
    sizes = option.footprint.by_device().items()
    ram = sum(size for device, size in sizes if rig.device(device).pool == RAM_ID)
    gpu = option.footprint.total - ram
    about = "~" if option.estimated else ""
    return f"{about}{gpu / GIB:.1f}" if gpu else "", f"{about}{ram / GIB:.1f}" if ram else ""


def _cells(draft: Draft, assignment: Assignment) -> tuple[str, ...]:
    option = assignment.option
    deployment, speed = option.deployment, option.speed
    return (
        draft.mark(assignment),
        deployment.build,
        where(deployment, draft.rig),
        f"{deployment.slots} x {tokens(deployment.context)}",
        *gib(option, draft.rig),
        rate(speed.decode),
        rate(speed.decode_all),
        rate(speed.prefill),
        format_duration(option.load_seconds),
        deployment.engine,
        assignment.binds,
    )
