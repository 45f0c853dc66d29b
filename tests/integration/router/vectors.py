"""Requests for embeddings in a World, and what their clients hear."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from server.chat.embeddings import parse_embedding
from server.chat.vectors import Vectors
from server.errors import EngineError, HoldfastError, ProviderError
from server.routing.candidate import Candidate
from server.routing.leg import Job
from tests.integration.router.world import Told, World

TEXTS = ["one two", "three", "four five six"]


def embedding_job(
    there: World,
    attempts: Sequence[Candidate],
    texts: Sequence[str] = TEXTS,
    *,
    local_only: bool = False,
    **decision: Any,
) -> Job:
    request = parse_embedding({"model": "auto", "input": list(texts)})
    job = there.job(attempts, local_only=local_only, **decision)
    needs = replace(
        job.needs, endpoint="embeddings", prompt_tokens=4 * len(texts), longest=4, max_tokens=0
    )
    return replace(
        job,
        request=request,
        needs=needs,
        relay_for=lambda _, decoder: Vectors(
            request, EngineError if decoder is None else ProviderError
        ),
    )


async def embed(there: World, job: Job) -> Told:
    """What the client hears; `text` is the JSON of the answer."""
    told = Told(request_id=job.request_id)
    delivery = there.dispatch.deliver(job)
    heard = b""
    try:
        async with delivery:
            told.candidate = delivery.candidate.name
            while piece := await delivery.read():
                heard += piece
    except HoldfastError as error:
        told.error = error
    except asyncio.CancelledError:
        told.left = True
    told.attempts, told.cost = delivery.attempts, delivery.cost
    told.done = bool(heard)
    told.text = heard.decode()
    return told


def vectors(told: Told) -> list[list[float]]:
    return [one["embedding"] for one in orjson.loads(told.text)["data"]]
