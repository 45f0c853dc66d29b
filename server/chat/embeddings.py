"""Embeddings: requests checked and frozen, and bodies for engines and clouds. Pure; the answers are
read in vectors.py.

An engine embeds where it was started for it: llama-server with `--embeddings --pooling last`,
which goes on to serve chats. With another pooling it refuses inputs longer than its physical
batch, and with none (its default for such models) all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from server.chat.checks import array, choice, integer, missing, string, wrong_type
from server.chat.fields import Field, Reader, accepted, ignored
from server.chat.prompt import MAX_TOKENS

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
    stream: ClassVar[bool] = False
    folds: ClassVar[bool] = False
    n: ClassVar[int] = 1

    model: str
    """As the client wrote it: a model, a build or an alias."""
    inputs: tuple[Input, ...]
    """Texts, or the token ids of texts; one vector comes for each."""
    encoding: Literal["float", "base64"]
    """base64: of little-endian 32-bit floats."""
    dimensions: int | None
    """Fewer than the model's own; None: those."""


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
        accepted("dimensions", "what the model's vectors can have", integer(1, MAX_DIMENSIONS)),
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


def engine_embedding_body(request: EmbeddingRequest, inputs: Sequence[Input]) -> dict[str, Any]:
    """The body that asks llama-server for the vectors of `inputs`, some of the request's."""
    return embedding_body(replace(request, inputs=tuple(inputs), encoding="base64"))
