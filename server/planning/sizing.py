"""How many slots, and how much context each, an engine gets when the configuration does not say.

Pure. One engine at a time, in the memory that is set aside for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.catalogue import Architecture
from server.planning.footprint.flat import Footprint, llama_server
from server.units import GIB, MIB

CONTEXTS = (262_144, 131_072, 65_536, 32_768, 16_384, 8_192, 4_096)
SLOTS = (4, 2, 1)
COMFORT = 32_768
"""Tokens: below it agents and long documents no longer fit, so slots are given up first."""

_RESERVE_SHARE = 0.1
_LARGEST_RESERVE = 4 * GIB
_TINY = 64 * MIB


@dataclass(frozen=True, slots=True)
class Sizing:
    context: int
    """Tokens of each slot."""
    slots: int
    footprint: Footprint
    fits: bool
    """Whether the footprint leaves the reserve free; if not, this is the smallest sizing."""


def reserve(memory: int) -> int:
    """Bytes of `memory` that stay free for all else: a tenth of it, at most 4 GiB."""
    return min(_LARGEST_RESERVE, int(memory * _RESERVE_SHARE))


def choose_context_slots(
    architecture: Architecture,
    *,
    model_context: int,
    weights_bytes: int,
    mmproj_bytes: int,
    memory: int,
    context: int | None = None,
    slots: int | None = None,
) -> Sizing:
    """The best sizing within `memory` bytes; `context` and `slots` are kept where given.

    Most slots first, each with the longest context that fits, while that is at least COMFORT; where
    not even one slot has so much, one slot with as much as there is.
    """
    budget = memory - reserve(memory)
    smallest = None
    for size, count in _candidates(model_context, context, slots):
        footprint = llama_server(weights_bytes, mmproj_bytes, architecture, size, count)
        if footprint.total <= budget:
            return Sizing(size, count, footprint, fits=True)
        if smallest is None or footprint.total < smallest.footprint.total:
            smallest = Sizing(size, count, footprint, fits=False)
    assert smallest is not None
    return smallest


def _candidates(
    model_context: int, context: int | None, slots: int | None
) -> list[tuple[int, int]]:
    """(context, slots) in the order of preference."""
    if context is not None:
        contexts = [context]
    else:
        contexts = sorted({min(size, model_context) for size in CONTEXTS}, reverse=True)
    counts = SLOTS if slots is None else (slots,)
    comfort = min(COMFORT, contexts[0])
    roomy = [(size, count) for count in counts for size in contexts if size >= comfort]
    narrow = [(size, counts[-1]) for size in contexts if size < comfort]
    return roomy + narrow


def threads(weights_bytes: int, cores: int) -> int:
    """Threads that compute a model of `weights_bytes` on `cores` cores.

    One for a tiny model: its steps are so short that the threads mostly wait for each other, and
    ggml's wait spinning, so that on a busy machine a second one costs far more than it brings
    (measured with the demo: 756 tokens/s with one, 830 with two, 2 with two beside a busy process).
    """
    return 1 if weights_bytes < _TINY else max(1, cores)
