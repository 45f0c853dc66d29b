"""Why an engine ended, read from its last words and its exit status. Pure.

What the words of each kind of engine mean is a table of rules beside its log's reader.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Cause = Literal["memory", "weights", "unsupported", "program", "socket", "gpu", "killed", "unknown"]

PERMANENT: frozenset[Cause] = frozenset({"memory", "weights", "unsupported", "program"})
"""Causes that do not go away by themselves."""

FREE_MEMORY = "Lower context or slots under [serve], choose a smaller build, or free memory"
"""The next step where memory was short."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an engine ended, for people, and whether it would end so again."""

    cause: Cause
    why: str
    next_step: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """What a line that matches `pattern` says of the cause, and what to do about it."""

    pattern: re.Pattern[str]
    cause: Cause
    next_step: str


def rules(table: Sequence[tuple[str, Cause, str]]) -> tuple[Rule, ...]:
    """Rules from rows of a pattern, a cause and a next step."""
    return tuple(Rule(re.compile(pattern), cause, step) for pattern, cause, step in table)


def first_rule(table: Sequence[Rule], texts: Iterable[str], *, was_ready: bool) -> Failure | None:
    """The failure by the first rule of `table` that matches one of `texts`; of these the first.

    Only a failure to load is permanent: an engine that has worked may work again.
    """
    listed = tuple(texts)
    for rule in table:
        for text in listed:
            if rule.pattern.search(text):
                permanent = rule.cause in PERMANENT and not was_ready
                return Failure(rule.cause, text, rule.next_step, permanent)
    return None


def killed_by_kernel(*, was_ready: bool) -> Failure:
    """The failure of an engine that the kernel's OOM killer ended."""
    why = "the kernel killed it for want of memory (OOM killer)"
    return Failure("memory", why, FREE_MEMORY, permanent=not was_ready)


def by_status(status: int, errors: Sequence[str], *, rebuild: str, was_ready: bool) -> Failure:
    """The failure where no words tell: from exit `status` (negative: by that signal).

    The last of `errors` is quoted; `rebuild` says how to get a program for this machine.
    """
    if status == -signal.SIGILL:
        why = "it uses instructions that this processor does not have"
        return Failure("program", why, rebuild, permanent=not was_ready)
    if status == -signal.SIGKILL:
        why = "it was killed, by someone or by the kernel for want of memory"
        step = "If the kernel's log (dmesg) says out of memory: lower context or slots"
        return Failure("killed", why, step, permanent=False)
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    why = errors[-1] if errors else f"it ended with {how}"
    return Failure("unknown", why, "Look at its log", permanent=False)
