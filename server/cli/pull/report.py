"""What `holdfast pull --dry-run` prints: pure functions over plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.cli.columns import columns
from server.store.pull.plan import Plan
from server.store.pull.rate import Rate
from server.units import format_bytes, format_duration

_HEADINGS = ("REPOSITORY", "REVISION", "FILES", "WEIGHTS", "IN ALL", "TO FETCH", "NOT KNOWN")
_RIGHT = frozenset({2, 3, 4, 5})


@dataclass(frozen=True, slots=True)
class Preview:
    plans: tuple[Plan, ...]
    root: Path
    staged: int
    """Bytes that earlier runs left, which need not come again."""
    free: int
    reserve: int
    rate: Rate | None

    @property
    def bytes(self) -> int:
        return sum(plan.bytes for plan in self.plans)

    @property
    def to_fetch(self) -> int:
        return max(0, sum(plan.bytes_to_fetch for plan in self.plans) - self.staged)

    @property
    def lacking(self) -> int:
        """Bytes by which the disk is too small; 0 where it is not."""
        return max(0, self.to_fetch + self.reserve - self.free) if self.to_fetch else 0

    @property
    def seconds(self) -> float | None:
        return self.to_fetch / self.rate.bytes_per_second if self.rate else None


def lines(preview: Preview) -> Iterator[str]:
    """The plans as text: files where it is one repository, a table, and what they come to."""
    if len(preview.plans) == 1:
        yield from _files(preview.plans[0])
    yield from columns([_HEADINGS, *(_row(plan) for plan in preview.plans)], _RIGHT)
    yield ""
    unknown = sum(not plan.bytes for plan in preview.plans)
    beside = f", and {unknown} of unknown size" if unknown else ""
    yield f"weights     {sizes(sum(plan.weights_bytes for plan in preview.plans))}{beside}"
    yield f"in all      {sizes(preview.bytes)}{beside}"
    yield f"to fetch    {sizes(preview.to_fetch)}"
    if preview.staged:
        yield f"begun       {sizes(preview.staged)} are there from an earlier pull"
    yield f"to          {preview.root}"
    yield (
        f"disk        {format_bytes(preview.free)} free, {format_bytes(preview.reserve)} of which "
        "stay free" + (f": {format_bytes(preview.lacking)} too few" if preview.lacking else "")
    )
    yield f"time        {_time(preview)}"
    yield from _notes(preview.plans)


def document(preview: Preview) -> Mapping[str, Any]:
    """The same for --json."""
    return {
        "plans": [plan_document(plan) for plan in preview.plans],
        "bytes": preview.bytes,
        "bytes_to_fetch": preview.to_fetch,
        "destination": str(preview.root),
        "free": preview.free,
        "reserve": preview.reserve,
        "lacking": preview.lacking,
        "seconds": None if preview.seconds is None else round(preview.seconds),
    }


def plan_document(plan: Plan) -> Mapping[str, Any]:
    return {
        "repository": plan.order.repository,
        "revision": plan.revision,
        "builds": plan.order.builds,
        "folder": None if plan.folder is None else str(plan.folder),
        "source": plan.source,
        "licence": plan.licence,
        "bytes": plan.bytes,
        "weights_bytes": plan.weights_bytes,
        "bytes_to_fetch": plan.bytes_to_fetch,
        "exact": is_exact(plan),
        "unknown": plan.unknown,
        "files": [
            {
                "path": item.path,
                "bytes": item.bytes,
                "sha256": item.sha256,
                "git_oid": item.git_oid,
                "action": item.action,
            }
            for item in plan.items
        ],
        "refused": [{"path": refused.path, "why": refused.why} for refused in plan.refused],
    }


def is_exact(plan: Plan) -> bool:
    """Whether `Plan.bytes` is of whole files, and not of the tensors in some of them."""
    return plan.source is not None or plan.order.exact


def sizes(count: int) -> str:
    """`"1.1 TiB (1,219,356,936,888 bytes, 1.22 TB)"`: as programs, catalogues and disks say it."""
    if count < 1000:
        return f"{count} bytes"
    decimal, unit = next(
        (count / size, unit)
        for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
        if count >= size
    )
    return f"{format_bytes(count)} ({count:,} bytes, {decimal:.3g} {unit})"


def _row(plan: Plan) -> tuple[str, ...]:
    cells = ("-", "-", "-", "-")
    if plan.items or plan.bytes:
        mark = "" if is_exact(plan) else ">"
        cells = (
            ("" if plan.source is not None else ">") + str(len(plan.items)),
            f"{mark}{plan.weights_bytes:,}",
            mark + format_bytes(plan.bytes),
            mark + format_bytes(plan.bytes_to_fetch),
        )
    return (
        plan.order.repository,
        plan.revision[:12] if plan.revision else "-",
        *cells,
        ", ".join(plan.unknown) or "-",
    )


def _files(plan: Plan) -> Iterator[str]:
    rows = [
        (
            item.path,
            "-" if item.bytes is None else f"{item.bytes:,}",
            item.action if item.source is None else f"link to {item.source}",
        )
        for item in plan.items
    ]
    if rows:
        yield from columns([("FILE", "BYTES", "ACTION"), *rows], frozenset({1}))
        yield ""


def _time(preview: Preview) -> str:
    if preview.rate is None or preview.seconds is None:
        return "not known: nothing was pulled here yet"
    rate = format_bytes(int(preview.rate.bytes_per_second))
    return (
        f"{format_duration(preview.seconds)} at the {rate}/s of the last pull "
        f"({preview.rate.measured})"
    )


def _notes(plans: Sequence[Plan]) -> Iterator[str]:
    silent = list(dict.fromkeys(plan.silent for plan in plans if plan.silent))
    if silent:
        yield ""
        yield f"The hub was not heard ({'; '.join(silent[:2])}): sizes are the catalogue's own."
        yield "> more than that: it knows not every small file, of some weights the tensors only."
    for plan in plans:
        for refused in plan.refused:
            yield f"Left out of {plan.order.repository}: {refused.path} ({refused.why})"
