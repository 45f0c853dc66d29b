"""Flags over the configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server import catalogue, settings
from server.catalogue import Catalogue
from server.catalogue.serve import ServedModel
from server.cli.plan.asked import Asked, names, tokens, wanted
from server.errors import ConfigError, ModelNotFound


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    home = tmp_path_factory.mktemp("home")
    return catalogue.load(settings.load({}, home=home, system_config=home / "none"))


def configured(known: Catalogue, *tables: ServedModel) -> Catalogue:
    return replace(known, serve=replace(known.serve, model=tables))


def test_without_flags_it_is_the_configuration(known: Catalogue) -> None:
    made = wanted(known, Asked())
    assert made.auto
    assert "demo" not in {wish.model for wish in made.wishes}
    assert len(made.wishes) == len(known.models) - 1


def test_named_models_take_the_place_of_all_others(known: Catalogue) -> None:
    made = wanted(known, Asked(models=("qwen3.5-9b", "qwen3.5-4b:q4_k_m")))
    assert [wish.name for wish in made.wishes] == ["qwen3.5-9b", "qwen3.5-4b:q4_k_m"]
    assert not made.auto


def test_context_and_slots_beat_the_tables(known: Catalogue) -> None:
    table = ServedModel("qwen3.5-9b", context=8192, slots=2, weight=3.0)
    (wish,) = wanted(configured(known, table), Asked(context=65536, slots=8)).wishes
    assert (wish.context, wish.context_limit, wish.slots, wish.weight) == (65536, 65536, 8, 3.0)
    (wish,) = wanted(configured(known, table), Asked()).wishes
    assert (wish.context, wish.slots) == (8192, 2)


def test_pins(known: Catalogue) -> None:
    made = wanted(known, Asked(pins=("qwen3.5-9b",)))
    assert [wish.model for wish in made.wishes if wish.pin] == ["qwen3.5-9b"]


def test_a_pinned_build_is_not_another_build(known: Catalogue) -> None:
    asked = Asked(models=("qwen3.5-9b:q4_k_m",), pins=("qwen3.5-9b:q8_0",))
    with pytest.raises(ConfigError, match=r"Add it to --models; now there are qwen3\.5-9b:q4_k_m"):
        wanted(known, asked)


def test_a_pin_of_what_is_not_wanted_is_refused(known: Catalogue) -> None:
    with pytest.raises(ConfigError, match=r"--pin qwen3\.5-4b is not among"):
        wanted(known, Asked(models=("qwen3.5-9b",), pins=("qwen3.5-4b",)))


@pytest.mark.parametrize("asked", [Asked(models=("qwen3.5-9",)), Asked(pins=("qwen3.5-9",))])
def test_an_unknown_name_brings_the_nearest(known: Catalogue, asked: Asked) -> None:
    with pytest.raises(ModelNotFound, match=r'"qwen3\.5-9b"'):
        wanted(known, asked)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [([], ()), (["a,b", "c"], ("a", "b", "c")), ([" a , ,b,a"], ("a", "b"))],
)
def test_names(texts: list[str], expected: tuple[str, ...]) -> None:
    assert names(texts) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("32768", 32768), ("32K", 32768), ("128k", 131072), ("1M", 1048576)]
)
def test_tokens(text: str, expected: int) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "32 thousand", "1.5K", "0K"])
def test_what_is_no_number_of_tokens(text: str) -> None:
    with pytest.raises(ConfigError, match="32768 or 32K"):
        tokens(text)
