"""Interchangeable GPUs, laid out as one would do it by hand."""

from __future__ import annotations

import pytest

from server.hardware.imagined import imagined
from server.planning.alike import Need, alike, canonical, side_by_side, within
from server.planning.deployment import Deployment
from server.planning.footprint.component import Footprint
from server.planning.plan import Option
from server.planning.rig import rig
from server.planning.speed import Speed
from server.units import GIB
from tests.planning.machines import busy


def option(capability: float, *numbers: int) -> Option:
    gpus = tuple(f"GPU-{number}" for number in numbers)
    held = [(gpu, "weights", GIB) for gpu in gpus]
    return Option(
        Deployment("m", "m:b", "llama-server", gpus, 4096, 1),
        Footprint.of_bytes(held),  # type: ignore[arg-type]
        Speed(1.0, 1.0, 1.0, "bandwidth"),
        weights_bytes=1,
        load_seconds=1.0,
        held=True,
        capability=capability,
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(90.0, 5)], [(0,)]),
        ([(90.0, 0), (80.0, 1, 3), (70.0, 4, 5, 6, 7)], [(6,), (4, 5), (0, 1, 2, 3)]),
        ([(80.0, 7, 2), (70.0, 2)], [(0, 1), (1,)]),  # what shares a GPU still does
        ([(80.0,), (70.0, 3)], [(), (0,)]),  # the CPU
    ],
)
def test_models_stand_on_neighbours(
    given: list[tuple[float, *tuple[int, ...]]], expected: list[tuple[int, ...]]
) -> None:
    at = rig(imagined("8xH100-80G+2T"))
    found = side_by_side([option(capability, *numbers) for capability, *numbers in given], at)
    for one, numbers in zip(found, expected, strict=True):
        gpus = tuple(f"GPU-{number}" for number in numbers)
        assert one.deployment.gpus == gpus
        assert set(one.footprint.by_device()) == set(gpus)


def test_gpus_with_other_room_or_of_another_kind_are_not_swapped() -> None:
    at = rig(busy("3x4090+64G", {0: 20 * GIB}))
    (found,) = side_by_side([option(90.0, 2)], at)
    assert found.deployment.gpus == ("GPU-1",)
    mixed = rig(imagined("1x4090+1x3090+64G"))
    (found,) = side_by_side([option(90.0, 1)], mixed)
    assert found.deployment.gpus == ("GPU-1",)


PAIRS = rig(imagined("4x3090+nvlink+128G"))
ALL = ("GPU-0", "GPU-1", "GPU-2", "GPU-3")


def test_who_shares_each_layer_needs_the_bridge_and_nobody_else() -> None:
    at = alike(PAIRS)
    assert at.by_kind == (ALL,)
    assert at.by_link == (ALL[:2], ALL[2:])
    split = Deployment("m", "m:b", "llama-server", ALL[1:3], 4096, 1, layer_split=(1, 1))
    assert canonical(split, at).gpus == ALL[:2]
    ranks = Deployment("m", "m:b", "vllm", ALL[1:3], 4096, 1, tensor_parallel=2)
    assert canonical(ranks, at).gpus == (ALL[0], ALL[2])


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ([], [], True),
        ([(ALL, 1, 5)], [], False),
        ([(ALL, 1, 5)], [(ALL, 2, 5)], True),
        ([(ALL, 1, 6)], [(ALL, 2, 5)], False),
        ([(ALL, 2, 5)], [(ALL[:2], 2, 5)], True),  # on any GPUs, and so on those two
        ([(ALL[:2], 2, 5)], [(ALL, 2, 5)], False),
        ([(ALL, 3, 5)], [(ALL[:2], 2, 5), (ALL[2:], 1, 7)], True),
        ([(ALL, 3, 6)], [(ALL[:2], 2, 5), (ALL[2:], 1, 7)], False),
    ],
)
def test_what_stands_in_the_place_of_what(
    mine: list[tuple[tuple[str, ...], int, int]],
    theirs: list[tuple[tuple[str, ...], int, int]],
    expected: bool,
) -> None:
    assert within([Need(*need) for need in mine], [Need(*need) for need in theirs]) is expected
