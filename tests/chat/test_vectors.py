"""Vectors reach the client in the form and order that it asked for, whatever they come in."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from server.chat.embeddings import EmbeddingRequest, parse_embedding
from server.chat.usage import Usage
from server.chat.vectors import Vectors
from server.errors import EngineError, HoldfastError, ProviderError, RequestError


def asked(given: Any = "hi", **fields: Any) -> EmbeddingRequest:
    return parse_embedding({"model": "m", "input": given, **fields})


def entry(index: int, vector: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": vector}


def answer(*entries: Any, **more: Any) -> bytes:
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return orjson.dumps({"data": list(entries), "model": "m-1", "usage": usage, **more})


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def told(request: EmbeddingRequest, *answers: bytes) -> tuple[Vectors, bytes]:
    relay = Vectors(request, ProviderError)
    return relay, b"".join([relay.feed(one) for one in answers])


def test_the_answer_is_in_the_order_of_the_inputs() -> None:
    relay, body = told(asked(["a", "b"]), answer(entry(1, [0.5]), entry(0, [0.25])))
    read = CreateEmbeddingResponse.model_validate_json(body)
    assert [one.embedding for one in read.data] == [[0.25], [0.5]]
    assert (read.model, read.usage.prompt_tokens, read.usage.total_tokens) == ("m-1", 3, 3)
    assert (relay.usage, relay.done, relay.error) == (Usage(3, 0), True, None)


def test_answers_for_some_inputs_each_become_one() -> None:
    relay = Vectors(asked(["a", "b", "c"]), EngineError)
    assert relay.feed(answer(entry(0, packed(1)), entry(1, packed(2)))) == b""
    assert not relay.done
    body = relay.feed(answer(entry(0, packed(3))))
    read = CreateEmbeddingResponse.model_validate_json(body)
    assert [(one.index, one.embedding) for one in read.data] == [(0, [1]), (1, [2]), (2, [3])]
    assert relay.usage == Usage(6, 0)


def test_who_tells_no_usage_is_not_made_to() -> None:
    relay, body = told(asked(), answer(entry(0, [1]), usage=None))
    assert relay.usage is None
    assert orjson.loads(body)["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


floats = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)


@given(floats, st.booleans(), st.booleans())
def test_numbers_and_base64_say_the_same(numbers: list[float], comes: bool, wants: bool) -> None:
    sent = packed(*numbers) if comes else numbers
    _, body = told(asked(encoding_format="base64" if wants else "float"), answer(entry(0, sent)))
    (found,) = [one["embedding"] for one in orjson.loads(body)["data"]]
    assert found == (packed(*numbers) if wants else numbers)


def test_vectors_that_are_longer_than_asked_for_are_no_answer() -> None:
    _, body = told(asked(dimensions=2), answer(entry(0, [0.5, 0.25])))
    assert orjson.loads(body)["data"] == [entry(0, [0.5, 0.25])]
    with pytest.raises(RequestError, match="have 3 numbers, and cannot be cut") as caught:
        told(asked(dimensions=2), answer(entry(0, [0.5, 0.25, 0.125])))
    assert caught.value.param == "dimensions"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        answer(),
        answer(1),
        answer(entry(1, [0.5])),
        answer(entry(0, "AAAA")),
        answer(entry(0, "not base64!")),
        answer(entry(0, "")),
        answer(entry(0, [])),
        answer(entry(0, [[0.5]])),
        answer(entry(0, ["1"])),
        answer(entry(0, {"values": [1]})),
        answer(entry(0, [0.5]), entry(0, [0.5])),
        answer(entry(0, [0.5]), entry(1, [0.5])),
        answer({"index": "0", "embedding": [1]}),
    ],
)
@pytest.mark.parametrize("blame", [EngineError, ProviderError])
def test_what_cannot_be_read_is_the_targets_fault(body: bytes, blame: type[HoldfastError]) -> None:
    with pytest.raises(blame, match=f"The {blame.fault} sent an answer that cannot be read"):
        Vectors(asked(), blame).feed(body)


def test_vectors_of_two_lengths_are_of_no_use() -> None:
    with pytest.raises(ProviderError, match="not of one length"):
        told(asked(["a", "b"]), answer(entry(0, [1]), entry(1, [1, 2])))
