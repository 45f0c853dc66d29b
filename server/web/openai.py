"""The endpoints in OpenAI's shape: models, chat completions, completions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from server.chat import (
    ChatRequest,
    CompletionRequest,
    StreamFilter,
    engine_body,
    finish_reply,
    parse_chat,
    parse_completion,
    parse_json,
)
from server.errors import EngineError
from server.routing.attempt import Attempt, Patience
from server.routing.targets import Target, Targets
from server.web.auth import Client
from server.web.exchange import Exchange
from server.web.ticker import Ticker

InferenceRequest = ChatRequest | CompletionRequest
Parse = Callable[[dict[str, Any]], InferenceRequest]


class OpenAI:
    """Handlers of the inference routes; `targets` says what is served."""

    def __init__(self, targets: Targets, *, max_body: int, patience: Patience) -> None:
        self._targets = targets
        self._max_body = max_body
        self._patience = patience

    async def models(self, exchange: Exchange, client: Client) -> None:
        """GET /v1/models"""
        entries = [describe_model(name, target) for name, target in self._targets.served()]
        await exchange.answer_json({"object": "list", "data": entries})

    async def model(self, exchange: Exchange, client: Client, name: str) -> None:
        """GET /v1/models/{name}"""
        await exchange.answer_json(describe_model(name, self._targets.find(name)))

    async def chat_completions(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/chat/completions"""
        await self._infer(exchange, client, parse_chat)

    async def completions(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/completions"""
        await self._infer(exchange, client, parse_completion)

    async def _infer(self, exchange: Exchange, client: Client, parse: Parse) -> None:
        request = parse(parse_json(await exchange.body(self._max_body)))
        target = self._targets.find(request.model)
        body = engine_body(
            request,
            model=target.model,
            has_mmproj=target.sees,
            slots=target.member.queue.slots,
            context=target.context,
            engine=target.build.engine,
        )
        attempt = Attempt(
            target.member,
            request.path,
            body,
            client=client.id,
            slots=request.n,
            patience=self._patience,
        )
        exchange.answer_headers += (
            (b"x-holdfast-model", target.build.name.encode()),
            (b"x-holdfast-route", b"local"),
        )
        task = asyncio.current_task()
        assert task is not None
        departure = asyncio.create_task(exchange.cancel_on_disconnect(task))
        try:
            if request.stream:
                await _stream(exchange, attempt, request)
            else:
                async with attempt:
                    reply = finish_reply(await attempt.whole(), request).body
        finally:
            # Before the last byte is sent: the server reports the end of an answer, too, as a
            # disconnect, and that must not cancel what is done by then.
            departure.cancel()
        if request.stream:
            await exchange.end_stream()
        else:
            await exchange.answer(200, reply)


async def _stream(exchange: Exchange, attempt: Attempt, request: InferenceRequest) -> None:
    """Relay a streamed answer up to its `[DONE]`, or to the error that the engine ended it with.

    Raises EngineError when it ends with neither.
    """
    relay = StreamFilter(request)
    ticker = Ticker(exchange.comment, attempt.describe)
    try:
        async with attempt:
            async for chunk in attempt.chunks():
                if ticker.ticking:
                    await ticker.stop()
                    await exchange.begin_stream()
                if out := relay.feed(chunk):
                    await exchange.write(out)
    finally:
        await ticker.stop()
    if not relay.done and relay.error is None:
        raise EngineError(
            "the engine ended its answer before it was complete",
            next_step="Send the request again",
        )


def describe_model(name: str, target: Target) -> dict[str, Any]:
    """A served model as OpenAI lists it, with what Holdfast knows beyond that."""
    return {
        "id": name,
        "object": "model",
        "created": target.created,
        "owned_by": "holdfast",
        "build": target.build.name,
        "state": target.member.engine.state.value,
        "context_length": target.context,
        "input_modalities": ["text", "image"] if target.sees else ["text"],
        "thinking_default": target.model.thinking_default,
    }
