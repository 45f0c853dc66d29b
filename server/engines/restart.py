"""Whether and when an engine that exited is launched again. Pure: time and chance are passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    first: float = 0.25
    """Seconds before the first relaunch; each further one doubles it."""
    longest: float = 30.0
    """Seconds; no wait is longer."""
    jitter: float = 0.2
    """Share by which a wait may be longer, so that engines do not come back in step."""
    exits: int = 5
    """This many exits ..."""
    window: float = 120.0
    """... within this many seconds are a crash loop."""


@dataclass(frozen=True, slots=True)
class Relaunch:
    delay: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def decide(
    exits: Sequence[float], *, permanent: bool, policy: Policy, chance: float
) -> Relaunch | GiveUp:
    """What follows the newest of `exits` (times in seconds, oldest first).

    `permanent`: the cause will not go away by itself, such as a corrupt file. `chance`: 0 to 1.
    """
    if permanent:
        return GiveUp("launching it again would end the same way")
    recent = [time for time in exits if exits[-1] - time <= policy.window]
    if len(recent) >= policy.exits:
        return GiveUp(f"it exited {len(recent)} times within {policy.window:.0f} s")
    return Relaunch(backoff(len(recent), policy=policy, chance=chance))


def backoff(attempt: int, *, policy: Policy, chance: float) -> float:
    """Seconds to wait before relaunch number `attempt` (1, 2, ...): exponential, capped."""
    doublings = min(attempt - 1, 62)  # beyond it the cap holds, and floats would overflow
    wait = min(policy.longest, policy.first * 2.0**doublings)
    return wait * (1 + policy.jitter * chance)
