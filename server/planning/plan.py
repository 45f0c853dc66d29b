"""A plan: which builds run where, how and why; what was turned down, what would change that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from server.catalogue import EngineName
from server.planning.demand import Wish
from server.planning.deployment import Deployment
from server.planning.footprint.component import Footprint
from server.planning.speed import Speed

Residency = Literal["resident", "asleep", "on demand"]
"""`resident`: it holds its whole footprint. `asleep`: its weights wait in RAM, its engine runs and
holds little of the GPUs (vLLM's sleep level 1). `on demand`: only disk, until it is asked for."""


RejectionKind = Literal["not installed", "not in the store", "beaten", "unsuited", "slow", "large"]
"""`not installed`: its engine. `beaten`: by another build, whatever memory there is. `unsuited`: no
device here can run it. `slow`: slower than the demand asks for. `large`: for the free memory."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to serve a model: a deployment, with what it takes and what it gives."""

    deployment: Deployment
    footprint: Footprint
    speed: Speed
    weights_bytes: int
    load_seconds: float
    """From the disk to the first answer, estimated."""
    held: bool
    """Whether the files are in the store."""
    capability: float = 0.0
    """The model's mean benchmark score, 0 to 100."""
    retention: float = 1.0
    """The part of the capability that the build's quantization keeps, 0 to 1."""
    token_seconds: float = 1.0
    """Expected seconds for a token under all loads (planning/worth.py): what options compare by."""
    asleep: Footprint | None = None
    """What it holds while asleep; None: its engine cannot sleep."""
    estimated: bool = False
    """Whether the build's size was derived from its quantization because nobody told it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A wish that is served, and by which option."""

    wish: Wish
    option: Option
    residency: Residency
    reason: str
    """Why this and so, in words for people."""
    binds: str
    """What keeps it from being better: `memory of GPU 0`, `the model's context`..."""
    evicts: tuple[str, ...] = ()
    """Builds, by full name, that make room when it is loaded; empty: it fits beside all of them."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A model, a build or a way to run it that is not in the plan."""

    name: str
    reason: str
    """In words for people, with the numbers."""
    kind: RejectionKind
    engine: EngineName | None = None
    """That its build runs in."""
    short: Mapping[str, int] = field(default_factory=dict)
    """Bytes missing, by memory pool."""
    decode: float | None = None
    """Tokens/s at best, where that is too few."""


@dataclass(frozen=True, slots=True)
class NextBest:
    """The best plan but this one."""

    what: str
    loses: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of the machine, and what it would make possible."""

    text: str
    """`8.0 GiB more on GPU 1`"""
    gains: str
    more: Mapping[str, int] = field(default_factory=dict)
    """The same in bytes, by memory pool."""


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One memory pool under a plan, in bytes."""

    pool: str
    name: str
    """For people: `GPU 0 (NVIDIA GeForce RTX 4090)`, `RAM`."""
    memory: int
    free: int
    """What engines may take in all."""
    used: int
    """What residents and sleepers take of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    assignments: tuple[Assignment, ...]
    """In the order of the demand's wishes."""
    rejections: tuple[Rejection, ...]
    objective: tuple[tuple[str, int], ...]
    """What was maximized, the most important first: two plans compare by these in order."""
    proven: bool
    """Whether no better plan exists among the options."""
    gap: float
    """How far at most the best one is from this, as a part of the first stage that is not proven
    to be at its best; 0 where proven."""
    pools: tuple[PoolUse, ...]
    next_best: NextBest | None = None
    remedies: tuple[Remedy, ...] = ()

    @property
    def resident(self) -> tuple[Assignment, ...]:
        return tuple(a for a in self.assignments if a.residency == "resident")

    def of(self, model: str) -> Assignment | None:
        """The assignment of a model, by its id."""
        return next((a for a in self.assignments if a.option.deployment.model == model), None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; sizes are bytes, rates tokens per second."""
        return {
            "assignments": [_assignment(a) for a in self.assignments],
            "rejections": [
                {
                    "name": r.name,
                    "kind": r.kind,
                    "engine": r.engine,
                    "reason": r.reason,
                    "short": dict(r.short),
                    "decode": r.decode,
                }
                for r in self.rejections
            ],
            "objective": [{"stage": name, "value": value} for name, value in self.objective],
            "proven": self.proven,
            "gap": self.gap,
            "pools": [
                {"pool": p.pool, "name": p.name, "memory": p.memory, "free": p.free, "used": p.used}
                for p in self.pools
            ],
            "next_best": self.next_best
            and {"what": self.next_best.what, "loses": self.next_best.loses},
            "remedies": [
                {"text": r.text, "gains": r.gains, "more": dict(r.more)} for r in self.remedies
            ],
        }


def _assignment(a: Assignment) -> dict[str, Any]:
    speed = a.option.speed
    return {
        "wish": a.wish.name,
        "weight": a.wish.weight,
        "pin": a.wish.pin,
        "ttl": a.wish.ttl,
        "least": {"context": a.wish.context, "slots": a.wish.slots},
        "residency": a.residency,
        "deployment": a.option.deployment.to_dict(),
        "bytes": a.option.footprint.to_dict(),
        "bytes_asleep": a.option.asleep and a.option.asleep.to_dict(),
        "speed": {
            "prefill": speed.prefill,
            "decode": speed.decode,
            "decode_all": speed.decode_all,
            "binds": speed.binds,
        },
        "load_seconds": a.option.load_seconds,
        "held": a.option.held,
        "size_estimated": a.option.estimated,
        "capability": a.option.capability,
        "retention": a.option.retention,
        "reason": a.reason,
        "binds": a.binds,
        "evicts": list(a.evicts),
    }
