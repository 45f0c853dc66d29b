"""Whether a target is asked at all, after it has failed.

    closed --failures in a row--> open --its pause is over--> probing --success--> closed
                                    ^                            |
                                    `------------failure---------'

What may follow what is `after`, a pure table; `Breakers` holds the state of each target. Only what
is the target's own fault counts. One that limits us is not broken: it rests for as long as it said,
and is then asked as before.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from server.errors import EngineError, HoldfastError, ProviderBusy, ProviderError
from server.units import format_duration

log = logging.getLogger("holdfast")

State = Literal["closed", "open", "probing"]
Outcome = Literal["success", "failure", "limited", "neither"]
"""`limited`: it has had enough of us. `neither`: it was not its fault, or it was not seen out."""

LONGEST_REST: Final = 3600.0
"""Seconds for which a provider is believed that it wants to be left alone."""


@dataclass(frozen=True, slots=True)
class Rule:
    failures: int = 5
    """In a row, after which a target is left alone."""
    pause: float = 30.0
    """Seconds until one request tries it again."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one target. Times are monotonic seconds."""

    state: State = "closed"
    failures: int = 0
    """In a row."""
    until: float = -math.inf
    """When the pause ends."""
    resting: bool = False
    """Whether the pause is what it asked for itself."""
    reason: str = ""
    """What it last failed with."""

    def admits(self, now: float) -> bool:
        """Whether it may be asked. Of an open one whose pause is over, this is the probe."""
        return self.state != "probing" and now >= self.until

    def down(self, now: float) -> str:
        """Why it may not be asked, in words; empty: it may."""
        if self.admits(now):
            return ""
        if self.state == "probing":
            return f"it failed {self.failures} times in a row, and is just being tried again"
        left = format_duration(max(1, math.ceil(self.until - now)))
        if self.resting:
            return f"it has had enough of our requests for the next {left}"
        return f"it failed {self.failures} times in a row, and is left alone for another {left}"


CLOSED: Final = Breaker()


def asked(breaker: Breaker) -> Breaker:
    """The state once a request is on its way that `admits` has let through."""
    if breaker.state == "open":
        return replace(breaker, state="probing")
    return breaker


def after(
    breaker: Breaker, outcome: Outcome, now: float, rule: Rule, rest: float = 0.0, reason: str = ""
) -> Breaker:
    """The state after a request that ended with `outcome`. `rest`: seconds, of one that limits us.

    A request that was sent before the breaker opened ends when it may, and changes nothing then:
    neither does its success close the breaker, nor its failure make the pause longer. Nor does it
    cut a rest short that was asked for meanwhile.
    """
    match outcome:
        case "success":
            if breaker.state == "open":
                return breaker
            return replace(breaker, failures=0) if now < breaker.until else CLOSED
        case "limited":
            until = now + min(max(rest, 0.0), LONGEST_REST)
            if breaker.state == "probing":  # it answers: that is all the probe was to find out
                return Breaker(until=until, resting=True, reason=reason)
            return replace(breaker, until=max(breaker.until, until), resting=True, reason=reason)
        case "failure":
            failures = breaker.failures + 1
            if breaker.state == "probing" or (
                breaker.state == "closed" and failures >= rule.failures
            ):
                until = max(breaker.until, now + rule.pause)
                return Breaker("open", failures, until, False, reason)
            return replace(breaker, failures=failures, reason=reason)
        case "neither":
            if breaker.state == "probing":  # the next request is the probe
                return replace(breaker, state="open", until=now)
            return breaker


def outcome_of(error: HoldfastError | None, *, limited: bool) -> Outcome:
    """What an attempt's end says of its target; `error` None: it was answered. `limited`: the
    target answered that it is we who ask too much."""
    if error is None:
        return "success"
    if isinstance(error, ProviderBusy) and (limited or error.retry_after is not None):
        return "limited"
    return "failure" if isinstance(error, ProviderError | EngineError) else "neither"


def said(before: Breaker, breaker: Breaker, error: HoldfastError, now: float) -> str:
    """What an operator is told of a target whose failure or limit changed its state from `before`;
    empty: nothing that was not told.

    Of requests that were on their way when it was left alone nothing is told; nor of the single
    failures of engines, of which their supervisor tells more.
    """
    if before.state == "open" or now < before.until:
        return ""
    left = format_duration(max(0.0, breaker.until - now))
    if breaker.state == "open":
        times = f"failed {breaker.failures} times in a row, and is left alone for {left}"
        return f"{times}: {error.sentence}"
    if breaker.until > now:
        return f"limits our requests, and is left alone for {left}"
    return f"failed: {error.sentence}" if isinstance(error, ProviderError) else ""


class Breakers:
    """Those of all targets, by name. `clock`: monotonic seconds."""

    def __init__(self, rule: Rule, clock: Callable[[], float] = time.monotonic) -> None:
        self.rule = rule
        self._clock = clock
        self._of: dict[str, Breaker] = {}

    def __getitem__(self, name: str) -> Breaker:
        return self._of.get(name, CLOSED)

    def down(self, name: str) -> str:
        """Why `name` may not be asked just now, in words; empty: it may."""
        return self[name].down(self._clock())

    def wait(self, name: str) -> int | None:
        """Whole seconds until `name` may be asked again; None: it may be now, or nobody knows."""
        left = self[name].until - self._clock()
        return math.ceil(left) if left > 0 else None

    def rest(self, name: str) -> int | None:
        """The same of one that is not broken, and only has had enough of us; else None."""
        return self.wait(name) if self[name].resting else None

    def admit(self, name: str) -> bool:
        """Whether `name` may be asked; then `end` must follow, whatever becomes of it."""
        breaker = self[name]
        if not breaker.admits(self._clock()):
            return False
        if breaker.state == "open":
            self._of[name] = asked(breaker)
        return True

    def spoke(self, name: str) -> None:
        """A request to `name` is being answered: all that a probe was to find out."""
        if self[name].state == "probing":
            del self._of[name]
            log.info("%s answers again", name)

    def end(
        self,
        name: str,
        error: HoldfastError | None,
        *,
        limited: bool = False,
        seen_out: bool = True,
    ) -> None:
        """A request to `name` has ended: with `error`, or well. `limited`: see `outcome_of`.
        `seen_out` False: it was broken off by us, and says nothing."""
        outcome = outcome_of(error, limited=limited) if seen_out else "neither"
        before = self[name]
        rest = float(error.retry_after or 0) if error is not None else 0.0
        reason = error.what if error is not None else ""
        now = self._clock()
        breaker = after(before, outcome, now, self.rule, rest, reason)
        words = ""
        if error is not None and outcome != "neither":
            words = said(before, breaker, error, now)
        if words:
            log.warning("%s %s", name, words)
        if breaker is CLOSED or breaker == CLOSED:  # comparing takes longer than all else here
            self._of.pop(name, None)
        elif breaker is not before:
            self._of[name] = breaker
