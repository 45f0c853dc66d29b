from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from google.genai.types import EmbedContentResponse
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.cloud import EMBEDDING_KINDS
from server.chat.embeddings import parse_embedding
from server.chat.vectors import Vectors
from server.errors import ProviderError, RequestError
from server.providers import EMBEDDERS
from server.providers.gemini_embeddings import MOST
from tests.providers.clouds import model

MAKER = model(id="gemini/e-2", name="e-2", embeddings=True)
GEMINI = EMBEDDERS["gemini"]


def encoded(**fields: Any) -> tuple[str, Any]:
    call = GEMINI.encode(parse_embedding({"model": "m", "input": "hi", **fields}), MAKER)
    return call.path, orjson.loads(call.body)


def answered(answer: Any, encoding: str = "float", **fields: Any) -> Any:
    """What the client gets of a Gemini's `answer`, for two inputs."""
    request = parse_embedding(
        {"model": "m", "input": ["a", "b"], "encoding_format": encoding, **fields}
    )
    body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    return orjson.loads(Vectors(request, ProviderError).feed(GEMINI.read(body, MAKER, 9)))


def test_there_is_one_for_each_kind_that_makes_them() -> None:
    assert tuple(EMBEDDERS) == EMBEDDING_KINDS


def test_each_input_is_a_content_of_its_own() -> None:
    path, body = encoded(input=["a", "b"], dimensions=5)
    assert path == "/v1/models/e-2:batchEmbedContents"
    asked = {"model": "models/e-2", "outputDimensionality": 5}
    assert body == {
        "requests": [
            {**asked, "content": {"parts": [{"text": "a"}]}},
            {**asked, "content": {"parts": [{"text": "b"}]}},
        ]
    }
    assert "outputDimensionality" not in encoded()[1]["requests"][0]


@pytest.mark.parametrize(
    ("asked", "param", "says"),
    [
        ([1, 2], "input[0]", "takes no token ids"),
        (["a", [1]], "input[1]", "takes no token ids"),
        (["a"] * (MOST + 1), "input", "takes 100 inputs at a time, and there are 101"),
    ],
)
def test_what_it_does_not_take_is_named(asked: Any, param: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        encoded(input=asked)
    assert caught.value.param == param
    assert says in caught.value.sentence
    assert "gemini/e-2" in caught.value.sentence
    assert len(encoded(input=["a"] * MOST)[1]["requests"]) == MOST


VALUES = {"embeddings": [{"values": [0.5, -0.25]}, {"values": [1, 0]}]}


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({}, 9),
        ({"usageMetadata": None}, 9),
        ({"usageMetadata": {}}, 9),
        ({"usageMetadata": {"promptTokenCount": "4"}}, 9),
        ({"usageMetadata": {"promptTokenCount": 4}}, 4),
    ],
)
def test_its_answer_is_openais_with_tokens_told_or_estimated(more: Any, tokens: int) -> None:
    EmbedContentResponse.model_validate(VALUES)
    whole = answered(VALUES | more)
    assert [one["embedding"] for one in whole["data"]] == [[0.5, -0.25], [1.0, 0.0]]
    assert whole["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert whole["model"] == "e-2"


def test_numbers_stay_what_they_are_in_either_form() -> None:
    assert answered(VALUES, "base64")["data"][0]["embedding"] == "AAAAPwAAgL4="


def test_vectors_of_another_length_than_was_asked_for() -> None:
    with pytest.raises(RequestError, match="have 2 numbers"):
        answered(VALUES, dimensions=3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        [],
        {},
        {"embeddings": None},
        {"embeddings": [{}]},
        {"embeddings": [{"values": None}, {"values": [1]}]},
        {"embeddings": [{"values": ["a"]}, {"values": [1]}]},
        {"embeddings": [{"values": []}, {"values": []}]},
        {"embeddings": [{"values": [1]}] * 3},
        {"embeddings": [{"values": [1]}, {"values": [1, 2]}]},
        {"embeddings": [{"values": [1]}] * 2, "usageMetadata": 5},
    ],
)
def test_what_cannot_be_read_is_the_providers_fault(answer: Any) -> None:
    with pytest.raises(ProviderError):
        answered(answer)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["embeddings", "values", "usageMetadata"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_answer_is_read_or_refused(answer: Any) -> None:
    with contextlib.suppress(ProviderError):
        GEMINI.read(orjson.dumps(answer), MAKER, 9)
