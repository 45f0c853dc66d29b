"""Where Holdfast stands, for an SDK: what it sends is parsed, asked of a cloud's protocol, and the
answer encoded for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import httpx2
import orjson

from server.chat.chunk_encoder import ChunkEncoder, completion
from server.chat.embeddings import parse_embedding
from server.chat.events import Ended
from server.chat.relay import Encoder
from server.chat.request import ChatRequest, parse_chat
from server.chat.responses import Kept, ResponsesEncoder, parse_response, whole_response
from server.chat.vectors import Vectors
from server.errors import HoldfastError, ProviderError
from server.providers import EMBEDDERS
from server.providers.provider import CloudProtocol
from tests.fakes.cloud_running import FakeCloud
from tests.integration.providers.calling import answered, events_of
from tests.providers.clouds import MODEL

CREATED = 1_790_000_000


class Translator(httpx2.BaseTransport):
    """A transport of the SDK's HTTP client; see the module."""

    def __init__(self, cloud: FakeCloud, protocol: CloudProtocol) -> None:
        self._cloud = cloud
        self._protocol = protocol
        self._kept = Kept()
        self._ids = itertools.count()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = orjson.loads(request.read())
        path = request.url.path
        answer: Callable[[Any], bytes] = {
            "/v1/chat/completions": self._chat,
            "/v1/responses": self._response,
            "/v1/embeddings": self._embedding,
        }[path]
        try:
            content = answer(body)
        except HoldfastError as error:
            return httpx2.Response(error.status, json=error.openai_body())
        kind = "text/event-stream" if body.get("stream") else "application/json"
        return httpx2.Response(200, content=content, headers={"content-type": kind})

    def _chat(self, body: Any) -> bytes:
        request = parse_chat(body)
        if not request.stream:
            answer = answered(self._cloud, self._protocol, request, MODEL)
            return completion(answer, request, CREATED)
        return self._relayed(request, ChunkEncoder(request, CREATED))

    def _response(self, body: Any) -> bytes:
        request = parse_response(body, lambda one: self._kept.recall(one, "me", 0.0))
        identifier = f"resp_{next(self._ids)}"
        if request.chat.stream:
            encoder = ResponsesEncoder(request, identifier, CREATED)
            written = self._relayed(request.chat, encoder)
            self._kept.keep("me", request.items, encoder.response, 0.0)
            return written
        events = events_of(self._cloud, self._protocol, request.chat, MODEL)
        whole = whole_response(events, request, identifier, CREATED)
        self._kept.keep("me", request.items, whole, 0.0)
        return orjson.dumps(whole)

    def _relayed(self, request: ChatRequest, encoder: Encoder) -> bytes:
        events = list(events_of(self._cloud, self._protocol, request, MODEL))
        assert isinstance(events[-1], Ended)
        return b"".join([encoder.feed([event]) for event in events])

    def _embedding(self, body: Any) -> bytes:
        request = parse_embedding(body)
        embedder = EMBEDDERS["openai"]  # of both its APIs
        call = embedder.encode(request, MODEL)
        headers = {"content-type": "application/json", **self._protocol.authentication("key")}
        response = httpx2.post(
            self._cloud.url + call.path, content=call.body, headers=headers, timeout=60
        )
        return Vectors(request, ProviderError).feed(embedder.read(response.content, MODEL, 7))
