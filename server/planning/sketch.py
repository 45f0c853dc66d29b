"""Options in outline: cheap figures for thousands of them, by which most are dropped.

Bytes and seconds of one build in one shape are computed for a few sizes; from a size to another,
caches and scratch space grow by the same bytes in every build of a model, and the time for a token
by the same factor. What is left in the end is computed in full (planning/options.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from server.catalogue import Build, Model
from server.planning.alike import Alike, Need, within
from server.planning.calibration import Corrections
from server.planning.demand import Wish
from server.planning.deployment import WHOLE, Deployment
from server.planning.device import RAM_ID
from server.planning.footprint import footprint
from server.planning.measured import Measured
from server.planning.quality import cache_retention, retention
from server.planning.rig import Rig
from server.planning.shape import Shape
from server.planning.speed import Speed, speed
from server.planning.stage import Stage, stages
from server.planning.weights import WeightMap
from server.planning.worth import TYPICAL_CONTEXT, comfort, points, seconds_per_token
from server.units import MIB

SIZES = (
    (4_096, 1), (8_192, 1), (16_384, 1), (32_768, 1), (32_768, 2), (65_536, 1), (65_536, 2),
    (131_072, 2), (131_072, 4), (262_144, 4), (262_144, 8), (262_144, 32),
)  # fmt: skip
"""(tokens of a slot, slots): from the least that is of use to all that a few people could ask for.
"""


_MOST_DRAFTED = 2
"""Tokens: each one more is accepted less often, and takes one more state of every sequence."""
_WORTH_DRAFTING = 1.1
"""Times the speed of one answer, at least: the acceptance of drafts is an estimate."""


@dataclass(frozen=True, slots=True)
class Available:
    """A build that could be launched."""

    model: Model
    build: Build
    weights: WeightMap
    held: bool
    bytes: int
    """Of its weights, on disk and in memory alike."""
    estimated: bool

    @property
    def retention(self) -> float:
        return retention(self.build.quant)


@dataclass(frozen=True, slots=True)
class Ground:
    """What options are placed on, and what was measured there before."""

    rig: Rig
    alike: Alike
    corrections: Corrections
    measured: Measured
    _parts: dict[tuple[str, Shape], tuple[Stage, ...]] = field(default_factory=dict)
    """Stages that were worked out before, by build and shape."""
    _speeds: dict[tuple[str, Shape, int, int], Speed] = field(default_factory=dict)
    """And speeds, by context and slots as well; images change neither."""

    def footprint(self, a: Available, shape: Shape, size: Size) -> dict[str, int]:
        """Bytes by device."""
        deployment = shape.deployment(a.build, size.context, size.slots, vision=size.vision)
        found = footprint(deployment, a.model.architecture, a.weights, self.corrections)
        return dict(found.by_device())

    def speed(self, a: Available, shape: Shape, context: int, slots: int) -> Speed:
        key = a.build.name, shape, context, slots
        if key not in self._speeds:
            d = shape.deployment(a.build, context, slots)
            parts = self._stages(a, shape, d)
            self._speeds[key] = speed(
                d, a.model.architecture, a.weights, self.rig, self.measured, parts
            )
        return self._speeds[key]

    def _stages(self, a: Available, shape: Shape, d: Deployment) -> tuple[Stage, ...]:
        key = a.build.name, shape
        if key not in self._parts:
            self._parts[key] = stages(d, a.model.architecture, a.weights, self.rig)
        return self._parts[key]


@dataclass(frozen=True, slots=True)
class Size:
    context: int
    slots: int
    vision: bool = True


@dataclass(frozen=True, slots=True)
class Sketch:
    available: Available
    shape: Shape
    size: Size
    needs: tuple[Need, ...]
    ram: int
    decode: float
    """Tokens/s of one request at half of the context."""
    merit: tuple[int, int, float, bool, bool]
    """Comfort, tenths of points, minus the seconds for a token, whether it can sleep, whether its
    cache is whole: all of them the more the better."""

    def dominates(self, other: Sketch, slack: float) -> bool:
        """Whether it is as good in everything and takes no more of anything.

        `slack`: the part of the seconds for a token by which it may be slower.
        """
        mine, others = self.merit, other.merit
        if (
            self.ram > other.ram
            or mine[2] < others[2] * (1 + slack)
            or mine[0] < others[0]
            or mine[1] < others[1]
            or mine[3] < others[3]
            or mine[4] < others[4]
        ):
            return False
        return within(self.needs, other.needs)

    def short(self, rig: Rig) -> dict[str, int]:
        """MiB missing by pool, on the GPUs with the most free; empty: it fits alone."""
        free = {pool: size // MIB for pool, size in rig.pools().items()}
        missing: dict[str, int] = {}
        for need in self.needs:
            roomiest = sorted(need.group, key=lambda gpu: -free.get(gpu, 0))[: need.count]
            missing |= {
                gpu: need.size - free[gpu]
                for gpu in roomiest
                if gpu in free and need.size > free[gpu]
            }
        if self.ram > free[RAM_ID]:
            missing[RAM_ID] = self.ram - free[RAM_ID]
        return missing


def sizes(wish: Wish, model: Model, *, images: bool) -> tuple[Size, ...]:
    """What the wish and the model allow, each once, the smallest first."""
    most = min(model.context, wish.context_limit or model.context)
    allowed = {
        (
            max(wish.context, min(context, most)),
            min(max(wish.slots, slots), wish.slots_limit or max(wish.slots, slots)),
        )
        for context, slots in SIZES
    }
    return tuple(
        Size(context, slots, vision)
        for context, slots in sorted(allowed)
        for vision in ((True, False) if images else (False,))
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """What a size takes and does beside the smallest one, in every build of a model."""

    size: Size
    growth: tuple[tuple[str, int], ...]
    """Bytes by device."""
    together: float
    """How much more all slots do than one does alone."""
    slower: float
    """Seconds that a token takes longer at half of this context than at half of the typical."""


@dataclass(frozen=True, slots=True)
class _Corners:
    """Bytes by device at the four corners of what is wanted, and without images."""

    first: Size
    last: Size
    low: Mapping[str, int]
    wide: Mapping[str, int]
    many: Mapping[str, int]
    high: Mapping[str, int]
    blind: Mapping[str, int]

    def growth(self, size: Size) -> Iterator[tuple[str, int]]:
        """Caches grow with context times slots, states with slots, masks with context."""
        x = (size.context - self.first.context) / max(1, self.last.context - self.first.context)
        y = (size.slots - self.first.slots) / max(1, self.last.slots - self.first.slots)
        for device, low in self.low.items():
            more = round(
                (self.wide.get(device, 0) - low) * x * (1 - y)
                + (self.many.get(device, 0) - low) * (1 - x) * y
                + (self.high.get(device, 0) - low) * x * y
            )
            without = self.blind.get(device, 0) - low if size.vision < self.first.vision else 0
            yield device, more + without


class Sketchbook:
    """The sketches of one model's builds for one wish."""

    def __init__(self, ground: Ground, wish: Wish, reference: Mapping[str, Available]) -> None:
        self._ground = ground
        self._wish = wish
        self._reference = reference
        """By engine, the build whose caches stand for those of all."""
        self._steps: dict[tuple[Shape, bool], tuple[_Step, ...]] = {}
        """By shape, and whether the build takes images."""

    def draw(self, a: Available, shape: Shape, wanted: Sequence[Size]) -> Iterator[Sketch]:
        """The build in the shape at each size; `wanted`, which of all builds that take images or
        do not is the same, begins with the smallest."""
        base = self._ground.footprint(a, shape, wanted[0])
        alone = self._ground.speed(a, shape, TYPICAL_CONTEXT, 1)
        kind = shape, wanted[0].vision
        if kind not in self._steps:
            self._steps[kind] = tuple(self._walked(shape, wanted))
        retained = a.retention * cache_retention(shape.kv_type)
        kept, is_whole = points(100.0, retained), shape.kv_type in WHOLE
        for step in self._steps[kind]:
            size = step.size
            needs, ram = self._needs(shape, {d: base.get(d, 0) + more for d, more in step.growth})
            seconds = seconds_per_token(
                Speed(alone.prefill, alone.decode, alone.decode * step.together, alone.binds),
                size.context, size.slots, vision=size.vision, retention=retained,
            )  # fmt: skip
            comforts = comfort(
                size.context, size.slots, self._wish, vision=size.vision, retention=retained
            )
            decode = 1 / (1 / alone.decode + step.slower)
            merit = (comforts, kept, -seconds, shape.engine == "vllm", is_whole)
            yield Sketch(a, shape, size, needs, ram, decode, merit)

    def drafts(self, a: Available, shape: Shape) -> int:
        """How many tokens of multi-token prediction make one answer fastest; 0: none by enough, or
        the build cannot. vLLM drafts on GPUs only: its build for processors never was tried, nor
        was drafting beside embeddings."""
        if not a.weights.mtp or shape.embeddings or (shape.engine == "vllm" and not shape.gpus):
            return 0
        decode = {
            ahead: self._ground.speed(a, replace(shape, draft_tokens=ahead), TYPICAL_CONTEXT, 1)
            for ahead in range(_MOST_DRAFTED + 1)
        }
        best = max(decode, key=lambda ahead: decode[ahead].decode)
        return best if decode[best].decode > _WORTH_DRAFTING * decode[0].decode else 0

    def _walked(self, shape: Shape, wanted: Sequence[Size]) -> Iterator[_Step]:
        """From the smallest size to the others, with the build that stands for all."""
        a = self._reference[shape.engine]
        speed_of = cache(lambda context, slots: self._ground.speed(a, shape, context, slots))
        corners = self._corners(a, shape, wanted)
        alone = speed_of(TYPICAL_CONTEXT, 1)
        for size in wanted:
            yield _Step(
                size,
                tuple(corners.growth(size)),
                speed_of(TYPICAL_CONTEXT, size.slots).decode_all / alone.decode,
                1 / speed_of(size.context, 1).decode - 1 / alone.decode,
            )

    def _corners(self, a: Available, shape: Shape, wanted: Sequence[Size]) -> _Corners:
        first, last = wanted[0], wanted[-1]
        low, wide, many, high, blind = (
            self._ground.footprint(a, shape, Size(context, slots, images))
            for context, slots, images in (
                (first.context, first.slots, first.vision),
                (last.context, first.slots, first.vision),
                (first.context, last.slots, first.vision),
                (last.context, last.slots, first.vision),
                (first.context, first.slots, False),
            )
        )
        return _Corners(first, last, low, wide, many, high, blind)

    def _needs(self, shape: Shape, sizes: Mapping[str, int]) -> tuple[tuple[Need, ...], int]:
        own = {gpu.id for gpu in self._ground.rig.gpus if gpu.pool == gpu.id}
        needs = []
        for group in self._ground.alike.groups(shape.tensor_parallel):
            used = [gpu for gpu in shape.gpus if gpu in group]
            if used:
                most = max(sizes.get(gpu, 0) if gpu in own else 0 for gpu in used)
                needs.append(Need(group, len(used), -(-most // MIB)))
        ram = sum(size for device, size in sizes.items() if device not in own)
        return tuple(needs), -(-ram // MIB)
