"""Small placement problems out of plain numbers, and every plan there is for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from hypothesis import strategies as st

from server.catalogue import EngineName
from server.planning.demand import Demand, Wish
from server.planning.deployment import Deployment
from server.planning.device import RAM_ID, Device, Interconnect
from server.planning.footprint.component import Component, Footprint
from server.planning.plan import Option
from server.planning.rig import Rig
from server.planning.room import Seat, fits, score
from server.planning.speed import Speed
from server.planning.worth import modes, serves, shares
from server.units import GIB

MODELS = ("small", "middle", "large")


def device(number: int, gib: float) -> Device:
    size = int(gib * GIB)
    name = f"GPU {number} (a card)"
    return Device(
        f"GPU-{number}", name, "a card", number, f"GPU-{number}", 24 * GIB, size,
        1e12, 1e14, (8, 9), 2.5e10,
    )  # fmt: skip


def rig(gpus: Sequence[float], ram: float, disk: float = 1000) -> Rig:
    """GPUs of one kind with so many GiB free, and RAM."""
    devices = tuple(device(number, gib) for number, gib in enumerate(gpus))
    size = int(ram * GIB)
    return Rig(
        gpus=devices,
        ram=Device(
            RAM_ID, "RAM", "a CPU", None, RAM_ID, 64 * GIB, size, 5e10, 1e12, None, 5e10
        ),
        interconnects=tuple(
            Interconnect(a.id, b.id, "pcie", 2.5e10) for a, b in combinations(devices, 2)
        ),
        cores=8,
        disk_free=int(disk * GIB),
        disk_speed=2e9,
        left_out=(),
    )  # fmt: skip


def wish(
    model: str,
    *,
    build: str | None = None,
    weight: float = 1.0,
    pin: bool = False,
    speed: float = 0.0,
    engines: tuple[EngineName, ...] = ("llama-server", "vllm"),
    context: int = 4096,
) -> Wish:
    return Wish(model, build, weight, context, 1, speed, pin, None, engines)


def option(
    model: str,
    gpus: int,
    gib: float,
    *,
    ram: float = 0.0,
    rate: float = 50.0,
    context: int = 32_768,
    slots: int = 2,
    engine: EngineName = "llama-server",
    build: str = "q4",
    retention: float = 1.0,
    held: bool = True,
    quantized: bool = False,
) -> Option:
    """On so many GPUs, `gib` GiB on each, and `ram` GiB in RAM. `quantized`: its KV cache."""
    names = tuple(f"GPU-{number}" for number in range(gpus))
    split = (1,) * gpus if gpus > 1 and engine == "llama-server" else ()
    deployment = Deployment(
        model, f"{model}:{build}", engine, names, context, slots,
        tensor_parallel=max(1, gpus) if engine == "vllm" else 1, layer_split=split,
        kv_type=("fp8" if engine == "vllm" else "q8_0") if quantized else "f16",
    )  # fmt: skip
    parts: list[tuple[str, Component, int]] = [(name, "weights", int(gib * GIB)) for name in names]
    taken = Footprint.of_bytes([*parts, (RAM_ID, "process", int(ram * GIB))])
    asleep = None
    if engine == "vllm" and gpus:
        contexts: list[tuple[str, Component, int]] = [(name, "context", GIB) for name in names]
        asleep = Footprint.of_bytes([*contexts, (RAM_ID, "weights", int(gib * gpus * GIB))])
    size = int((gib * gpus + ram) * GIB)
    return Option(
        deployment, taken, Speed(20 * rate, rate, rate * slots**0.5, "bandwidth"), size, size / 2e9,
        held, {"small": 40.0, "middle": 60.0, "large": 80.0}[model], retention, 4 / rate, asleep,
    )  # fmt: skip


@dataclass(frozen=True)
class Puzzle:
    options: tuple[Option, ...]
    demand: Demand
    rig: Rig

    def plans(self) -> Iterator[tuple[Seat, ...]]:
        """Every plan that fits and serves what must be served, each wish's GPUs in order."""
        places = [
            list(self._seats(w, share))
            for w, share in zip(self.demand.wishes, shares(self.demand, self.options), strict=True)
        ]
        for chosen in product(*places):
            seats = tuple(seat for seat in chosen if seat is not None)
            if fits(seats, self.rig):
                yield seats

    def best(self) -> tuple[tuple[str, int], ...] | None:
        """The score of the best plan by looking at all; None where there is none."""
        return max((score(seats, self.demand, self.rig) for seats in self.plans()), default=None)

    def _seats(self, w: Wish, share: float) -> Iterator[Seat | None]:
        if self.demand.auto and not w.pin:
            yield None
        ids = [gpu.id for gpu in self.rig.gpus]
        for o in self.options:
            if not serves(o, w):
                continue
            for gpus in combinations(ids, len(o.deployment.gpus)):
                names = dict(zip(o.deployment.gpus, gpus, strict=True))
                there = replace(
                    o,
                    deployment=replace(o.deployment, gpus=gpus),
                    footprint=_renamed(o.footprint, names),
                    asleep=o.asleep and _renamed(o.asleep, names),
                )
                for mode in modes(o, w):
                    yield Seat(w, share, there, mode)


def _renamed(footprint: Footprint, names: dict[str, str]) -> Footprint:
    return Footprint.of_bytes(
        (names.get(s.device, s.device), s.component, s.bytes) for s in footprint.shares
    )


@st.composite
def puzzles(draw: st.DrawFn, *, most: int = 6) -> Puzzle:
    """One to three GPUs, some partly taken, and up to `most` options for up to three models."""
    gpus = draw(st.lists(st.sampled_from([4, 8, 10, 16, 24]), max_size=3))
    ram = draw(st.sampled_from([2, 8, 20, 64]))
    built: dict[str, Option] = {}
    for number in range(draw(st.integers(1, most))):
        engine: EngineName = draw(st.sampled_from(["llama-server", "llama-server", "vllm"]))
        made = option(
            draw(st.sampled_from(MODELS)),
            draw(st.integers(0, len(gpus))),
            draw(st.integers(1, 20)),
            ram=draw(st.sampled_from([0, 1, 4, 10])),
            rate=draw(st.sampled_from([5.0, 20.0, 60.0, 200.0])),
            context=draw(st.sampled_from([4096, 32_768, 131_072])),
            slots=draw(st.sampled_from([1, 2, 4])),
            engine=engine,
            build=f"b{number}",
            retention=draw(st.sampled_from([0.8, 0.97, 1.0])),
            held=draw(st.booleans()),
            quantized=draw(st.sampled_from([False, False, True])),
        )
        built[made.deployment.key] = made
    wishes = tuple(
        wish(
            model,
            weight=draw(st.sampled_from([0.5, 1.0, 3.0])),
            pin=draw(st.sampled_from([False, False, True])),
            speed=draw(st.sampled_from([0.0, 0.0, 10.0])),
            context=draw(st.sampled_from([4096, 8192])),
        )
        for model in draw(st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True))
    )
    demand = Demand(wishes, auto=draw(st.booleans()))
    disk = draw(st.sampled_from([10, 30, 1000]))
    return Puzzle(tuple(built.values()), demand, rig(gpus, ram, disk))
