"""How fast a deployment will be: a roofline over memory bandwidth, compute and interconnect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["bandwidth", "compute", "interconnect"]


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second, at half of the context filled."""

    prefill: float
    """Of the prompt, one request alone."""
    decode: float
    """Of the answer, one request alone."""
    decode_all: float
    """Of the answers together, with every slot busy."""
    binds: Bound
    """What takes most of the time of one answer's token."""
