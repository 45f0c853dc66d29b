import os
from pathlib import Path
from typing import cast

import pytest

from server import catalogue, settings
from server.engines.member import Member
from server.errors import ModelNotFound
from server.routing.targets import Target, Targets

CATALOGUE = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)


@pytest.fixture
def targets() -> Targets:
    served = []
    for name in ("qwen3.5-9b:q4_k_m", "qwen3.5-9b:q8_0", "qwen3.5-4b:q4_k_m"):
        model, build = CATALOGUE.resolve(name)
        assert build is not None
        served.append(Target(model, build, cast(Member, None), sees=False, created=0))
    return Targets(CATALOGUE, served)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("qwen3.5-9b", "qwen3.5-9b:q4_k_m"),
        ("qwen3.5-9b:q8_0", "qwen3.5-9b:q8_0"),
        ("qwen3.5-4b", "qwen3.5-4b:q4_k_m"),
    ],
)
def test_a_name_finds_its_build_and_a_bare_one_the_first(
    targets: Targets, name: str, build: str
) -> None:
    assert targets.find(name).build.name == build


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("qwen3.5-9B", "Did you mean qwen3.5-9b"),
        ("qwen-9b", "Did you mean qwen3.5-9b"),
        ("qwen3.5-27b", "is in the catalogue, but is not running"),
        ("gpt-5", "Served: qwen3.5-9b, qwen3.5-9b:q4_k_m, "),
        ("x" * 100_000, "Served: "),
        ("", "Served: "),
    ],
)
def test_an_unknown_name_is_told_the_nearest(targets: Targets, name: str, told: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        targets.find(name)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.param == "model"


def test_every_name_that_can_be_asked_for_is_listed(targets: Targets) -> None:
    assert [name for name, _ in targets.served()] == [
        "qwen3.5-9b",
        "qwen3.5-9b:q4_k_m",
        "qwen3.5-9b:q8_0",
        "qwen3.5-4b",
        "qwen3.5-4b:q4_k_m",
    ]
