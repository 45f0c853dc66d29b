"""What could answer if Holdfast ran: the builds of a plan, as fast as the planner says. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from server.catalogue import Build, Catalogue, Model
from server.catalogue.capability import capabilities
from server.engines.berth import Berth
from server.planning.speed import Speed
from server.routing.candidate import Candidate
from server.routing.cloud_candidate import cloud_candidate, retired
from server.routing.local_candidate import ALL
from server.routing.needs import Needs
from server.routing.observe import Expected
from server.routing.predict import Rates, Standing, forecast
from server.routing.tokens import ABOVE


@dataclass(frozen=True, slots=True)
class Planned:
    """A build that would be served."""

    model: Model
    build: Build
    berth: Berth
    sees: bool
    expected: Expected


def expected_of(speed: Speed) -> Expected:
    """What the planner says of an engine that was never seen."""
    return Expected(prefill=speed.prefill, decode=speed.decode, decode_all=speed.decode_all)


def planned_candidates(
    catalogue: Catalogue,
    planned: Sequence[Planned],
    keyless: Mapping[str, str],
    needs: Needs,
    today: datetime.date,
) -> Iterator[Candidate]:
    """For one request, everything being idle. `keyless`: see Candidates.serve; `today`: in UTC."""
    tasks = catalogue.router.tasks.values()
    for one in planned:
        yield _local(one, capabilities(one.model.scores, tasks), needs)
    for cloud in catalogue.clouds.values():
        if cloud.provider not in keyless:
            yield replace(
                cloud_candidate(cloud, capabilities(cloud.scores, tasks)),
                down=retired(cloud, today),
            )


def _local(one: Planned, capability: Mapping[str, float], needs: Needs) -> Candidate:
    berth, expected = one.berth, one.expected
    d = berth.deployment
    prompt = int(needs.prompt_tokens / ABOVE)
    load = 0.0 if berth.residency == "resident" else berth.load_seconds
    rates = Rates(expected.fixed, expected.prefill, 1 / expected.decode, 0.0)
    return Candidate(
        name=berth.name,
        model=one.model.id,
        side="local",
        provider=None,
        context=d.context,
        max_output=d.context,
        image=one.sees,
        features=ALL,
        slots=d.slots,
        capability=capability,
        forecast=forecast(Standing(d.slots, load), rates, prompt),
        prompt_tokens=prompt,
        embeddings=d.embeddings,
    )
