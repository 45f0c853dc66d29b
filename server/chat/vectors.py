"""Vectors on their way from an engine or a cloud to a client. No I/O.

In whichever form they come, numbers or base64 of little-endian 32-bit floats, the client gets the
one that it asked for.
"""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

import orjson

from server.chat.checks import invalid, json_type
from server.chat.embeddings import EmbeddingRequest
from server.chat.usage import Usage
from server.errors import HoldfastError, RequestError

_FLOAT = 4  # bytes


class Vectors:
    """A `Relay`: fed with whole answers, for some of the inputs each and in their order, it gives
    the client's once there is a vector for every input.

    `feed` raises an error of the class `blame` for an answer that cannot be read, and RequestError
    for vectors that are longer than `dimensions`.
    """

    def __init__(self, request: EmbeddingRequest, blame: type[HoldfastError]) -> None:
        self.usage: Usage | None = None
        self.done = False
        self.error: HoldfastError | None = None
        self._request = request
        self._blame = blame
        self._found: list[array[float]] = []

    def feed(self, chunk: bytes) -> bytes:
        try:
            answer = orjson.loads(chunk)
            data = sorted(answer["data"], key=lambda entry: entry["index"])
            if [entry["index"] for entry in data] != list(range(len(data))):
                raise ValueError("one is missing")
            self._found += [_vector(entry["embedding"]) for entry in data]
            told = (answer.get("usage") or {}).get("prompt_tokens")
            model = str(answer.get("model") or self._request.model)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise self._unreadable("it holds no embeddings") from None
        if type(told) is int and told >= 0:
            self.usage = Usage(told + (self.usage.prompt_tokens if self.usage else 0), 0)
        wanted = len(self._request.inputs)
        if not data or len(self._found) > wanted:
            raise self._unreadable(f"{wanted} were asked for, and {len(self._found)} came")
        if len(self._found) < wanted:
            return b""
        self._check_lengths()
        self.done = True
        return self._whole(model)

    def _check_lengths(self) -> None:
        lengths = {len(vector) for vector in self._found}
        if len(lengths) > 1:
            raise self._unreadable("its vectors are not of one length")
        if self._request.dimensions is not None and lengths != {self._request.dimensions}:
            raise not_shorter(lengths.pop())

    def _whole(self, model: str) -> bytes:
        packed = self._request.encoding == "base64"
        tokens = self.usage.prompt_tokens if self.usage else 0
        entries = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(_little(vector)).decode()
                if packed
                else vector.tolist(),
            }
            for index, vector in enumerate(self._found)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return orjson.dumps({"object": "list", "data": entries, "model": model, "usage": usage})

    def _unreadable(self, why: str) -> HoldfastError:
        return self._blame(
            f"The {self._blame.fault} sent an answer that cannot be read",
            why=why,
            next_step="Try again",
        )


def not_shorter(own: int) -> RequestError:
    """For a model whose vectors have `own` numbers: cut off, they would mean nothing."""
    why = f"this model's vectors have {own} numbers, and cannot be cut"
    return invalid("dimensions", why, "Leave it out, or ask for another model")


def _vector(value: Any) -> array[float]:
    if type(value) is list and value:
        return array("f", value)
    if type(value) is not str or not value:
        raise TypeError(f"{json_type(value)} for a vector")
    raw = base64.b64decode(value, validate=True)
    if len(raw) % _FLOAT:
        raise ValueError("not a whole number of floats")
    vector = array("f")
    vector.frombytes(raw)
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _little(vector: array[float]) -> bytes:
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return vector.tobytes()
