"""What may answer a request: an engine's build or a cloud's model, as it is just now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from server.catalogue.cloud import Feature, Price
from server.record import record

Side = Literal["local", "cloud"]
MARGIN = 1.1
"""Times its forecast that reading may take, where nothing is known. What would keep the SLO only if
all goes as expected breaks it half of the time: the forecasts that are believed are rather those
that are too early."""
QUEUE_MARGIN = 1.5
"""The same of waiting for a slot: how long the answers before it get nobody knows."""


@record()
class Forecast:
    """When the first token should come, in seconds from now, and by what that is made up."""

    load: float = 0.0
    """Until the engine is ready."""
    queue: float = 0.0
    """Until those before it have been given slots, and one is free for it."""
    prefill: float = 0.0
    """Reading what of the prompt is in no cache; at a cloud, its usual time to the first token."""
    speed: float = 0.0
    """Tokens a second after that; 0: not known."""
    measured: bool = False
    """Whether it rests on answers of this target; else it is the planner's or a first guess."""
    queue_late: float = 0.0
    """`queue` where the answers before it get long: of 20 such waits, 19 end within this."""
    margin: float = MARGIN
    """Times `prefill` within which reading should end if things go rather badly."""
    queue_margin: float = QUEUE_MARGIN
    """The same of `queue`."""

    @property
    def ttft(self) -> float:
        return self.load + self.queue + self.prefill

    @property
    def latest(self) -> float:
        """Within which the first token should come if things go rather badly."""
        queue = max(self.queue * self.queue_margin, self.queue_late)
        return self.load + queue + self.prefill * self.margin


@record()
class Candidate:
    name: str
    """A build, `qwen3.5-9b:q4_k_m`, or a cloud model, `anthropic/...`."""
    model: str
    """The local model's id; of a cloud model, its name."""
    side: Side
    provider: str | None
    context: int
    max_output: int
    image: bool
    features: frozenset[Feature]
    capability: Mapping[str, float]
    """By task, 0 to 100; of a task that is absent it is not known."""
    forecast: Forecast
    cached_tokens: int = 0
    """Of the prompt, those that should be in its cache."""
    price: Price | None = None
    """None: it costs nothing."""
    down: str = ""
    """Why it cannot be asked now, in words; empty: it can."""
    embeddings: bool = False
    """Whether it makes embeddings; a cloud's model that does makes nothing else."""
    target: object = field(default=None, compare=False, repr=False)
    """What dispatch needs to ask it: a Target, or the CloudModel, by which it is priced, too."""
    prompt_tokens: int = 0
    """Of this request, as it counts them; 0: as the needs say."""
    sticky: bool = False
    """Whether the last request of the same session went there."""
    retry_after: int | None = None
    """Seconds after which it is worth asking, where it is down for that long only: its queue is
    full, or its provider has had enough of us."""
    least_tokens: int = 0
    """Of this request's prompt, those that it surely has; 0: as the estimate says (SLACK)."""
    slots: int | None = None
    """Of an engine, which gives as many choices at most; None: there is no such bound."""
    documents: bool = False
    """Whether it reads PDFs. No engine does."""
