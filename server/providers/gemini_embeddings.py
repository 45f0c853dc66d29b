"""Gemini's embeddings: https://ai.google.dev/api/embeddings, `batchEmbedContents`.

- Each input is a content of its own: newer models make one vector of the parts of one content.
- The API takes text, and 100 inputs at a time; token ids and larger batches are refused.
- Vectors are passed on as they come. Those of gemini-embedding-001 have length 1 only where
  `dimensions` leaves them whole.
- Where no tokens are told, as most answers do not, they are those that were estimated, from above.
"""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any
from urllib.parse import quote

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.checks import invalid
from server.chat.embeddings import EmbeddingRequest
from server.providers.gemini_stream import unreadable
from server.providers.provider import Call

MOST = 100
"""Inputs of one call; the API says so where there are more."""


class GeminiEmbedder:
    def encode(self, request: EmbeddingRequest, model: CloudModel) -> Call:
        if len(request.inputs) > MOST:
            why = f"'{model.id}' takes {MOST} inputs at a time, and there are {len(request.inputs)}"
            raise invalid("input", why, "Send fewer at a time")
        more = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        asked = []
        for at, text in enumerate(request.inputs):
            if not isinstance(text, str):
                raise invalid(f"input[{at}]", f"'{model.id}' takes no token ids", "Send the text")
            content = {"parts": [{"text": text}]}
            asked.append({"model": f"models/{model.name}", "content": content, **more})
        path = f"/v1/models/{quote(model.name, safe='')}:batchEmbedContents"
        return Call(path, orjson.dumps({"requests": asked}), {})

    def read(self, body: bytes, model: CloudModel, tokens: int) -> bytes:
        try:
            answer = orjson.loads(body)
            data = [
                {"index": index, "embedding": _packed(one["values"])}
                for index, one in enumerate(answer["embeddings"])
            ]
            told = (answer.get("usageMetadata") or {}).get("promptTokenCount")
        except (ValueError, TypeError, LookupError, AttributeError):
            raise unreadable() from None
        usage = {"prompt_tokens": told if type(told) is int else tokens}
        return orjson.dumps({"data": data, "model": model.name, "usage": usage})


def _packed(values: list[Any]) -> str:
    """As base64 of little-endian floats, which is read again in no time."""
    vector = array("f", values)
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()


EMBEDDER = GeminiEmbedder()
