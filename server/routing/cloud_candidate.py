"""A model of a cloud, and what was learnt of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.catalogue.cloud import CloudModel
from server.routing.affinity import Prefixes
from server.routing.allowance import Allowance
from server.routing.candidate import Candidate, Forecast
from server.routing.needs import Needs
from server.routing.observe_cloud import CloudFlight, CloudObserver

_KEPT = 300.0
"""Seconds for which clouds keep a prompt: five minutes, as most of them say."""
_PROMPTS = 512


@dataclass(slots=True)
class CloudCandidate:
    what: Candidate
    """As it was for the last request."""
    model: CloudModel
    observer: CloudObserver
    prefixes: Prefixes
    allowance: Allowance

    def at(
        self,
        needs: Needs,
        now: float,
        down: str,
        retry_after: int | None,
        today: Callable[[], datetime.date],
        *,
        sticky: bool,
    ) -> Candidate:
        """For one request: mostly the same as for the one before, and then the same object.

        `down`: why it is left alone just now, for `retry_after` seconds where that is known;
        `today`: in UTC; `sticky`: see Candidate.
        """
        what, observer = self.what, self.observer
        forecast = observer.at(now)
        if self.model.retires is not None and (gone := retired(self.model, today())):
            down, retry_after = gone, None
        cached = self.prefixes.cached(needs.prefix, now).tokens
        tokens = observer.counted(needs.prompt_tokens)
        if not down:
            out = self.allowance.out(tokens, needs.n * (needs.max_tokens or 0), now, cached)
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
            self.what = what = Candidate(
                what.name, what.model, "cloud", what.provider, what.context, what.max_output,
                what.image, what.features, what.capability, forecast, cached, what.price,
                down, what.embeddings, what.target, tokens, sticky, retry_after,
                documents=what.documents,
            )  # fmt: skip
        return what

    def begin(self, needs: Needs) -> CloudFlight:
        """A request is to be sent."""
        tokens = self.observer.counted(needs.prompt_tokens)
        self.allowance.take(tokens, needs.n * (needs.max_tokens or 0))
        # What a page comes to differs between clouds, and says nothing of how they count text.
        return self.observer.begin(0 if needs.pages else needs.prompt_tokens)


def retired(model: CloudModel, today: datetime.date) -> str:
    """Why it is asked no more, in words; empty: it is still offered."""
    if not model.retired(today):
        return ""
    return f"its provider has not offered it since {model.retires}"


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


def unseen(model: CloudModel, capability: Mapping[str, float]) -> CloudCandidate:
    """One that was never asked."""
    return CloudCandidate(
        cloud_candidate(model, capability),
        model,
        CloudObserver(model.ttft, model.speed),
        Prefixes(_PROMPTS, 0.0, _KEPT),
        Allowance(),
    )
