"""Embeddings: requests checked and frozen, bodies for engines and clouds, answers read. No I/O.

An engine embeds where it was started for it: llama-server with `--embeddings --pooling last`,
which goes on to serve chats. With another pooling it refuses inputs longer than its physical
batch, and with none (its default for such models) all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import orjson

from server.chat.checks import (
    array,
    choice,
    integer,
    invalid,
    json_type,
    missing,
    string,
    wrong_type,
)
from server.chat.fields import Field, Reader, accepted, ignored
from server.chat.prompt import MAX_TOKENS
from server.chat.usage import Usage
from server.errors import HoldfastError

MAX_INPUTS = 2048
"""As many as OpenAI takes."""
MAX_DIMENSIONS = 65_536

_token = integer(0, 2**31 - 1)
_text = string(2**31 - 1, shortest=1)

Input = str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    endpoint: ClassVar[Literal["embeddings"]] = "embeddings"
    path: ClassVar[str] = "/v1/embeddings"

    model: str
    """As the client wrote it: a model, a build or an alias."""
    inputs: tuple[Input, ...]
    """Texts, or the token ids of texts; one vector comes for each."""
    encoding: Literal["float", "base64"]
    """base64: of little-endian 32-bit floats."""
    dimensions: int | None
    """Fewer than the model's own; None: those."""


@dataclass(frozen=True, slots=True)
class EmbeddingReply:
    body: bytes
    usage: Usage | None


def _inputs(value: Any, name: str) -> tuple[Input, ...]:
    if type(value) is str:
        return (_text(value, name),)
    if type(value) is not list:
        raise wrong_type(name, "a string, or an array of strings or token ids", value)
    if value and type(value[0]) is int:
        return (_tokens(value, name),)
    many = array(value, name, shortest=1, longest=MAX_INPUTS)
    return tuple(_input(one, f"{name}[{index}]") for index, one in enumerate(many))


def _input(value: Any, name: str) -> Input:
    if type(value) is str:
        return _text(value, name)
    if type(value) is list:
        return _tokens(value, name)
    raise wrong_type(name, "a string or an array of token ids", value)


def _tokens(value: list[Any], name: str) -> tuple[int, ...]:
    tokens = array(value, name, shortest=1, longest=MAX_TOKENS)
    return tuple(_token(one, f"{name}[{index}]") for index, one in enumerate(tokens))


EMBEDDINGS: Mapping[str, Field] = {
    field.name: field
    for field in (
        accepted("model", "a name from /v1/models", string(256, shortest=1)),
        accepted("input", f"a string, token ids, or up to {MAX_INPUTS} of either", _inputs),
        accepted("encoding_format", "float or base64", choice("float", "base64")),
        accepted("dimensions", "1 or more; clouds only", integer(1, MAX_DIMENSIONS)),
        ignored("user", "nothing is kept or done with it"),
    )
}
_reader = Reader(EMBEDDINGS)


def parse_embedding(body: Mapping[str, Any]) -> EmbeddingRequest:
    """A body of /v1/embeddings. Raises RequestError, with `param` naming the field."""
    given = _reader.read(body)
    for name in ("model", "input"):
        if name not in given:
            raise missing(name)
    return EmbeddingRequest(
        model=given["model"],
        inputs=given["input"],
        encoding=given.get("encoding_format", "float"),
        dimensions=given.get("dimensions"),
    )


def embedding_body(request: EmbeddingRequest) -> dict[str, Any]:
    """What engines and OpenAI's likes are asked alike, but for the model's name."""
    inputs = [one if isinstance(one, str) else list(one) for one in request.inputs]
    return {"input": inputs, "encoding_format": request.encoding}


def engine_embedding_body(request: EmbeddingRequest) -> dict[str, Any]:
    """The body for llama-server. Raises RequestError for fewer dimensions than the model has: cut
    off, its vectors would mean nothing."""
    if request.dimensions is not None:
        why = "this model's vectors cannot be made shorter"
        raise invalid("dimensions", why, "Leave it out, or ask for another model")
    return embedding_body(request)


def finish_embedding(
    body: bytes, request: EmbeddingRequest, blame: type[HoldfastError]
) -> EmbeddingReply:
    """The client's body for the answer of an engine or a cloud, which is whose class of error is
    raised where `body` does not hold a vector for every input."""
    try:
        answer = orjson.loads(body)
        data = sorted(answer["data"], key=lambda entry: entry["index"])
        vectors = [_vector(entry["embedding"], request.encoding) for entry in data]
        indices = [entry["index"] for entry in data]
        tokens = (answer.get("usage") or {}).get("prompt_tokens")
    except (ValueError, TypeError, LookupError, AttributeError):
        raise _unreadable(blame, "it holds no embeddings") from None
    if indices != list(range(len(request.inputs))):
        why = f"{len(request.inputs)} were asked for, and {len(indices)} came"
        raise _unreadable(blame, why)
    usage = Usage(tokens, 0) if type(tokens) is int and tokens >= 0 else None
    told = {"prompt_tokens": tokens or 0, "total_tokens": tokens or 0}
    entries = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    model = str(answer.get("model") or request.model)
    whole = {"object": "list", "data": entries, "model": model, "usage": told}
    return EmbeddingReply(orjson.dumps(whole), usage)


def _vector(value: Any, encoding: str) -> Any:
    expected = str if encoding == "base64" else list
    if type(value) is not expected or not value:
        raise TypeError(f"{json_type(value)} for a vector")
    return value


def _unreadable(blame: type[HoldfastError], why: str) -> HoldfastError:
    return blame(
        f"The {blame.fault} sent an answer that cannot be read", why=why, next_step="Try again"
    )
