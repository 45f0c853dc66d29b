from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from server import catalogue, settings
from server.catalogue import Build, Catalogue
from server.errors import DoesNotFit, EngineError, HoldfastError, ModelNotFound, StoreError
from server.planning.places import Place
from server.planning.selection import Selection, select
from server.store.layout import Installed, Missing
from server.units import GIB

KNOWN = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)
SMALL, MIDDLE, LARGE = "qwen3.5-0.8b:q4_k_m", "qwen3.5-4b:q4_k_m", "qwen3.5-9b:q4_k_m"
LARGE_Q8 = "qwen3.5-9b:q8_0"


def cpu(gib: float) -> Place:
    return Place("the CPU", int(gib * GIB), 25e9)


def gpu(gib: float) -> Place:
    return Place("GPU 0 (a card)", int(gib * GIB), 1e12, "GPU-0")


def choose(
    held: Collection[str],
    places: list[Place],
    *,
    asked: tuple[str, ...] = (),
    demo: bool = False,
    known: Catalogue = KNOWN,
) -> Selection:
    """What is selected where the builds named in `held` are on disk."""

    def look(build: Build) -> Installed | Missing:
        if build.name not in held and build.model != "demo":
            return Missing(build, Path("/models"), ("it does not exist",))
        size = build.bytes or 7_000_000
        file = Path("/models") / f"{build.id}.gguf"
        return Installed(build, (file,), file, None, size, 0)

    known = replace(known, serve=replace(known.serve, models=asked))
    return select(known, look, places, demo=demo)


def names(selection: Selection) -> list[str]:
    return [pick.build.name for pick in selection.picks]


@pytest.mark.parametrize(
    ("held", "memory", "served", "reason"),
    [
        ([], 64, "demo:f16", "holds no weights"),
        ([SMALL], 64, SMALL, "most capable"),
        ([SMALL, MIDDLE, LARGE], 64, LARGE, "most capable"),
        ([SMALL, MIDDLE, LARGE, LARGE_Q8], 64, LARGE_Q8, "most capable"),
        ([SMALL, MIDDLE, LARGE, LARGE_Q8], 11, LARGE, "most capable"),
        ([SMALL, MIDDLE, LARGE], 6, MIDDLE, "most capable"),
        ([LARGE], 2, "demo:f16", f"none of the builds in the store fits: {LARGE}"),
        (["qwen3.5-9b:bf16"], 64, "demo:f16", "holds no weights"),
    ],
)
def test_without_a_wish_the_best_that_fits_is_served(
    held: list[str], memory: int, served: str, reason: str
) -> None:
    selection = choose(held, [cpu(memory)])
    assert names(selection) == [served]
    assert reason in selection.reason


def test_a_wish_is_fulfilled_in_full_and_in_order() -> None:
    selection = choose([SMALL, LARGE], [cpu(64)], asked=("qwen3.5-0.8b", LARGE))
    assert names(selection) == [SMALL, LARGE]


def test_the_demo_is_served_when_asked_for_whatever_is_there() -> None:
    assert names(choose([LARGE], [cpu(64)], demo=True)) == ["demo:f16"]
    assert names(choose([LARGE], [cpu(64)], asked=("demo",))) == ["demo:f16"]


def test_a_bare_name_means_the_largest_build_on_disk() -> None:
    selection = choose([LARGE, LARGE_Q8], [cpu(64)], asked=("qwen3.5-9b",))
    assert names(selection) == [LARGE_Q8]


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ("qwen3.5-9x", ModelNotFound, "qwen3.5-9b"),
        ("qwen3.5-9b:q4", ModelNotFound, "q4_0"),
        ("qwen3.5-9b:bf16", EngineError, "GGUF builds of it: qwen3.5-9b:"),
        (MIDDLE, StoreError, "not in the store"),
        ("qwen3.5-4b", StoreError, "no build of qwen3.5-4b is in the store"),
        (LARGE, DoesNotFit, "are free on the CPU"),
    ],
)
def test_what_cannot_be_served_is_an_error_that_says_why(
    asked: str, error: type[HoldfastError], told: str
) -> None:
    with pytest.raises(error) as caught:
        choose([LARGE], [cpu(3)], asked=(asked,))
    assert told in str(caught.value)


def test_the_second_model_gets_what_the_first_leaves() -> None:
    both = choose([SMALL, MIDDLE], [cpu(8)], asked=(SMALL, MIDDLE))
    alone = choose([SMALL, MIDDLE], [cpu(8)], asked=(MIDDLE,))
    taken = sum(pick.sizing.footprint.total for pick in both.picks)
    assert taken <= 8 * GIB
    assert both.picks[1].sizing.footprint.total < alone.picks[0].sizing.footprint.total
    with pytest.raises(DoesNotFit, match=MIDDLE):
        choose([SMALL, MIDDLE], [cpu(4)], asked=(SMALL, MIDDLE))


@pytest.mark.parametrize(
    ("places", "taken"),
    [
        ([gpu(24), cpu(64)], ["GPU 0 (a card)", "GPU 0 (a card)"]),
        ([gpu(9), cpu(64)], ["GPU 0 (a card)", "the CPU"]),
        ([gpu(2), cpu(64)], ["the CPU", "the CPU"]),
        ([cpu(64)], ["the CPU", "the CPU"]),
    ],
)
def test_each_model_goes_to_the_first_place_that_holds_it(
    places: list[Place], taken: list[str]
) -> None:
    selection = choose([LARGE, MIDDLE], places, asked=(LARGE, MIDDLE))
    assert [pick.place.name for pick in selection.picks] == taken


def test_context_and_slots_of_the_configuration_are_kept() -> None:
    serve: Mapping[str, int] = {"context": 8192, "slots": 3}
    known = replace(KNOWN, serve=replace(KNOWN.serve, **serve))
    (pick,) = choose([LARGE], [cpu(64)], known=known).picks
    assert (pick.sizing.context, pick.sizing.slots) == (8192, 3)
    (pick,) = choose([], [cpu(64)], known=known).picks
    assert pick.sizing.context == pick.model.context == 4096  # more than it was trained for
