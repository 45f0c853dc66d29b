"""Google's Gemini API as a CloudProtocol; the provider's URL ends before `/v1`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import orjson

from server.catalogue.cloud import CloudModel
from server.chat.events import Ended, Event
from server.chat.relay import Decoder
from server.chat.request import ChatRequest
from server.errors import HoldfastError
from server.providers.gemini_body import gemini_body
from server.providers.gemini_error import failure
from server.providers.gemini_stream import GeminiDecoder, unreadable
from server.providers.provider import Call
from server.providers.quota import Quota, untold


class Gemini:
    def authentication(self, key: str) -> Mapping[str, str]:
        return {"x-goog-api-key": key}

    def encode(self, request: ChatRequest, model: CloudModel) -> Call:
        path = f"/v1/models/{quote(model.name, safe='')}:streamGenerateContent?alt=sse"
        return Call(path, orjson.dumps(gemini_body(request, model)), {})

    def decoder(self, request: ChatRequest) -> Decoder:
        return GeminiDecoder(request.n)

    def decode(self, body: bytes, request: ChatRequest) -> list[Event]:
        try:
            events = list(GeminiDecoder(request.n).read(orjson.loads(body)))
        except (ValueError, TypeError, LookupError, AttributeError):
            raise unreadable() from None
        if events[-1] != Ended():
            raise unreadable()
        return events

    def quota(self, headers: Mapping[str, str]) -> Quota:
        return untold(headers)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
        return failure(status, headers, body)


PROTOCOL = Gemini()
