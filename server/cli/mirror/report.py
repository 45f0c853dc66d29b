"""What `holdfast mirror sync` tells of each copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.errors import HoldfastError
from server.units import format_bytes

if TYPE_CHECKING:
    from server.store.copies.sync import Done, Errand
    from server.store.receipt import Receipt


@dataclass(slots=True)
class Report:
    """What was planned and done at one copy."""

    address: str
    errands: Sequence[Errand] = ()
    done: list[Done] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    exit_code: int = 0

    def add(self, error: HoldfastError, what: str = "") -> str:
        """Note an error of `what`; the line that tells it."""
        text = f"{what}: {error.sentence}" if what else error.sentence
        self.problems.append(text)
        self.exit_code = max(self.exit_code, error.exit_code)
        return text


def label(receipt: Receipt) -> str:
    """A revision as people read it: `org/name@` and twelve digits, which `--help` calls a name."""
    return f"{receipt.repository}@{receipt.revision[:12]}"


def lines(report: Report, dry_run: bool) -> list[str]:
    """The copy's address and a line for each revision; nothing where it was not looked into."""
    if not report.errands and report.problems:
        return []
    return [report.address, *(f"  {_line(report, one, dry_run)}" for one in report.errands)]


def as_json(report: Report) -> dict[str, object]:
    return {
        "copy": report.address,
        "revisions": [
            {
                "repository": errand.receipt.repository,
                "revision": errand.receipt.revision,
                "send": [held.path for held in errand.sends],
                "send_bytes": errand.send_bytes,
                "check": [step.held.path for step in errand.steps if step.action == "check"],
                "done": len(_done(report, errand)),
                "mended": [d.step.held.path for d in _done(report, errand) if d.mended],
                "failed": [d.step.held.path for d in _done(report, errand) if d.error is not None],
            }
            for errand in report.errands
        ],
        "problems": report.problems,
    }


def _line(report: Report, errand: Errand, dry_run: bool) -> str:
    sends, checks = len(errand.sends), len(errand.steps) - len(errand.sends)
    parts = []
    if sends:
        verb = "to send" if dry_run else "sent and read back"
        parts.append(f"{files(sends)} ({format_bytes(errand.send_bytes)}) {verb}")
    if checks:
        parts.append(f"{files(checks)} {'to read back' if dry_run else 'read back'}")
    done = _done(report, errand)
    if mended := sum(one.mended for one in done):
        parts.append(f"{mended} of them damaged and sent again")
    if failed := sum(one.error is not None for one in done):
        parts.append(f"{failed} failed")
    if not dry_run and len(done) < len(errand.steps):
        parts.append(f"{len(errand.steps) - len(done)} not done")
    return f"{label(errand.receipt)}: {', '.join(parts) or 'nothing to do'}"


def _done(report: Report, errand: Errand) -> list[Done]:
    return [one for one in report.done if one.errand is errand]


def files(count: int) -> str:
    """`"1 file"`, `"2 files"`."""
    return f"{count} file{'' if count == 1 else 's'}"
