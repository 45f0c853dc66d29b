"""What a request needs, as far as it matters for where it may go."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from server.catalogue.cloud import Feature

Endpoint = Literal["chat", "completions", "responses", "messages", "embeddings"]
TaskFrom = Literal["header", "body", "alias", "inferred"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request is done for."""

    id: str
    """A key's id, or an address where no key is needed."""
    team: str | None = None
    local_only: bool = False
    """Whether nothing that is sent with this key may leave the machine."""
    models: tuple[str, ...] | None = None
    """What the key may use: names as clients write them, `PROVIDER/*`, `local`, `cloud`; None:
    everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    asked: str
    """The model or alias, as the client wrote it."""
    endpoint: Endpoint
    task: str
    task_from: TaskFrom
    prompt_tokens: int
    """An estimate, from above: nine prompts in ten have fewer (tokens.py)."""
    max_tokens: int | None
    """Of the answer; None: the client set no limit."""
    images: int = 0
    features: frozenset[Feature] = frozenset()
    n: int = 1
    local_only: bool = False
    private_because: str = ""
    """What made it local-only, in words: a header, a key, `--no-cloud`."""
    slo_ttft: float | None = None
    """Seconds to the first token that the client wants; None: as configured."""
    session: str | None = None
    prefix: tuple[tuple[int, int], ...] = ()
    """A hash of each beginning of the conversation, and the tokens up to there, the shortest
    first: what caches of earlier prompts can be looked up by."""
    key: str
    """Whom it is done for: a key's id, or an address where none is needed."""
    team: str | None = None
    models: tuple[str, ...] | None = None
    """What the key may use; None: everything. See Caller."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that some route looks at."""
    time: datetime.time
    """Local."""
