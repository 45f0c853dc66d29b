"""Plans made by hand, for what is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from server.cli.plan.draft import Command, Draft
from server.planning.demand import Demand, Wish
from server.planning.deployment import Deployment
from server.planning.footprint.component import Footprint
from server.planning.plan import (
    Assignment,
    NextBest,
    Option,
    Plan,
    PoolUse,
    Rejection,
    Remedy,
)
from server.planning.rig import RAM_ID, Device, Interconnect, Rig
from server.planning.speed import Speed
from server.units import GIB, MIB

RTX_4090 = "NVIDIA GeForce RTX 4090"


def gpu(index: int, **changes: Any) -> Device:
    made = Device(
        id=f"GPU-{index}",
        name=f"GPU {index} ({RTX_4090})",
        product=RTX_4090,
        index=index,
        pool=f"GPU-{index}",
        memory=24 * GIB,
        free=22 * GIB,
        bandwidth=1008e9,
        compute=165e12,
        capability=(8, 9),
        host_link=32e9,
    )
    return replace(made, **changes)


RAM = Device(
    id=RAM_ID,
    name="RAM",
    product="DDR",
    index=None,
    pool=RAM_ID,
    memory=256 * GIB,
    free=240 * GIB,
    bandwidth=50e9,
    compute=2e12,
    capability=None,
    host_link=50e9,
)


def rig(gpus: int = 2, *, ram: Device = RAM, left_out: tuple[str, ...] = ()) -> Rig:
    devices = tuple(gpu(index) for index in range(gpus))
    ways = tuple(
        Interconnect(a.id, b.id, "pcie", 32e9) for a in devices for b in devices if a.id < b.id
    )
    return Rig(devices, ram, ways, 32, 4096 * GIB, 3e9, left_out)


def wish(model: str, **changes: Any) -> Wish:
    made = Wish(
        model=model,
        build=None,
        weight=1.0,
        context=32768,
        slots=1,
        speed=8.0,
        pin=False,
        ttl=None,
        engines=("llama-server", "vllm"),
    )
    return replace(made, **changes)


def option(build: str, sizes: dict[str, int], gpus: tuple[str, ...] = (), **changes: Any) -> Option:
    """`sizes`: bytes by device, all of them weights but for a gibibyte of KV cache."""
    parts = [(device, "weights", size - GIB) for device, size in sizes.items()]
    caches = [(device, "kv_cache", GIB) for device in sizes]
    given: dict[str, Any] = {"context": 131072, "slots": 4, "engine": "llama-server"}
    given |= {key: changes.pop(key) for key in list(changes) if key in _DEPLOYMENT}
    made = Option(
        deployment=Deployment(model=build.partition(":")[0], build=build, gpus=gpus, **given),
        footprint=Footprint.of_bytes([*parts, *caches]),  # type: ignore[list-item]
        speed=Speed(prefill=2400.0, decode=43.2, decode_all=120.0, binds="bandwidth"),
        weights_bytes=sum(sizes.values()) - GIB,
        load_seconds=9.4,
        held=True,
        capability=80.0,
        retention=0.985,
    )
    return replace(made, **changes)


_DEPLOYMENT = frozenset(Deployment.__dataclass_fields__)

BIG = Assignment(
    wish("qwen3.5-122b-a10b"),
    option(
        "qwen3.5-122b-a10b:ud-q4_k_xl",
        {"GPU-0": 11 * GIB, "GPU-1": 18 * GIB, "ram": 60 * GIB},
        ("GPU-0", "GPU-1"),
        cpu_experts=30,
        layer_split=(24, 25),
        estimated=True,
    ),
    "resident",
    "the most capable model above 8 tokens/s",
    "memory of GPU 1",
)
SMALL = Assignment(
    wish("qwen3.5-9b"),
    option("qwen3.5-9b:q4_k_m", {"GPU-0": 8 * GIB}, ("GPU-0",)),
    "resident",
    "it fits beside the others",
    "the model's context",
)
SLEEPER = Assignment(
    wish("qwen3.5-4b"),
    option(
        "qwen3.5-4b:bf16",
        {"GPU-1": 12 * GIB},
        ("GPU-1",),
        engine="vllm",
        asleep=Footprint.of_bytes([("ram", "weights", 9 * GIB), ("GPU-1", "context", GIB)]),
    ),
    "asleep",
    "it wakes faster than it loads",
    "memory of GPU 1",
)
ASKED = Assignment(
    wish("qwen3.5-27b"),
    option("qwen3.5-27b:q4_k_m", {"GPU-1": 21 * GIB}, ("GPU-1",), held=False),
    "on demand",
    "no room beside qwen3.5-122b-a10b",
    "memory of GPU 1",
    evicts=("qwen3.5-122b-a10b:ud-q4_k_xl",),
)
HUGE = Rejection(
    "qwen3.5-397b-a17b",
    "the smallest build, ud-iq1_m, takes 104.2 GiB where 101.0 GiB are left of RAM and both GPUs",
    "large",
    short={"ram": 3 * GIB + 205 * MIB},
)

PLAN = Plan(
    assignments=(SMALL, ASKED, SLEEPER, BIG),
    rejections=(
        HUGE,
        Rejection("qwen3.5-397b-a17b:q8_0", "needs 400.0 GiB", "large", short={"ram": 200 * GIB}),
        Rejection("qwen3.5-9b:q8_0", "less capable in all than q4_k_m with more slots", "beaten"),
    ),
    objective=(("pinned", 0), ("capability", 812)),
    proven=True,
    gap=0.0,
    pools=(
        PoolUse("GPU-0", f"GPU 0 ({RTX_4090})", 24 * GIB, 22 * GIB, 19 * GIB),
        PoolUse("GPU-1", f"GPU 1 ({RTX_4090})", 24 * GIB, 22 * GIB, 19 * GIB),
        PoolUse("ram", "RAM", 256 * GIB, 240 * GIB, 69 * GIB),
    ),
    next_best=NextBest("qwen3.5-27b resident on GPU 1", "qwen3.5-122b's place"),
    remedies=(
        Remedy("8.0 GiB more on GPU 1", "qwen3.5-27b would be resident", {"GPU-1": 8 * GIB}),
    ),
)

DEMAND = Demand(
    tuple(wish(f"qwen3.5-{size}") for size in ("4b", "9b", "27b", "122b-a10b", "397b-a17b")),
    auto=True,
)
COMMAND = Command(
    "qwen3.5-9b:q4_k_m",
    {"CUDA_VISIBLE_DEVICES": "GPU-0"},
    ("/opt/llama-server", "--host", "/run/a b.sock", "--jinja", "--ctx-size", "131072"),
)


def draft(plan: Plan = PLAN, **changes: Any) -> Draft:
    made = Draft(
        subject="2x4090+256G",
        command="holdfast plan --models all",
        rig=rig(),
        demand=DEMAND,
        plan=plan,
        options=tuple(a.option for a in plan.assignments),
        commands=(COMMAND,),
    )
    return replace(made, **changes)
