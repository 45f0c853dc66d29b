from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.embedding_create_params import EmbeddingCreateParams

from server.catalogue.cloud import CloudModel, Price, Rate
from server.chat.embeddings import (
    EMBEDDINGS,
    MAX_INPUTS,
    EmbeddingRequest,
    Input,
    engine_embedding_body,
    parse_embedding,
)
from server.errors import RequestError
from server.providers.openai_embeddings import EMBEDDER


def asked(given: Any = "hi", **fields: Any) -> EmbeddingRequest:
    return parse_embedding({"model": "m", "input": given, **fields})


def test_every_parameter_of_the_openai_client_is_known() -> None:
    known = EmbeddingCreateParams.__required_keys__ | EmbeddingCreateParams.__optional_keys__
    assert known == EMBEDDINGS.keys()


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("hi", ("hi",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [3]], ("a", (3,))),
    ],
)
def test_inputs(given: Any, inputs: tuple[Input, ...]) -> None:
    assert asked(given).inputs == inputs


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": None}, "input", "Missing"),
    ({"model": None}, "model", "Missing"),
    ({"input": ""}, "input", "1 to"),
    ({"input": []}, "input", "1 to"),
    ({"input": ["a", ""]}, "input[1]", "1 to"),
    ({"input": [[]]}, "input[0]", "1 to"),
    ({"input": [1, "a"]}, "input[1]", "an integer"),
    ({"input": [-1]}, "input[0]", ">= 0"),
    ({"input": [True]}, "input[0]", "a string or"),
    ({"input": 1}, "input", "a string, or"),
    ({"input": {"a": 1}}, "input", "a string, or"),
    ({"input": ["a"] * (MAX_INPUTS + 1)}, "input", "2048"),
    ({"encoding_format": "int8"}, "encoding_format", "'int8'"),
    ({"dimensions": 0}, "dimensions", ">= 1"),
    ({"truncate": True}, "truncate", "Unrecognized"),
]


@pytest.mark.parametrize(("fields", "param", "says"), REFUSED)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        asked(**{"given": "hi"} | {"given" if k == "input" else k: v for k, v in fields.items()})
    assert caught.value.param == param
    assert says in caught.value.sentence


def test_what_an_engine_is_asked() -> None:
    request = asked(["a", [1], "b"], user="u")
    assert engine_embedding_body(request, request.inputs[:2]) == {
        "input": ["a", [1]],
        "encoding_format": "base64",
    }


def test_what_a_cloud_is_asked() -> None:
    model = CloudModel("c/m", "c", "m-1", "M", 8192, 0, Price(Rate(1, 0)), embeddings=True)
    call = EMBEDDER.encode(asked(dimensions=5), model)
    assert call.path == "/embeddings"
    assert orjson.loads(call.body) == {
        "model": "m-1",
        "input": ["hi"],
        "encoding_format": "float",
        "dimensions": 5,
    }


@given(
    given=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
        lambda inner: st.lists(inner, max_size=3),
    )
)
def test_any_input(given: Any) -> None:
    try:
        request = asked(given)
    except RequestError as error:
        assert (error.param or "").startswith("input")  # noqa: PT017
    else:
        assert len(request.inputs) >= 1
