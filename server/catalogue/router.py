"""`[router]` and its tables: which requests may go where, in which order, for how much."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from server.catalogue.cloud import KeySource

PolicyName = Literal["cheapest", "fastest", "most-capable", "local-only", "weighted"]


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that clients may ask for instead of a model's."""

    name: str
    candidates: tuple[str, ...]
    """Models, builds and cloud models by name, `PROVIDER/*`, `local`, `cloud`, or `*`. An alias
    among them in the file has been replaced by its candidates; its policy, floor and task are not
    taken over."""
    policy: PolicyName | None = None
    floor: float | None = None
    """Capability for the task, 0 to 100, below which nothing is considered."""
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of work. How capable a model is of it is the mean of its scores by these weights, see
    `capability`."""

    name: str
    benchmarks: Mapping[str, float]
    floor: float = 0.0
    """Capability that a model must have where the request leaves the choice to the router."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests a route is for: those that meet all that is given here."""

    models: tuple[str, ...] = ()
    """Names asked for, with `*` for any characters; a model's name stands for its builds as well
    (`naming.fits`). Empty: any."""
    tasks: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Ids of API keys, as `holdfast keys` lists them, with `*` for any characters."""
    teams: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name; the value must be equal, or `*` for any."""
    min_tokens: int | None = None
    """Of the prompt."""
    max_tokens: int | None = None
    images: bool | None = None
    hours: tuple[datetime.time, datetime.time] | None = None
    """Local time; the second may be earlier than the first: over midnight."""
    documents: bool | None = None
    """PDFs."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Part of the requests tries another model; a session stays where it was."""

    model: str
    percent: float


@dataclass(frozen=True, slots=True)
class Shadow:
    """Part of the requests is also sent to another model, whose answer nobody sees."""

    model: str
    percent: float
    day: int = 0
    """Nano-USD a day that this may cost; 0: nothing, as of a local model."""


@dataclass(frozen=True, slots=True)
class Route:
    id: str
    when: Match
    policy: PolicyName | None = None
    candidates: tuple[str, ...] | None = None
    """As an alias has them, here and in `fallbacks`; None: those of what was asked for."""
    fallbacks: tuple[str, ...] = ()
    """Tried in this order once all candidates have failed."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By what stands among `candidates`, for the policy `weighted`; what is absent weighs 0."""
    canary: Canary | None = None
    shadow: Shadow | None = None
    local_only: bool = False
    slo_ttft: float | None = None
    """Seconds to the first token."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be spent and asked; None: as much as one likes."""

    day: int | None = None
    """Nano-USD from midnight to midnight, UTC."""
    month: int | None = None
    """Nano-USD in a calendar month, UTC."""
    tokens_day: int | None = None
    tokens_month: int | None = None
    rpm: int | None = None
    """Requests a minute."""
    tpm: int | None = None
    """Tokens a minute."""
    concurrency: int | None = None
    """Requests at a time."""

    @property
    def money(self) -> bool:
        """Whether there is a budget of money."""
        return not (self.day is None and self.month is None)

    @property
    def budget(self) -> bool:
        """Whether there is a budget of money or tokens."""
        return self.money or not (self.tokens_day is None and self.tokens_month is None)


@dataclass(frozen=True, slots=True)
class Team:
    id: str
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class RequestLog:
    """Who is told of each request: that it was, never what was said in it."""

    url: str
    """Where batches are posted as JSON."""
    key: KeySource | None = None
    """A bearer token; None: it needs none."""


@dataclass(frozen=True, slots=True)
class Router:
    cloud: bool = True
    """False: nothing ever leaves this machine, whatever else is said."""
    policy: PolicyName = "cheapest"
    slo_ttft: float = 30.0
    """Seconds to the first token beyond which an answer counts as late."""
    bridge: bool = True
    """Whether a cloud may answer while a local model is being loaded."""
    hedge_after: float | None = None
    """Seconds without a first token after which the next candidate is asked, too; None: never."""
    retries: int = 2
    """Further attempts at the same target."""
    retry_budget: float = 0.2
    """Retries and hedges, as a part of all requests."""
    breaker_failures: int = 5
    """Failures in a row after which a target is left alone."""
    breaker_pause: float = 30.0
    """Seconds until one request tries it again."""
    first_token_timeout: float = 120.0
    """Seconds without any progress before the first token; a local prefill's progress counts."""
    token_timeout: float = 30.0
    """Seconds between tokens."""
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    """The first that matches holds."""
    teams: Mapping[str, Team] = field(default_factory=dict)
    limits: Limits = Limits()
    """Of everything together."""
    request_log: RequestLog | None = None
