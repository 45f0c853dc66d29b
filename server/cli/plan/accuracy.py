"""`holdfast plan --accuracy`: predicted beside actual, of memory by component, and of speed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.text import Text

from server.cli.columns import columns
from server.cli.plan.explain import component_label
from server.cli.plan.screen import Screen, heading
from server.cli.plan.table import tokens
from server.planning.accuracy import Row, rows, worst
from server.planning.calibration import Observation
from server.planning.deployment import Deployment
from server.planning.footprint.component import EXACT, RAM
from server.planning.measured import Measured
from server.units import MIB, format_bytes

_LOGGED = MIB // 100  # the digits with which engines log
_NOTHING = (
    "Nothing was observed yet. Every start of an engine by `holdfast serve` is: what it took is "
    "kept beside what was predicted, and corrects the next plan."
)


def accuracy(
    observations: Iterable[Observation], measured: Measured, screen: Screen
) -> Iterator[Text]:
    """The newest start of each deployment; off: by how much the plan was too high or too low."""
    found = rows(observations)
    if not found:
        yield from screen.paragraph(_NOTHING)
        return
    yield Text("Memory: the newest start of each deployment", style="bold")
    yield from screen.paragraph(
        "Predicted by the formulas; planned as corrected by the starts before; off by planned "
        "over actual. What is exact is never corrected.",
        style="dim",
    )
    for _, start in groupby(found, lambda row: (row.engine, row.deployment, row.device)):
        yield Text()
        yield from _start(list(start))
    yield from _worst(found, screen)
    yield from _speeds(measured, screen)


def document(observations: Iterable[Observation], measured: Measured) -> dict[str, Any]:
    """The same for JSON: bytes, and ratios of measured to predicted speeds."""
    return {
        "schema": 1,
        "memory": [
            {
                **asdict(row),
                "deployment": _read(row.deployment),
                "component": row.component or "total",
                "exact": _exact(row),
                "error": row.error,
                "first_error": row.first_error,
            }
            for row in rows(observations)
        ],
        "speed": [asdict(one) for one in measured.measurements],
    }


def _start(start: list[Row]) -> Iterator[Text]:
    first = start[0]
    device = "RAM" if first.device == RAM else first.device
    size = _size(first.deployment)
    engine = f"{first.engine} {first.version}".strip()
    yield Text.assemble((first.build, "bold"), f"{size} on {device}, {engine}")
    cells = [("", "PREDICTED", "PLANNED", "ACTUAL", "OFF")]
    for row in start:
        label = "in all" if row.component is None else component_label(row.component)
        predicted, planned, actual = map(format_bytes, (row.predicted, row.planned, row.actual))
        off = "exact" if _exact(row) else "-" if row.error is None else f"{_shown(row):+.1%}"
        cells.append((label, predicted, planned, actual, off))
    head, *body = columns(cells, frozenset({1, 2, 3, 4}))
    yield Text(f"   {head}", style="dim")
    for line in body:
        yield Text(f"   {line}")


def _exact(row: Row) -> bool:
    """Whether nothing is left between plan and log, of a component that is never corrected."""
    return row.component in EXACT and abs(row.difference) < _LOGGED


def _shown(row: Row) -> float:
    """The error; none where the log's digits do not tell it."""
    return row.error if row.error is not None and abs(row.difference) >= _LOGGED else 0.0


def _size(key: str) -> str:
    """`, 4 x 32K`, of a deployment's key; nothing where an older version wrote it."""
    try:
        made = Deployment.from_dict(_read(key))
    except (AttributeError, TypeError, ValueError):
        return ""
    return f", {made.slots} x {tokens(made.context)}"


def _read(key: str) -> Any:
    import orjson

    try:
        return orjson.loads(key)
    except orjson.JSONDecodeError:
        return key


def _worst(found: tuple[Row, ...], screen: Screen) -> Iterator[Text]:
    wholes = [abs(_shown(one)) for one in found if one.component is None]
    text = f"In all, plans were off by {max(wholes):.1%} at most"
    row = worst(one for one in found if abs(one.difference) >= _LOGGED)
    if row is not None and row.component is not None and row.error is not None:
        text += (
            f"; furthest off was {component_label(row.component)} of {row.build}, "
            f"by {row.error:+.1%} ({format_bytes(abs(row.difference))})"
        )
    yield from heading("In short")
    yield from screen.paragraph(text + ".")


def _speeds(measured: Measured, screen: Screen) -> Iterator[Text]:
    if not measured.measurements:
        return
    yield from heading("Speed: measured against the roofline's; later plans are corrected by it")
    for one in measured.measurements:
        figures = {"answers": one.decode, "all slots": one.decode_all, "prompts": one.prefill}
        told = ", ".join(f"{name} {ratio:.0%}" for name, ratio in figures.items() if ratio)
        where = " + ".join(one.products)
        yield from screen.paragraph(f"{told} ({one.engine}, {where})", lead=f"   {one.build}: ")
