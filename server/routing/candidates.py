"""Everything that could answer, as it is now: the fleet's builds and the clouds' models.

What a candidate is changes with the configuration and with what the fleet serves, and is kept until
then; what is asked anew for each request is whether it can be asked, when its first token should
come, and what of the prompt is in its cache. Belongs to one event loop.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, get_args

from server.catalogue import Catalogue, Model
from server.catalogue.capability import capabilities
from server.catalogue.cloud import CloudModel, Feature
from server.engines.member import Member
from server.providers.quota import Quota
from server.routing.affinity import NOTHING, Cached, Prefixes, Sessions
from server.routing.allowance import Allowance
from server.routing.candidate import Candidate, Forecast
from server.routing.counts import Counts, tokenizer_of
from server.routing.match import rank
from server.routing.needs import Needs
from server.routing.observe import Expected, Observer
from server.routing.observe_cloud import CloudObserver
from server.routing.reading import ReadingOrder
from server.routing.targets import Target
from server.routing.watched import Watched, WatchedHere

ALL: frozenset[Feature] = frozenset(get_args(Feature))
"""What both engines can do."""
_WAKE = 0.1
"""Part of a load that a wake takes, until one was measured."""
_LOADING = 0.05
"""Part of a load that is taken to be left when it takes longer than it did."""
_KEPT = 3600.0
"""Seconds for which an engine's cache is taken to hold a prompt that nothing has pushed out."""
_CLOUD_KEPT = 300.0
"""Seconds for which clouds keep a prompt: five minutes, as most of them say."""
_CLOUD_PROMPTS = 512
_VLLM_PROMPTS = 4096


class Downs(Protocol):
    """Who is left alone just now, by name; breaker.Breakers."""

    def down(self, name: str) -> str:
        """Why, in words; empty: it is not."""
        ...

    def rest(self, name: str) -> int | None:
        """Whole seconds for which it wants to be left alone; None: it is no question of that."""
        ...


class _Nobody:
    def down(self, name: str) -> str:
        return ""

    def rest(self, name: str) -> int | None:
        return None


@dataclass(slots=True)
class _Local:
    what: Candidate
    target: Target
    observer: Observer
    prefixes: Prefixes
    counts: Counts
    order: ReadingOrder | None
    """In which it gets prompts; None: as they come."""
    engine: object = None
    """Whose cache `prefixes` is: a build's engine comes and goes."""


@dataclass(slots=True)
class _Cloud:
    what: Candidate
    model: CloudModel
    observer: CloudObserver
    prefixes: Prefixes
    allowance: Allowance


class Candidates:
    """`clock`: monotonic seconds; `today`: in UTC. See the module."""

    def __init__(
        self,
        downs: Downs | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime.date] = lambda: datetime.datetime.now(datetime.UTC).date(),
    ) -> None:
        self._downs = downs or _Nobody()
        self._clock = clock
        self._today = today
        self._local: dict[str, _Local] = {}
        self._clouds: dict[str, _Cloud] = {}
        self._counts: dict[str, Counts] = {}
        """By tokenizer."""
        self._sessions = Sessions()
        self._catalogue: Catalogue | None = None
        self.smallest = sys.maxsize
        """Tokens of the smallest context of a local one that talks."""
        self.absent: Mapping[str, str] = {}
        """Names that are known but not there, and why."""

    # ---- What there is ----

    def serve(
        self,
        catalogue: Catalogue,
        targets: Sequence[Target],
        *,
        expected: Mapping[str, Expected] | None = None,
        keyless: Mapping[str, str] | None = None,
    ) -> None:
        """Choose from these from now on. `expected`: the planner's speeds, by build; `keyless`:
        providers that cannot be used for want of a key, and why. What was learnt stays."""
        tasks = catalogue.router.tasks.values()
        self._local = {
            t.build.name: self._located(t, capabilities(t.model.scores, tasks), expected or {})
            for t in targets
        }
        talking = (one.target.context for one in self._local.values() if not one.what.embeddings)
        self.smallest = min(talking, default=sys.maxsize)
        keyless = keyless or {}
        self._clouds = {
            m.id: self._clouded(m, capabilities(m.scores, tasks))
            for m in catalogue.clouds.values()
            if m.provider not in keyless
        }
        self.absent = dict(absent(catalogue, self._local, keyless))

    def _located(
        self, target: Target, capability: Mapping[str, float], expected: Mapping[str, Expected]
    ) -> _Local:
        name, member = target.build.name, target.member
        slots, context = member.queue.slots, target.context
        prompts = 2 * slots if target.build.engine == "llama-server" else _VLLM_PROMPTS
        what = Candidate(
            name=name,
            model=target.model.id,
            side="local",
            provider=None,
            context=context,
            max_output=context,
            image=target.sees,
            features=ALL,
            capability=capability,
            forecast=Forecast(),
            embeddings=member.berth.deployment.embeddings,
            target=target,
            slots=slots,
        )
        known = self._local.get(name)
        if known is None or known.observer.slots != slots:
            observer = Observer(slots, expected.get(name, Expected()))
            prefixes = Prefixes(prompts, slots * context, _KEPT)
            # vLLM reads so many tokens in a step, in the order in which prompts come.
            one_by_one = target.build.engine == "llama-server" and not what.embeddings
            order = ReadingOrder(observer, self._clock) if one_by_one else None
            return _Local(what, target, observer, prefixes, self.counts(target.model), order)
        return replace(known, what=what, target=target)

    def _clouded(self, model: CloudModel, capability: Mapping[str, float]) -> _Cloud:
        known = self._clouds.get(model.id)
        observer = CloudObserver(model.ttft, model.speed) if known is None else known.observer
        what = replace(cloud_candidate(model, capability), forecast=observer.forecast)
        prefixes = Prefixes(_CLOUD_PROMPTS, float("inf"), _CLOUD_KEPT)
        if known is not None:
            return replace(known, what=what, model=model)
        return _Cloud(what, model, observer, prefixes, Allowance())

    def everything(self) -> Iterator[Candidate]:
        """All of them, as they were when one was last asked for."""
        yield from (one.what for one in self._local.values())
        yield from (one.what for one in self._clouds.values())

    def counts(self, model: Model) -> Counts:
        """What the tokenizer of `model` was seen to make of prompts."""
        return self._counts.setdefault(tokenizer_of(model), Counts())

    def local(self, patterns: tuple[str, ...]) -> Iterator[tuple[Target, Counts]]:
        """The local ones that talk, and that `patterns` stand for."""
        for name, one in self._local.items():
            if not one.what.embeddings and rank(patterns, name, "local") >= 0:
                yield one.target, one.counts

    # ---- As it is now ----

    def of(self, needs: Needs) -> tuple[Candidate, ...]:
        """All of them, for one request."""
        now = self._clock()
        last = None
        if needs.session is not None:
            last = self._sessions.last(needs.key, needs.session, now)
        return (
            *[self._local_now(one, needs, now, last) for one in self._local.values()],
            *[self._cloud_now(one, needs, now, last) for one in self._clouds.values()],
        )

    def _local_now(self, one: _Local, needs: Needs, now: float, last: str | None) -> Candidate:
        what, member, guess = one.what, one.target.member, needs.prompt_tokens
        observer, queue = one.observer, member.queue
        tokens, least = one.counts.of(needs)
        scale = tokens / guess
        cached = observer.cached(self._thought(one, needs, now), scale)
        down, retry_after = self._downs.down(what.name), None
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
            what.target, tokens, what.name == last, retry_after, least, what.slots,
        )  # fmt: skip

    def _cloud_now(self, one: _Cloud, needs: Needs, now: float, last: str | None) -> Candidate:
        """Mostly the same as for the request before, and then the same object."""
        what, observer = one.what, one.observer
        forecast = observer.at(now)
        thought = one.prefixes.cached(needs.prefix, now)
        down = self._downs.down(what.name)
        retry_after = self._downs.rest(what.name) if down else None
        retires = one.model.retires
        if retires is not None and self._today() >= retires:
            down, retry_after = f"its provider has not offered it since {retires}", None
        sticky = what.name == last
        cached, tokens = thought.tokens, observer.counted(needs.prompt_tokens)
        if not down:
            out = one.allowance.out(tokens, needs.n * (needs.max_tokens or 0), now, cached)
            if out is not None:
                down, retry_after = out.why, out.wait
        same = (
            what.forecast is forecast
            and what.down == down
            and what.retry_after == retry_after
            and what.cached_tokens == cached
            and what.sticky == sticky
            and what.prompt_tokens == tokens
        )
        if not same:
            one.what = what = Candidate(
                what.name, what.model, "cloud", what.provider, what.context, what.max_output,
                what.image, what.features, what.capability, forecast, cached, what.price,
                down, what.embeddings, what.target, tokens, sticky, retry_after,
                documents=what.documents,
            )  # fmt: skip
        return what

    def _thought(self, one: _Local, needs: Needs, now: float) -> Cached:
        """What of the prompt should be in the cache of the engine that serves it now."""
        engine = one.target.member.engine
        if one.engine is not engine:
            one.engine = engine
            one.prefixes.clear()
        return one.prefixes.cached(needs.prefix, now) if needs.prefix else NOTHING

    # ---- What happens ----

    def begin(self, candidate: Candidate, needs: Needs) -> Watched | None:
        """An attempt at `candidate` begins; what becomes of it is to be told to the Watched. None:
        it was decided on before the configuration changed, and is no longer among them."""
        now = self._clock()
        local = self._local.get(candidate.name)
        if local is not None:
            thought, guess = self._thought(local, needs, now), needs.prompt_tokens
            tokens = candidate.prompt_tokens or local.counts.of(needs)[0]
            flight = local.observer.begin(guess, thought, needs.max_tokens, needs.n, tokens / guess)
            return WatchedHere(
                flight, self._sessions, needs, candidate.name, local.prefixes, local.counts,
                local.order,
            )  # fmt: skip
        cloud = self._clouds.get(candidate.name)
        if cloud is None:
            return None
        tokens = cloud.observer.counted(needs.prompt_tokens)
        cloud.allowance.take(tokens, needs.n * (needs.max_tokens or 0))
        # What a page comes to differs between clouds, and says nothing of how they count text.
        away = cloud.observer.begin(0 if needs.pages else needs.prompt_tokens)
        return Watched(away, self._sessions, needs, candidate.name, cloud.prefixes)

    def allow(self, name: str, quota: Quota) -> None:
        """What its provider says is left of our share of the model `name`."""
        cloud = self._clouds.get(name)
        if cloud is not None:
            cloud.allowance.hear(quota, self._clock())


def cloud_candidate(model: CloudModel, capability: Mapping[str, float]) -> Candidate:
    """With what is expected of it before it was ever asked."""
    return Candidate(
        name=model.id,
        model=model.name,
        side="cloud",
        provider=model.provider,
        context=model.context,
        max_output=model.max_output,
        image=model.image,
        documents=model.documents,
        features=model.features,
        capability=capability,
        forecast=Forecast(prefill=model.ttft, speed=model.speed),
        price=model.price,
        embeddings=model.embeddings,
        target=model,
    )


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


def absent(
    catalogue: Catalogue, local: Mapping[str, object], keyless: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Names that are known but not there, and why. `local`: builds that are served, by name."""
    served = {name.partition(":")[0] for name in local}
    for model in catalogue.models.values():
        if model.id not in served:
            yield model.id, f"{model.title} is in the catalogue, but is not running"
        for build in model.builds:
            if build.name not in local:
                yield build.name, f"{build.name} is in the catalogue, but is not running"
    for cloud in catalogue.clouds.values():
        if cloud.provider in keyless:
            yield cloud.id, f"{cloud.provider} has no key: {keyless[cloud.provider]}"
