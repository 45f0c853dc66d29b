"""A build that is served here, and what was learnt of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from server.catalogue.cloud import Feature
from server.engines.member import Member
from server.planning.footprint.cache import saved_bytes
from server.routing.affinity import NOTHING, Cached, Prefixes
from server.routing.candidate import Candidate, Forecast
from server.routing.counts import Counts
from server.routing.flight import Flight
from server.routing.needs import Needs
from server.routing.observe import Expected, Observer
from server.routing.prefix import Prefix
from server.routing.reading import ReadingOrder
from server.routing.targets import Target

ALL: frozenset[Feature] = frozenset(get_args(Feature))
"""What both engines can do."""
_WAKE = 0.1
"""Part of a load that a wake takes, until one was measured."""
_LOADING = 0.05
"""Part of a load that is taken to be left when it takes longer than it did."""
_KEPT = 3600.0
"""Seconds for which an engine's cache is taken to hold a prompt that nothing has pushed out."""


@dataclass(slots=True)
class LocalCandidate:
    what: Candidate
    """What does not change from request to request."""
    target: Target
    observer: Observer
    prefixes: Prefixes
    counts: Counts
    order: ReadingOrder | None
    """In which it gets prompts; None: as they come."""
    engine: object = None
    """Whose cache `prefixes` is: a build's engine comes and goes."""

    def at(self, needs: Needs, now: float, down: str, *, sticky: bool) -> Candidate:
        """For one request. `down`: why it is left alone just now; `sticky`: see Candidate."""
        what, member, guess = self.what, self.target.member, needs.prompt_tokens
        observer, queue = self.observer, member.queue
        tokens, least = self.counts.of(needs)
        scale = tokens / guess
        cached = observer.cached(self.thought(needs, now), scale)
        retry_after = None
        if not down and queue.full(needs.key):
            down = f"its queue is full: {queue.waiting} requests wait"
            retry_after = queue.retry_after()
        elif not down and member.tenure.phase == "failed":
            down = "" if member.error is None else member.error.what
            down = down or "its engine has failed"
        forecast = observer.forecast(
            now, guess, cached, load_left(member, now), queue.ahead(needs.key), scale
        )
        return Candidate(
            what.name, what.model, "local", None, what.context, what.max_output, what.image,
            what.features, what.capability, forecast, cached, None, down, what.embeddings,
            what.target, tokens, sticky, retry_after, least, what.slots,
        )  # fmt: skip

    def begin(self, candidate: Candidate, needs: Needs, now: float) -> Flight:
        """A request is to be sent that was decided on as `candidate`."""
        guess = needs.prompt_tokens
        tokens = candidate.prompt_tokens or self.counts.of(needs)[0]
        thought = self.thought(needs, now)
        flight = self.observer.begin(guess, thought, needs.max_tokens, needs.n, tokens / guess)
        flight.asked_at, flight.foretold = now, candidate.forecast
        return flight

    def thought(self, needs: Needs, now: float) -> Cached:
        """What of the prompt should be in the cache of the engine that serves it now."""
        engine = self.target.member.engine
        if self.engine is not engine:
            self.engine = engine
            self.prefixes.clear()
        return self.prefixes.cached(needs.prefix, now) if needs.prefix else NOTHING


def local_candidate(target: Target, capability: Mapping[str, float]) -> Candidate:
    """What does not change from request to request."""
    return Candidate(
        name=target.build.name,
        model=target.model.id,
        side="local",
        provider=None,
        context=target.context,
        max_output=target.context,
        image=target.sees,
        features=ALL,
        capability=capability,
        forecast=Forecast(),
        embeddings=target.member.berth.deployment.embeddings,
        target=target,
        slots=target.member.queue.slots,
    )


def unseen(
    target: Target,
    capability: Mapping[str, float],
    expected: Expected,
    counts: Counts,
    clock: Callable[[], float],
) -> LocalCandidate:
    """One that was never asked. `counts`: what its tokenizer made of prompts, for other builds;
    `clock`: monotonic seconds."""
    what = local_candidate(target, capability)
    slots = target.member.queue.slots
    observer = Observer(slots, expected)
    # vLLM reads so many tokens in a step, in the order in which prompts come.
    one_by_one = target.build.engine == "llama-server" and not what.embeddings
    order = ReadingOrder(observer, clock) if one_by_one else None
    return LocalCandidate(what, target, observer, _prefixes(target), counts, order)


def _prefixes(target: Target) -> Prefixes:
    d, architecture = target.member.berth.deployment, target.model.architecture
    slots = target.member.queue.slots
    if target.build.engine != "llama-server":
        return Prefixes(1, slots * target.context, _KEPT)

    def size(prefix: Prefix) -> float:
        # Each turn leaves a checkpoint before its end, and all but the first one at its beginning.
        checkpoints = min(d.checkpoints, len(prefix))
        return saved_bytes(architecture, prefix[-1][1], checkpoints, d.kv_type)

    return Prefixes(slots, d.prompt_cache, _KEPT, size)


def load_left(member: Member, now: float) -> float:
    """Seconds until its engine should be ready, by its last load, or the planner's estimate."""
    tenure = member.tenure
    phase = tenure.phase
    if phase == "ready" and not member.draining:
        return 0.0
    wake = tenure.wake_seconds or tenure.load_seconds * _WAKE
    if phase == "starting":
        whole = wake if tenure.woken else tenure.load_seconds
        return max(whole * _LOADING, whole - (now - tenure.begun))
    return wake if phase in ("asleep", "dozing") else tenure.load_seconds
