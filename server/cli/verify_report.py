"""What `holdfast verify` tells, as lines and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from server.units import format_bytes, format_duration

if TYPE_CHECKING:
    from server.store.repair import Result
    from server.store.verify import Finding

_PAST_REPAIR = frozenset({"bad signature", "unsteady"})


@dataclass(slots=True)
class Report:
    root: Path
    findings: list[Finding] = field(default_factory=list)
    """All that was found."""
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    left_files: int = 0
    """Not read, as the budget did not reach so far."""
    left_bytes: int = 0
    signers: dict[str, str] = field(default_factory=dict)
    """Revision, as `org/name@revision` -> who signed it."""
    results: Mapping[str, Result] = field(default_factory=dict)
    """What became of what was to be repaired, by `org/name/revision/path`."""
    damage: list[Finding] = field(default_factory=list)
    """What stays."""
    interrupted: bool = False


def lines(report: Report, repaired: bool) -> Iterator[str]:
    """One line for each finding, then the sum of it all."""
    for finding in report.findings:
        yield f"{finding.kind:14}{finding.name}: {finding.why}"
    for revision, by in report.signers.items():
        yield f"{'signed':14}{revision}: {by}"
    for key, result in report.results.items():
        if result.source is not None:
            kept = f"; the damaged one is kept as {result.aside}" if result.aside else ""
            yield f"{'repaired':14}{_short(key)}: from {result.source}{kept}"
        else:
            yield f"{'not repaired':14}{_short(key)}: {result.why}"
    yield _sum(report, repaired)


def _sum(report: Report, repaired: bool) -> str:
    if not (report.files or report.left_files or report.findings):
        return f"There is nothing to verify: {report.root} holds nothing yet."
    rate = f" ({format_bytes(int(report.bytes / report.seconds))}/s)" if report.seconds else ""
    text = (
        f"Read {_files(report.files)}, {format_bytes(report.bytes)} "
        f"in {format_duration(report.seconds)}{rate}: {_verdict(report, repaired)}"
    )
    if report.left_files:
        why = "interrupted" if report.interrupted else "beyond the budget"
        left = f"{_files(report.left_files)}, {format_bytes(report.left_bytes)}"
        text += f" Left for the next run ({why}): {left}."
    return text


def _verdict(report: Report, repaired: bool) -> str:
    mended = sum(result.source is not None for result in report.results.values())
    if not report.damage:
        return f"{mended} repaired, all is well." if mended else "all is well."
    stays = f"damage in {_places(len(report.damage))}"
    if repaired:
        return f"{mended} repaired, {stays} stays."
    if all(finding.kind in _PAST_REPAIR for finding in report.damage):
        return f"{stays}."
    return f"{stays}. `holdfast verify --repair` brings back what a copy or a hub still has."


def as_json(report: Report) -> dict[str, object]:
    return {
        "root": str(report.root),
        "ok": not report.damage,
        "files": report.files,
        "bytes": report.bytes,
        "seconds": round(report.seconds, 3),
        "left": {"files": report.left_files, "bytes": report.left_bytes},
        "interrupted": report.interrupted,
        "findings": [_finding(report, finding) for finding in report.findings],
        "signers": report.signers,
    }


def _finding(report: Report, finding: Finding) -> dict[str, object]:
    result = report.results.get(finding.key)
    row: dict[str, object] = {
        "repository": finding.repository,
        "revision": finding.revision,
        "path": finding.path,
        "kind": finding.kind,
        "why": finding.why,
        "damage": finding.is_damage,
        "repaired": result is not None and result.source is not None,
    }
    if result is not None:
        row |= {
            "source": result.source,
            "aside": None if result.aside is None else str(result.aside),
            "not_repaired": result.why or None,
        }
    return row


def _short(key: str) -> str:
    org, name, revision, path = key.split("/", 3)
    return f"{org}/{name}@{revision[:12]}/{path}"


def _files(count: int) -> str:
    return f"{count:,} file" if count == 1 else f"{count:,} files"


def _places(count: int) -> str:
    return f"{count:,} place" if count == 1 else f"{count:,} places"
