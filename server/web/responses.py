"""Responses that were stored, asked for again: what stands below /v1/responses/.

They belong to the key that had them made, or to the address where no key is needed: to anybody else
they do not exist. Clients ask for them by ids that nobody can guess.
"""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from server.chat.responses import Kept, item_page
from server.errors import MethodNotAllowed, NotFound, RequestError
from server.web.auth import Client
from server.web.exchange import Exchange

_ITEMS = "input_items"


class StoredResponses:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def get(self, exchange: Exchange, client: Client, rest: str) -> None:
        """GET /v1/responses/{id}, GET /v1/responses/{id}/input_items"""
        query = dict(parse_qsl(exchange.scope.get("query_string", b"").decode("ascii", "replace")))
        identifier, _, below = rest.partition("/")
        now = time.monotonic()
        if below == _ITEMS:
            items = self._kept.before(identifier, client.id, now)
            if items is None:
                raise _not_found(identifier)
            await exchange.answer_json(item_page(items, identifier, query))
            return
        response = None if below else self._kept.response(identifier, client.id, now)
        if response is None:
            raise _not_found(rest)
        if query.get("stream") == "true":
            why = "what is kept of a response is the whole of it"
            raise RequestError("Unsupported parameter: 'stream'", why=why, param="stream")
        await exchange.answer(200, response)

    async def delete(self, exchange: Exchange, client: Client, rest: str) -> None:
        """DELETE /v1/responses/{id}"""
        if rest.endswith(f"/{_ITEMS}"):
            raise MethodNotAllowed(
                f"DELETE is not allowed on {exchange.scope['path'][:128]}",
                next_step="Delete the response",
            )
        if not self._kept.forget(rest, client.id, time.monotonic()):
            raise _not_found(rest)
        await exchange.answer_json({"id": rest, "object": "response", "deleted": True})


def _not_found(identifier: str) -> NotFound:
    return NotFound(
        f"Response with id '{identifier[:64]}' not found",
        why="it was not stored, or is no longer kept",
    )
