"""OpenAI's chat completions as a CloudProtocol, for OpenAI and every compatible endpoint.

The provider's URL ends with what stands before `/chat/completions`, mostly `/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.chunk_decoder import ChunkDecoder
from server.chat.events import Event
from server.chat.relay import Decoder
from server.chat.request import ChatRequest
from server.errors import HoldfastError, ProviderError
from server.providers.openai_body import openai_body
from server.providers.openai_error import failure, stream_failure
from server.providers.provider import Call
from server.providers.quota import Quota, openai_quota


class OpenAI:
    def authentication(self, key: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer {key}"}

    def encode(self, request: ChatRequest, model: CloudModel) -> Call:
        return Call("/chat/completions", orjson.dumps(openai_body(request, model)), {})

    def decoder(self, request: ChatRequest) -> Decoder:
        return ChunkDecoder(stream_failure, ProviderError)

    def decode(self, body: bytes, request: ChatRequest) -> list[Event]:
        return ChunkDecoder(stream_failure, ProviderError).decode(body)

    def quota(self, headers: Mapping[str, str]) -> Quota:
        return openai_quota(headers)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
        return failure(status, headers, body)


PROTOCOL = OpenAI()
