"""Clouds: who offers which model over which protocol, what it can do, and what it costs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["openai", "openai-responses", "anthropic", "gemini"]
"""The protocol that a provider speaks; `openai` is that of every OpenAI-compatible endpoint."""

EMBEDDING_KINDS: tuple[Kind, ...] = ("openai", "openai-responses", "gemini")
"""Protocols by which embeddings are asked for; Anthropic makes none."""

Feature = Literal[
    "tools",
    "parallel_tools",
    "tool_choice",
    "schema",
    "json",
    "thinking",
    "logprobs",
    "n",
    "seed",
    "stop",
    "temperature",
    "top_k",
    "penalties",
    "logit_bias",
]
"""What a request may ask for beyond words in and words out."""

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model is to think, least first; `none`: not at all."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a provider's key is; the first that is set. The key itself is in no configuration."""

    env: str | None = None
    file: Path | None = None
    credential: str | None = None
    """The name of a systemd credential (`LoadCredential=`)."""


@dataclass(frozen=True, slots=True)
class Provider:
    id: str
    kind: Kind
    url: str
    """Address of the API, without a slash at its end: what the provider's own SDK calls its base
    URL, with `/v1` for `openai` and `openai-responses`, and without for the others."""
    key: KeySource | None = None
    """None: it needs none."""
    zero_retention: bool = False
    """Whether it is agreed with this provider that it keeps nothing of a request."""
    rpm: int | None = None
    """Requests a minute that it allows us; None: not known, found out by being refused."""
    tpm: int | None = None
    """Tokens a minute."""
    concurrency: int | None = None
    """Requests at a time."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Prices in nano-USD for a million tokens, so that every sum is exact."""

    input: int
    output: int
    cached_input: int | None = None
    """None: as `input`."""
    cache_write: int | None = None
    """None: as `input`."""


@dataclass(frozen=True, slots=True)
class Tier:
    above: int
    """Prompt tokens beyond which `rate` holds for the whole request."""
    rate: Rate


@dataclass(frozen=True, slots=True)
class Price:
    rate: Rate
    tiers: tuple[Tier, ...] = ()
    """By `above`, smallest first."""


@dataclass(frozen=True, slots=True)
class CloudModel:
    id: str
    """`PROVIDER/NAME`, as clients ask for it."""
    provider: str
    name: str
    """As the provider calls it."""
    title: str
    context: int
    """Tokens, prompt and answer together."""
    max_output: int
    """Tokens of one answer, thinking included."""
    price: Price
    image: bool = False
    """Whether it sees."""
    documents: bool = False
    """Whether it reads PDFs."""
    features: frozenset[Feature] = frozenset()
    scores: Mapping[str, float] = field(default_factory=dict)
    """By benchmark, percent. Where they are missing its capability is not known (`capability`): it
    is then considered only where it is asked for by name, or no floor applies."""
    ttft: float = 0.3
    """Seconds to the first token, until that has been measured here: rather too few than too many,
    as what is taken to be slow is never asked, and so never measured."""
    speed: float = 60.0
    """Tokens a second, until that has been measured here."""
    efforts: tuple[Effort, ...] = ()
    """Degrees of thinking that it can be asked for, least first. Without `none` a model that thinks
    cannot be told not to."""
    thinking_budget: tuple[int, int] | None = None
    """Fewest and most tokens of thinking that it can be asked for; None: it takes no number."""
    embeddings: bool = False
    """Whether it makes embeddings, and nothing else."""
    retires: datetime.date | None = None
    """The day from which its provider no longer offers it."""

    def retired(self, today: datetime.date) -> bool:
        return self.retires is not None and self.retires <= today
