"""Rules of thumb: what stays free, what context is comfortable, how many threads. Pure."""

from __future__ import annotations

from server.units import GIB, MIB

COMFORT = 32_768
"""Tokens: below it agents and long documents no longer fit."""

_RESERVE_SHARE = 0.1
_LARGEST_RESERVE = 4 * GIB
_TINY = 64 * MIB


def reserve(memory: int) -> int:
    """Bytes of `memory` that stay free for all else: a tenth of it, at most 4 GiB."""
    return min(_LARGEST_RESERVE, int(memory * _RESERVE_SHARE))


def threads(weights_bytes: int, cores: int) -> int:
    """Threads that compute a model of `weights_bytes` on `cores` cores.

    One for a tiny model: its steps are so short that the threads mostly wait for each other, and
    ggml's wait spinning, so that on a busy machine a second one costs far more than it brings
    (measured with the demo: 756 tokens/s with one, 830 with two, 2 with two beside a busy process).
    """
    return 1 if weights_bytes < _TINY else max(1, cores)
