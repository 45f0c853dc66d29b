"""`[serve]` and what it comes to: one wish for each model, with nothing left open."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from server import catalogue, settings
from server.catalogue import EngineName, Serve, ServedModel
from server.errors import ModelNotFound
from server.planning.demand import LEAST_CONTEXT, READABLE, Demand, Wish, demand

KNOWN = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)
FAMILY = [name for name in KNOWN.models if name != "demo"]
BOTH: tuple[EngineName, ...] = ("llama-server", "vllm")


def of(serve: Serve) -> Demand:
    return demand(replace(KNOWN, serve=serve))


def test_without_a_word_every_model_but_the_demo_is_considered() -> None:
    found = of(Serve())
    assert found.auto
    assert [wish.model for wish in found.wishes] == FAMILY
    assert len(FAMILY) == 8
    assert {wish.build for wish in found.wishes} == {None}
    assert {wish.speed for wish in found.wishes} == {READABLE}
    assert {wish.context for wish in found.wishes} == {LEAST_CONTEXT}
    assert not any(wish.pin for wish in found.wishes)
    assert of(Serve(auto=True)) == found


def test_names_are_served_however_slowly() -> None:
    found = of(Serve(models=("qwen3.5-9b:q4_k_m", "demo")))
    assert not found.auto
    nine = Wish("qwen3.5-9b", "q4_k_m", 1.0, 4096, 1, 0.0, False, None, BOTH, None, None)
    assert found.wishes[0] == nine
    assert found.wishes[0].name == "qwen3.5-9b:q4_k_m"
    assert (found.wishes[1].name, found.wishes[1].context) == ("demo", KNOWN.models["demo"].context)


def test_context_and_slots_of_serve_are_what_each_gets() -> None:
    found = of(Serve(models=("qwen3.5-9b", "demo"), context=32_768, slots=3))
    nine, small = found.wishes
    assert (nine.context, nine.context_limit) == (32_768, 32_768)
    assert (nine.slots, nine.slots_limit) == (3, 3)
    trained = KNOWN.models["demo"].context
    assert (small.context, small.context_limit) == (trained, trained)


def test_a_tables_context_is_the_least_and_its_slots_are_exact() -> None:
    table = ServedModel("qwen3.5-9b", 2.0, 65_536, 4, 20.0, True, None, ("vllm",))
    (wish,) = of(Serve(model=(table,), context=8192, slots=1)).wishes
    assert wish == Wish("qwen3.5-9b", None, 2.0, 65_536, 4, 20.0, True, None, ("vllm",), None, 4)


@pytest.mark.parametrize(
    ("serve", "names", "auto"),
    [
        (Serve(model=(ServedModel("qwen3.5-4b"),)), ["qwen3.5-4b"], False),
        (
            Serve(models=("qwen3.5-2b",), model=(ServedModel("qwen3.5-4b"),)),
            ["qwen3.5-2b"],
            False,
        ),
        # Names of a command line stand before an "auto" of the file.
        (Serve(models=("qwen3.5-2b",), auto=True), ["qwen3.5-2b"], False),
        (Serve(auto=True, model=(ServedModel("qwen3.5-4b", pin=True),)), FAMILY, True),
        (
            Serve(auto=True, model=(ServedModel("qwen3.5-0.8b:q8_0"), ServedModel("demo"))),
            ["qwen3.5-0.8b:q8_0", *FAMILY[1:], "demo"],
            True,
        ),
    ],
)
def test_which_are_wished_for(serve: Serve, names: list[str], auto: bool) -> None:
    found = of(serve)
    assert sorted(wish.name for wish in found.wishes) == sorted(names)
    assert found.auto is auto


def test_a_pinned_model_may_be_slow_and_others_that_are_considered_may_not() -> None:
    tables = (ServedModel("qwen3.5-4b", pin=True), ServedModel("qwen3.5-9b", speed=2.5))
    speeds = {wish.model: wish.speed for wish in of(Serve(auto=True, model=tables)).wishes}
    assert speeds["qwen3.5-4b"] == 0
    assert speeds["qwen3.5-9b"] == 2.5
    assert speeds["qwen3.5-27b"] == READABLE


def test_the_table_of_a_model_holds_for_its_builds_without_one() -> None:
    serve = Serve(
        models=("qwen3.5-9b:q4_k_m", "qwen3.5-9b:q8_0"),
        model=(ServedModel("qwen3.5-9b", weight=3), ServedModel("qwen3.5-9b:q8_0", weight=5)),
    )
    assert [wish.weight for wish in of(serve).wishes] == [3, 5]


def test_what_makes_embeddings_runs_in_llama_server() -> None:
    serve = Serve(models=("qwen3.5-9b",), model=(ServedModel("qwen3.5-9b", embeddings=True),))
    (wish,) = of(serve).wishes
    assert (wish.embeddings, wish.engines) == (True, ("llama-server",))


def test_keep_alive_is_the_ttl_of_models_without_a_table() -> None:
    serve = Serve(
        models=("qwen3.5-9b", "qwen3.5-4b"), keep_alive=60.0, model=(ServedModel("qwen3.5-4b"),)
    )
    assert [wish.ttl for wish in of(serve).wishes] == [60.0, None]


@pytest.mark.parametrize("name", ["qwen3.5-9c", "qwen3.5-9b:q5_0"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(ModelNotFound):
        of(Serve(models=(name,)))
