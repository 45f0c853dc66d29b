"""Memory that an engine lacks though it started: found late, and then as final as at the start.

An engine that once had enough may have enough again, so a single time is forgiven. Twice is no
accident: launched again, it would end the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.engines.failure import Failure, killed_by_kernel
from server.errors import DoesNotFit, HoldfastError
from server.hardware.oom import oom_kills

ENOUGH = 2
"""Requests in a row, or ends of its process, after which an engine has too little memory."""


class Shortage:
    """Of one engine, over all its processes. `kills`: those of the kernel's OOM killer so far."""

    def __init__(self, kills: Callable[[], int | None] = oom_kills) -> None:
        self._kills = kills
        self._before: int | None = None
        self._requests = 0
        self._ends = 0

    def begin(self) -> None:
        """A process of it is launched."""
        self._before = self._kills()
        self._requests = 0

    def answered(self, error: HoldfastError | None) -> bool:
        """A request was answered, or refused with `error`. Whether that is enough: llama-server
        lives on when an allocation fails, and may refuse all that follows."""
        if error is None:
            self._requests = 0
        elif isinstance(error, DoesNotFit):
            self._requests += 1
        return self._requests >= ENOUGH

    def judge(self, failure: Failure, blamed: HoldfastError | None, *, was_ready: bool) -> Failure:
        """`failure`, by which a process ended, in the light of this; `blamed`: for what it was
        killed by us."""
        if failure.cause == "killed" and blamed is None and self._kills() != self._before:
            failure = killed_by_kernel(was_ready=was_ready)
        if failure.cause == "memory":
            self._ends += 1
        final = failure.cause == "memory" and self._ends >= ENOUGH
        return replace(failure, permanent=True) if final or _lacks(blamed) else failure


def _lacks(blamed: HoldfastError | None) -> bool:
    return isinstance(blamed, DoesNotFit)
