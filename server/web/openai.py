"""The endpoints in OpenAI's shape: models, chat completions, completions, responses, embeddings.

The list of models has what Anthropic's clients read beside what OpenAI's do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from server.catalogue.cloud import CloudModel
from server.catalogue.router import Alias
from server.chat.anthropic import model_fields, page_fields
from server.errors import ModelNotFound
from server.routing.candidate import Candidate
from server.routing.local_candidate import ALL
from server.routing.refusal import told
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
        entries = [*self._entries(client)]
        names = [entry["id"] for entry in entries]
        await exchange.answer_json({"object": "list", "data": entries, **page_fields(names)})

    async def model(self, exchange: Exchange, client: Client, name: str) -> None:
        """GET /v1/models/{name}"""
        for entry in self._entries(client):
            if entry["id"] == name:
                await exchange.answer_json(entry)
                return
        why = told(self._router.candidates.absent.get(name, ""))
        if not why:
            self._targets.find(name)
            why = "the key may not use it"
        raise ModelNotFound(f"the model {name[:128]!r} is not to be had", why=why, param="model")

    def _entries(self, client: Client) -> Iterator[dict[str, Any]]:
        """What is of use to the client."""
        key, router = client.key, self._router
        here = key is not None and key.local_only
        found = [describe_model(name, target) for name, target in self._targets.served()]
        for alias, meant in router.aliases():
            if there := [one for one in meant if one.side == "local" or not here]:
                found.append(_describe_alias(alias, there))
        if not here:
            found += map(_describe_cloud, router.clouds())
        return (entry for entry in found if key is None or key.allows(entry["id"]))


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
        "features": sorted(ALL),
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
        "input_modalities": _modalities(image=model.image, documents=model.documents),
        "capabilities": ["embeddings"] if model.embeddings else [*_ANSWERS],
        "features": sorted(model.features),
        **model_fields(model.title, 0, context=model.context, max_output=model.max_output),
    }


def _modalities(*, image: bool, documents: bool) -> list[str]:
    """`file`: PDFs, as OpenRouter calls them."""
    return ["text", *(["image"] if image else []), *(["file"] if documents else [])]


def _describe_alias(alias: Alias, meant: Sequence[Candidate]) -> dict[str, Any]:
    """With what some of those can do that it stands for."""
    here = any(one.side == "local" for one in meant)
    talk = here or any(not one.embeddings for one in meant)
    embed = any(one.embeddings for one in meant)
    return {
        "id": alias.name,
        "object": "model",
        "created": 0,
        "owned_by": "holdfast",
        "stands_for": list(alias.candidates),
        "context_length": max(one.context for one in meant),
        "input_modalities": _modalities(
            image=any(one.image for one in meant), documents=any(one.documents for one in meant)
        ),
        "capabilities": [
            *(_ANSWERS if talk else ()),
            *(["completions"] if here else []),
            *(["embeddings"] if embed else []),
        ],
        "type": "model",
        "display_name": alias.name,
    }
