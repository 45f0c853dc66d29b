"""OpenAI's Responses API as a CloudProtocol; the provider's URL ends before `/responses`."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.events import Event
from server.chat.relay import Decoder
from server.chat.request import ChatRequest
from server.errors import HoldfastError
from server.providers.openai_error import failure
from server.providers.openai_responses_body import responses_body
from server.providers.openai_responses_stream import ResponsesDecoder
from server.providers.provider import Call
from server.providers.quota import Quota, openai_quota


class OpenAIResponses:
    def authentication(self, key: str) -> Mapping[str, str]:
        return {"authorization": f"Bearer {key}"}

    def encode(self, request: ChatRequest, model: CloudModel) -> Call:
        return Call("/responses", orjson.dumps(responses_body(request, model)), {})

    def decoder(self, request: ChatRequest) -> Decoder:
        return ResponsesDecoder()

    def decode(self, body: bytes, request: ChatRequest) -> list[Event]:
        return ResponsesDecoder().decode(body)

    def quota(self, headers: Mapping[str, str]) -> Quota:
        return openai_quota(headers)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
        return failure(status, headers, body)


PROTOCOL = OpenAIResponses()
