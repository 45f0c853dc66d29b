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
from dataclasses import replace
from typing import Protocol

from server.catalogue import Catalogue, Model
from server.catalogue.capability import capabilities
from server.catalogue.cloud import CloudModel
from server.providers.quota import Quota
from server.routing import cloud_candidate, local_candidate
from server.routing.absent import absent
from server.routing.affinity import Sessions
from server.routing.candidate import Candidate
from server.routing.cloud_candidate import CloudCandidate
from server.routing.counts import Counts, tokenizer_of
from server.routing.local_candidate import LocalCandidate
from server.routing.match import rank
from server.routing.needs import Needs
from server.routing.observe import Expected
from server.routing.targets import Target
from server.routing.watched import Watched, WatchedHere, WatchedInSlot


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
        self._local: dict[str, LocalCandidate] = {}
        self._clouds: dict[str, CloudCandidate] = {}
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
    ) -> LocalCandidate:
        name = target.build.name
        known = self._local.get(name)
        if known is None or known.observer.slots != target.member.queue.slots:
            first = expected.get(name, Expected())
            counts = self.counts(target.model)
            return local_candidate.unseen(target, capability, first, counts, self._clock)
        what = local_candidate.local_candidate(target, capability)
        return replace(known, what=what, target=target)

    def _clouded(self, model: CloudModel, capability: Mapping[str, float]) -> CloudCandidate:
        known = self._clouds.get(model.id)
        if known is None:
            return cloud_candidate.unseen(model, capability)
        what = cloud_candidate.cloud_candidate(model, capability)
        what = replace(what, forecast=known.observer.forecast)
        return replace(known, what=what, model=model)

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
        downs = self._downs
        found = [
            one.at(needs, now, downs.down(name), sticky=name == last)
            for name, one in self._local.items()
        ]
        for name, cloud in self._clouds.items():
            down = downs.down(name)
            rest = downs.rest(name) if down else None
            found.append(cloud.at(needs, now, down, rest, self._today, sticky=name == last))
        return tuple(found)

    # ---- What happens ----

    def begin(self, candidate: Candidate, needs: Needs) -> Watched | None:
        """An attempt at `candidate` begins; what becomes of it is to be told to the Watched. None:
        it was decided on before the configuration changed, and is no longer among them."""
        name = candidate.name
        if (local := self._local.get(name)) is not None:
            flight = local.begin(candidate, needs, self._clock())
            seen = flight, self._sessions, needs, name, local.prefixes, local.counts
            if local.order is None:
                return WatchedHere(*seen)
            return WatchedInSlot(*seen, local.order)
        if (cloud := self._clouds.get(name)) is not None:
            return Watched(cloud.begin(needs), self._sessions, needs, name, cloud.prefixes)
        return None

    def allow(self, name: str, quota: Quota) -> None:
        """What its provider says is left of our share of the model `name`."""
        cloud = self._clouds.get(name)
        if cloud is not None:
            cloud.allowance.hear(quota, self._clock())
