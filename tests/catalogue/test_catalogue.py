"""Looking models up by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.catalogue import Catalogue
from server.catalogue.catalogue import shorten, suggestion
from server.errors import ModelNotFound


@pytest.fixture
def catalogue(load_over: Callable[..., Catalogue]) -> Catalogue:
    return load_over()


def test_a_model_and_a_build_resolve(catalogue: Catalogue) -> None:
    model, build = catalogue.resolve("qwen3.5-9b")
    assert (model.id, build) == ("qwen3.5-9b", None)
    model, build = catalogue.resolve("qwen3.5-9b:q4_k_m")
    assert build is not None
    assert build.name == "qwen3.5-9b:q4_k_m"
    assert build in model.builds


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen3.5-9", 'there is no model "qwen3.5-9". Did you mean "qwen3.5-9b"'),
        ("QWEN3.5-9B", 'Did you mean "qwen3.5-9b"'),
        ("gpt-4o", "Models: qwen3.5-0.8b, qwen3.5-2b, qwen3.5-4b"),
        ("", "Models: qwen3.5-0.8b"),
        ("qwen3.5-9b:q4km", 'qwen3.5-9b has no build "q4km". Did you mean "q4_k_m"'),
        ("qwen3.5-9b:", "Builds of qwen3.5-9b: bf16, "),
        ("qwen3.5-9b:q4_k_m:x", 'Did you mean "q4_k_m"'),
        ("x" * 5000, f'there is no model "{"x" * 77}..."'),
    ],
)
def test_an_unknown_name_is_told_the_nearest(
    catalogue: Catalogue, name: str, expected: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalogue.resolve(name)
    assert expected in caught.value.sentence
    assert caught.value.param == "model"
    assert len(caught.value.sentence) < 1000


def test_suggestions() -> None:
    assert suggestion("prot", ["port", "host"], "Keys") == 'Did you mean "port"?'
    assert suggestion("zzz", ["port", "host"], "Keys") == "Keys: port, host"
    assert suggestion("zzz", [], "Models") == "Models: none"
    assert shorten("abc") == "abc"
    assert len(shorten("a" * 100)) == 80
