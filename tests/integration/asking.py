"""Requests at a Holdfast that serves the demo by each engine, and what comes of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from server.demo import Question
from tests.integration.divergences import DIVERGENCES, Name

SLOTS = 2
CONTEXT = 2048

# Requests that an engine works on, and tokens that it has generated, as it tells them itself.
_WORKING = {
    "llama-server": re.compile(r"^llamacpp:requests_processing (\d+)", re.MULTILINE),
    "vllm": re.compile(r"^vllm:num_requests_running\{[^}]*\} (\d+)", re.MULTILINE),
}
_GENERATED = {
    "llama-server": re.compile(r"^llamacpp:tokens_predicted_total (\d+)", re.MULTILINE),
    "vllm": re.compile(r"^vllm:generation_tokens_total\{[^}]*\} (\d+)", re.MULTILINE),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One engine, as clients of Holdfast meet it."""

    kind: str
    """`llama-server` or `vllm`."""
    build: str
    http: aiohttp.ClientSession
    """At Holdfast's endpoint."""
    engine: aiohttp.ClientSession
    """At the engine itself, for what clients do not see."""

    async def ask(self, **client: Any) -> Asked:
        """What comes of the client's body `client`."""
        async with self.post(**client) as response:
            assert response.headers.get("x-holdfast-model", self.build) == self.build
            return Asked(response.status, bool(client.get("stream")), await response.read())

    async def answer(self, **client: Any) -> dict[str, Any]:
        """The one choice of the whole answer, with its usage."""
        answer = (await self.ask(**client)).check()
        (choice,) = answer["choices"]
        return {**choice, "usage": answer["usage"]}

    def post(self, **client: Any) -> Any:
        """The request under way, as an asynchronous context."""
        path = "/v1/chat/completions" if "messages" in client else "/v1/completions"
        return self.http.post(path, json=client | {"model": self.build})

    def differs(self, name: Name) -> bool:
        """Whether this engine is the one of that divergence."""
        return DIVERGENCES[name].engine == self.kind

    async def working(self) -> int:
        """Requests that the engine works on."""
        return await self._figure(_WORKING[self.kind])

    async def generated(self) -> int:
        """Tokens that the engine has generated since it started."""
        return await self._figure(_GENERATED[self.kind])

    async def _figure(self, pattern: re.Pattern[str]) -> int:
        async with self.engine.get("/metrics") as response:
            found = pattern.search(await response.text())
        assert found, pattern
        return int(found[1])


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one request."""

    status: int
    stream: bool
    body: bytes

    def check(self) -> dict[str, Any]:
        """The answer; of a stream, its events under `events`."""
        assert self.status == 200, self.body
        if self.stream:
            return {"events": self.events()}
        answer: dict[str, Any] = orjson.loads(self.body)
        assert answer["usage"]["total_tokens"] > 0
        return answer

    def events(self) -> list[dict[str, Any]]:
        """The events of a stream, before its [DONE]."""
        *events, done, end = self._parts()
        assert (done, end) == (b"data: [DONE]", b""), self.body
        return [orjson.loads(event.removeprefix(b"data: ")) for event in events]

    @property
    def error(self) -> dict[str, Any]:
        """What the client is told went wrong, by status or, in a stream, by its last event."""
        body = self.body
        if self.status == 200:
            *_, last, end = self._parts()
            assert end == b""
            body = last.removeprefix(b"data: ")
        told: dict[str, Any] = orjson.loads(body)["error"]
        return told

    def _parts(self) -> list[bytes]:
        """Comments, which tell how long one has waited, left out."""
        return [part for part in self.body.split(b"\n\n") if not part.startswith(b":")]


def chat(question: Question, **fields: Any) -> dict[str, Any]:
    """A question as the body of a chat completion."""
    asked: dict[str, Any] = {
        "messages": list(question.messages),
        "temperature": 0,
        "enable_thinking": question.thinking,
    }
    if question.tools:
        asked["tools"] = list(question.tools)
    if not question.ends:
        asked["max_tokens"] = question.tokens
    return asked | fields
