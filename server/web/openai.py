"""The endpoints in OpenAI's shape: models, chat completions, completions, responses, embeddings.

The list of models has what Anthropic's clients read beside what OpenAI's do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.catalogue.cloud import CloudModel
from server.catalogue.router import Alias
from server.chat.anthropic import model_fields, page_fields
from server.errors import ModelNotFound
from server.routing.router import Router
from server.routing.targets import Target, Targets
from server.web.auth import Client
from server.web.dialect import Chat, Completions, Responses
from server.web.embeddings import Embeddings
from server.web.exchange import Exchange
from server.web.inference import Inference
from server.web.responses import StoredResponses

_ANSWERS = ("chat", "messages", "responses")
"""The endpoints at which whatever chats can be asked."""


class OpenAI:
    """Handlers of the inference routes; `targets` says what runs here, `router` what else there
    is."""

    def __init__(self, inference: Inference, targets: Targets, router: Router) -> None:
        self._inference = inference
        self._targets = targets
        self._router = router
        self.stored = StoredResponses(inference.kept)

    async def chat_completions(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/chat/completions"""
        await self._inference.answer(exchange, client, Chat)

    async def completions(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/completions"""
        await self._inference.answer(exchange, client, Completions)

    async def responses(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/responses"""
        await self._inference.answer(exchange, client, Responses)

    async def embeddings(self, exchange: Exchange, client: Client) -> None:
        """POST /v1/embeddings"""
        await self._inference.answer(exchange, client, Embeddings)

    async def models(self, exchange: Exchange, client: Client) -> None:
        """GET /v1/models: all that the client may ask for."""
        entries = [entry for entry in self._entries() if _may(client, entry["id"])]
        names = [entry["id"] for entry in entries]
        await exchange.answer_json({"object": "list", "data": entries, **page_fields(names)})

    async def model(self, exchange: Exchange, client: Client, name: str) -> None:
        """GET /v1/models/{name}"""
        for entry in self._entries():
            if entry["id"] == name and _may(client, name):
                await exchange.answer_json(entry)
                return
        why = self._router.candidates.absent.get(name, "")
        if not why:
            self._targets.find(name)
            why = "the key may not use it"
        raise ModelNotFound(f"the model {name[:128]!r} is not to be had", why=why, param="model")

    def _entries(self) -> Iterator[dict[str, Any]]:
        for name, target in self._targets.served():
            yield describe_model(name, target)
        yield from map(_describe_alias, self._router.aliases())
        yield from map(_describe_cloud, self._router.clouds())


def describe_model(name: str, target: Target) -> dict[str, Any]:
    """A served model as OpenAI lists it, with what Holdfast knows beyond that."""
    embeds = target.member.berth.deployment.embeddings
    return {
        "id": name,
        "object": "model",
        "created": target.created,
        "owned_by": "holdfast",
        "build": target.member.berth.deployment.build,
        "state": target.member.engine.state.value,
        "context_length": target.context,
        "input_modalities": ["text", "image"] if target.sees else ["text"],
        "capabilities": [*_ANSWERS, "completions", *(["embeddings"] if embeds else [])],
        "thinking_default": target.model.thinking_default,
        **model_fields(target.model.title, target.created, context=target.context),
    }


def _describe_cloud(model: CloudModel) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.provider,
        "context_length": model.context,
        "max_output_tokens": model.max_output,
        "input_modalities": _modalities(model),
        "capabilities": ["embeddings"] if model.embeddings else [*_ANSWERS],
        "features": sorted(model.features),
        **model_fields(model.title, 0, context=model.context, max_output=model.max_output),
    }


def _modalities(model: CloudModel) -> list[str]:
    """`file`: PDFs, as OpenRouter calls them."""
    return ["text", *(["image"] if model.image else []), *(["file"] if model.documents else [])]


def _describe_alias(alias: Alias) -> dict[str, Any]:
    return {
        "id": alias.name,
        "object": "model",
        "created": 0,
        "owned_by": "holdfast",
        "stands_for": list(alias.candidates),
        "type": "model",
        "display_name": alias.name,
    }


def _may(client: Client, name: str) -> bool:
    return client.key is None or client.key.allows(name)
