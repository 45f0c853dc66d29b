"""Which files are verified next, and how far a budget reaches. Decides only; verify.py reads.

A scrub goes over a store bit by bit: each run takes the files that were not verified for longest,
as far as its budget reaches, and the next run goes on from there.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.errors import ConfigError
from server.units import parse_bytes, parse_duration

# `m` is minutes here and MiB elsewhere; a capital M is neither for certain.
_TIME = re.compile(r"\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)")
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one run may do; without both, everything is verified."""

    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A file that can be verified."""

    key: str
    """Names it in the store: `org/name/revision/path`."""
    bytes: int
    verified: datetime.datetime | None
    """When it was last found to be good; None: never."""


def parse_budget(text: str) -> Budget:
    """`"30m"`, `"2h"`, `"1d"` or `"500MiB"`, `"200G"`, `"1.5TB"`. Raises ConfigError."""
    stripped = text.strip()
    try:
        if _TIME.fullmatch(stripped):
            budget = Budget(seconds=parse_duration(stripped))
        elif stripped[-1:].isdigit() or re.search(r"[\d\s]M$", stripped):
            raise ValueError(f"the unit of {text!r} could be one of time or of size")
        else:
            budget = Budget(bytes=parse_bytes(stripped))
    except ValueError as error:
        raise _wrong(text) from error
    if not (budget.seconds or budget.bytes):
        raise _wrong(text)
    return budget


def schedule(files: Iterable[Due], budget: Budget) -> tuple[Due, ...]:
    """The files of one run, in the order in which they are begun.

    A budget of bytes takes the oldest until the next one would exceed it, and one file at least,
    so that a file larger than the budget has its turn too. Under a budget of time the oldest come
    first, and whoever reads begins none after its end. Where all that is chosen will be read, the
    largest of each day come first: then the cores end together (Graham's LPT rule), and a run that
    was interrupted is gone on with.
    """
    oldest = sorted(files, key=lambda due: (due.verified or _NEVER, -due.bytes, due.key))
    if budget.seconds is not None:
        return tuple(oldest)
    chosen = oldest if budget.bytes is None else _within(oldest, budget.bytes)
    return tuple(
        sorted(chosen, key=lambda due: ((due.verified or _NEVER).date(), -due.bytes, due.key))
    )


def _within(oldest: Sequence[Due], limit: int) -> Sequence[Due]:
    total = 0
    for count, due in enumerate(oldest):
        total += due.bytes
        if total > limit:
            return oldest[: max(count, 1)]
    return oldest


def _wrong(text: str) -> ConfigError:
    return ConfigError(
        f"--budget {text!r} is not a budget",
        next_step="Give a time such as 30m or 2h, or a size such as 500MiB or 200G",
    )
