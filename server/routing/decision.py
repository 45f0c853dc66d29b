"""Where a request goes, in which order, and why."""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue.router import PolicyName
from server.routing.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one candidate."""

    name: str
    fit: bool
    """Whether it meets every hard constraint."""
    reason: str
    """With figures: why not, or what it was put in its place for."""


@dataclass(frozen=True, slots=True)
class Decision:
    attempts: tuple[Candidate, ...]
    """In order; at least one."""
    reason: str
    """In a few words, for `x-holdfast-reason`."""
    verdicts: tuple[Verdict, ...]
    """Of every candidate, those that are tried first in their order."""
    policy: PolicyName
    route: str | None = None
    """The id of the route that matched."""
    shadow: Candidate | None = None
    shadow_day: int = 0
    """Nano-USD a day that shadows of this route may cost."""
    hedge_after: float | None = None
    """Seconds without a first token after which the next attempt begins beside the first."""
