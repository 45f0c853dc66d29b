"""What is told of an engine's end: to people, and to the client whose request it ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from server.engines.failure import FREE_MEMORY, Cause, Failure
from server.errors import DoesNotFit, EngineError, EngineMissing, HoldfastError, StoreError

_KINDS: Mapping[Cause, type[HoldfastError]] = {
    "memory": DoesNotFit,
    "weights": StoreError,
    "unsupported": StoreError,
    "program": EngineMissing,
}


def explain(name: str, failure: Failure, log_file: Path) -> HoldfastError:
    """The error for the end of the engine `name`; where its cause is unclear it names the log."""
    kind = _KINDS.get(failure.cause, EngineError)
    next_step = failure.next_step
    if kind is EngineError:
        next_step = f"{next_step} ({log_file})"
    return kind(f"the engine of {name} ended", why=failure.why, next_step=next_step)


def short_of_memory(name: str) -> DoesNotFit:
    """The error for the end of an engine that started and then had no memory to work."""
    why = "it had no memory for one request after another"
    return DoesNotFit(f"the engine of {name} was ended", why=why, next_step=FREE_MEMORY)


def final(error: HoldfastError, reason: str) -> HoldfastError:
    """`error`, with the reason for which the engine is not launched again."""
    why = f"{error.why}; {reason}" if error.why else reason
    return type(error)(error.what, why=why, next_step=error.next_step)
