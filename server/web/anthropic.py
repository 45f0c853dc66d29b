"""The endpoints in Anthropic's shape: messages, and the count of their tokens."""

from __future__ import annotations

from server.chat import parse_json
from server.chat.anthropic import count_answer, parse_count
from server.routing.router import Router
from server.web.auth import Client
from server.web.dialect import Messages
from server.web.exchange import Exchange
from server.web.inference import Inference


class Anthropic:
    def __init__(self, inference: Inference, router: Router) -> None:
        self._inference = inference
        self._router = router

    async def messages(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/messages"""
        exchange.answer_headers.append((b"request-id", exchange.request_id))
        await self._inference.answer(exchange, client, Messages)

    async def count_tokens(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/messages/count_tokens: as whoever would answer counts.

        The header `x-holdfast-count` tells what says so: its own `engine`, which is exact; its
        `tokenizer`, in the engine of another model; or an `estimate`, for models that are not
        loaded and for clouds.
        """
        request = parse_count(parse_json(await exchange.body(self._inference.bounds.body)))
        needs = self._router.needs(request, "messages", exchange.headers, client)
        candidate = self._router.precounts.whose(needs, self._router.account(client))
        tokens, source = await self._router.precounts.counted(request, needs, candidate)
        headers = (
            (b"x-holdfast-model", candidate.name.encode()),
            (b"x-holdfast-count", source.encode()),
        )
        await exchange.answer(200, count_answer(tokens), headers)
