"""What was measured, held against its target: for people, for programs, and for the record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from scripts.benchmarks.sample import Sample


@dataclass(frozen=True, slots=True)
class Target:
    kind: Literal["at least", "at most"]
    value: float

    def met(self, figure: float) -> bool:
        return figure >= self.value if self.kind == "at least" else figure <= self.value

    def __str__(self) -> str:
        return f"{'>=' if self.kind == 'at least' else '<='} {number(self.value)}"


@dataclass(frozen=True, slots=True)
class Result:
    """One row: the same load on Holdfast and on its peers, and the figure that comes of it."""

    measurement: str
    case: str
    unit: str
    """Of the samples."""
    holdfast: Sample
    peers: Mapping[str, Sample]
    """By name; what Holdfast is measured against comes first."""
    figure: float
    figure_unit: str
    """`x` for a ratio."""
    target: Target | None = None
    """None: for information."""

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self.figure)


@dataclass(frozen=True, slots=True)
class Report:
    machine: Mapping[str, Any]
    """See machine.py."""
    results: tuple[Result, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def missed(self) -> bool:
        return any(result.met is False for result in self.results)

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": dict(self.machine),
            "results": [_as_json(result) for result in self.results],
            "notes": list(self.notes),
        }

    def record(self) -> str:
        """One line of JSON, for a file that grows by one line with each run."""
        return json.dumps(self.as_json(), separators=(",", ":")) + "\n"


def number(value: float) -> str:
    """Three significant digits, thousands set apart: `0.0523`, `1.02`, `38.7`, `4,210`."""
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"


def table(report: Report) -> list[str]:
    """The report as aligned lines of text."""
    rows: list[tuple[str, ...]] = [
        ("MEASUREMENT", "HOLDFAST", "BESIDE", "UNIT", "RESULT", "TARGET", "")
    ]
    rows += [_row(result) for result in report.results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += ["", *(f"* {note}" for note in report.notes)]
    return [*lines, _machine_line(report.machine)]


def _row(result: Result) -> tuple[str, ...]:
    beside = ", ".join(f"{name} {number(peer.median)}" for name, peer in result.peers.items())
    figure = number(result.figure)
    figure += result.figure_unit if result.figure_unit == "x" else f" {result.figure_unit}"
    verdict = {True: "met", False: "MISSED", None: ""}[result.met]
    return (
        f"{result.measurement}, {result.case}",
        number(result.holdfast.median),
        beside,
        result.unit,
        figure.rstrip(),
        "" if result.target is None else str(result.target),
        verdict,
    )


def _machine_line(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{machine['date']}, {machine['cores']} cores of {machine['cpu']}; {versions}"


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "measurement": result.measurement,
        "case": result.case,
        "unit": result.unit,
        "holdfast": _sample_json(result.holdfast),
        "peers": {name: _sample_json(peer) for name, peer in result.peers.items()},
        "figure": result.figure,
        "figure_unit": result.figure_unit,
        "target": None if result.target is None else asdict(result.target),
        "met": result.met,
    }


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {"median": sample.median, "spread": sample.spread, "values": list(sample.values)}


def joined(machine: Mapping[str, Any], parts: Sequence[Report]) -> Report:
    """One report of several measurements."""
    return Report(
        machine,
        tuple(result for part in parts for result in part.results),
        tuple(note for part in parts for note in part.notes),
    )
