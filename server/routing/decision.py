"""Where a request goes, in which order, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.catalogue.router import PolicyName
from server.record import record
from server.routing.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one candidate."""

    name: str
    fit: bool
    """Whether it meets every hard constraint."""
    reason: str
    """With figures: why not, or what it was put in its place for."""


@record()
class Decision:
    attempts: tuple[Candidate, ...]
    """In order; at least one."""
    reason: str
    """In a few words, for `x-holdfast-reason`."""
    verdicts: Sequence[Verdict]
    """Of every candidate, those that are tried first in their order; put into words only when
    somebody looks."""
    policy: PolicyName
    route: str | None = None
    """The id of the route that matched."""
    shadow: Candidate | None = None
    shadow_day: int = 0
    """Nano-USD a day that shadows of this route may cost."""
    hedge_after: float | None = None
    """Seconds without a first token after which the next attempt begins beside the first."""
    local_only: bool = False
    """Whether nothing of it may leave: as the request, its key, its route or the policy say. Then
    no attempt and no shadow is a cloud."""
    private_because: str = ""
    """What made it local-only, in words."""
    load: Candidate | None = None
    """A local model that would have answered had it been loaded: a cloud answers in its place, and
    it is to be loaded meanwhile."""
    slo_ttft: float = 0.0
    """Seconds to the first token that this was decided for."""
