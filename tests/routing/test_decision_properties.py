"""What holds of every decision, whatever the request, the routes and the candidates."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.catalogue.cloud import CloudModel
from server.catalogue.router import Router
from server.errors import HoldfastError
from server.ledger.cost import worst
from server.routing.candidate import Candidate
from server.routing.decision import Decision
from server.routing.needs import Needs
from server.routing.policy import decide
from server.routing.tokens import SLACK
from tests.routing.cases import ALIASES, ROUTER, ROUTES, WORLD, needs_for

NAMES = (*ALIASES, *(c.name for c in WORLD.values()), "qwen3.5-4b", "qwen3.5-27b")
seconds = st.sampled_from([0.0, 0.1, 5.0, 29.0, 31.0, 400.0])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Candidate, ...]:
    found = []
    for c in WORLD.values():
        if draw(st.integers(0, 9)) == 0:
            continue
        load = draw(seconds) if c.side == "local" else 0.0
        forecast = dataclasses.replace(c.forecast, load=load, queue=draw(seconds))
        down = draw(st.sampled_from(["", "", "", "broken"]))
        found.append(
            dataclasses.replace(
                c,
                forecast=forecast,
                down=down,
                retry_after=draw(st.sampled_from([None, 3])) if down else None,
                embeddings=c.embeddings or (c.side == "local" and draw(st.booleans())),
                sticky=draw(st.booleans()),
                cached_tokens=draw(st.sampled_from([0, 500])),
                prompt_tokens=draw(st.sampled_from([0, 900])),
            )
        )
    return tuple(found)


@st.composite
def requests(draw: st.DrawFn, local_only: bool | None = None) -> Needs:
    private = draw(st.booleans()) if local_only is None else local_only
    more: dict[str, Any] = {
        "endpoint": draw(st.sampled_from(["chat", "messages", "completions", "embeddings"])),
        "task": draw(st.sampled_from(["chat", "coding"])),
        "task_from": draw(st.sampled_from(["header", "inferred"])),
        "prompt_tokens": draw(st.sampled_from([10, 1000, 30_000, 90_000, 900_000])),
        "max_tokens": draw(st.sampled_from([None, 16, 20_000])),
        "images": draw(st.sampled_from([0, 0, 2])),
        "features": draw(st.frozensets(st.sampled_from(["tools", "seed", "thinking"]))),
        "local_only": private,
        "private_because": "it was asked for" if private else "",
        "slo_ttft": draw(st.sampled_from([None, 0.2, 60.0])),
        "models": draw(st.sampled_from([None, None, ("auto", "qwen*"), ("openai/*",)])),
        "key": draw(st.sampled_from(["k", "hr"])),
        "team": draw(st.sampled_from([None, "web"])),
        "headers": draw(st.sampled_from([{}, {"x-app": "ide"}])),
        "time": draw(st.times()),
    }
    return needs_for(draw(st.sampled_from(NAMES)), **more)


@st.composite
def routers(draw: st.DrawFn) -> Router:
    names = draw(st.lists(st.sampled_from(sorted(ROUTES)), unique=True, max_size=3))
    return dataclasses.replace(
        ROUTER,
        routes=tuple(ROUTES[name] for name in names),
        cloud=draw(st.sampled_from([True, True, True, False])),
        bridge=draw(st.booleans()),
        hedge_after=draw(st.sampled_from([None, 2.0])),
    )


spares = st.sampled_from([None, None, 0, 1_500_000, 10**12])
draws = st.floats(0, 1, exclude_max=True)
Outcome = Decision | HoldfastError


def outcome(
    needs: Needs, world: tuple[Candidate, ...], router: Router, spare: int | None, draw: float
) -> Outcome:
    try:
        return decide(needs, world, router, spare=spare, draw=draw)
    except HoldfastError as error:
        return error


@settings(max_examples=100)
@given(requests(local_only=True), worlds(), routers(), spares, draws)
def test_what_is_local_only_never_has_a_cloud(
    needs: Needs, world: tuple[Candidate, ...], router: Router, spare: int | None, draw: float
) -> None:
    found = outcome(needs, world, router, spare, draw)
    if isinstance(found, Decision):
        assert found.local_only
        assert found.private_because
        assert {c.side for c in found.attempts} == {"local"}
        assert found.shadow is None
        assert found.load is None or found.load.side == "local"


@settings(max_examples=100)
@given(requests(), worlds(), routers(), spares, draws)
def test_whatever_is_tried_meets_the_hard_constraints(
    needs: Needs, world: tuple[Candidate, ...], router: Router, spare: int | None, draw: float
) -> None:
    found = outcome(needs, world, router, spare, draw)
    if isinstance(found, HoldfastError):
        assert found.status in (400, 404, 429, 503)
        assert found.what
        return
    assert found.attempts
    assert len({c.name for c in found.attempts}) == len(found.attempts)
    assert not (found.local_only and any(c.side == "cloud" for c in found.attempts))
    everything = [*found.attempts, *([found.shadow] if found.shadow else [])]
    for c in everything:
        assert not needs.images or c.image
        assert needs.features <= c.features
        assert c.embeddings or needs.endpoint != "embeddings"
        assert not c.embeddings or c.side == "local" or needs.endpoint == "embeddings"
        tokens = c.prompt_tokens or needs.prompt_tokens
        # An engine counts exactly, and is asked before a prompt is refused by an estimate.
        assert tokens * SLACK <= c.context or (c.side == "local" and tokens < 3 * c.context)
        if c.side == "cloud":
            assert not found.local_only
            assert not needs.max_tokens or needs.max_tokens <= c.max_output
            assert not c.down
        if spare is not None and isinstance(c.target, CloudModel):
            assert worst(c.target, needs.prompt_tokens, needs.max_tokens, needs.n) <= spare
    if needs.endpoint == "embeddings":
        assert len({(c.side, c.model) for c in found.attempts}) == 1
        assert found.shadow is None
    if any(c.down for c in found.attempts):
        assert all(c.down for c in found.attempts)
    assert len(found.verdicts) == len(world)
    assert [v.name for v in found.verdicts[: len(found.attempts)]] == [
        c.name for c in found.attempts
    ]
    assert all(v.reason for v in found.verdicts)


@settings(max_examples=40)
@given(requests(), worlds(), routers(), spares, draws)
def test_the_same_again_is_decided_the_same(
    needs: Needs, world: tuple[Candidate, ...], router: Router, spare: int | None, draw: float
) -> None:
    first, again = (outcome(needs, world, router, spare, draw) for _ in range(2))
    if isinstance(first, Decision):
        assert isinstance(again, Decision)
        assert again.attempts == first.attempts
        assert again.reason == first.reason
        assert list(again.verdicts) == list(first.verdicts)
    else:
        assert str(first) == str(again)


@settings(max_examples=80)
@given(requests(), worlds(), routers(), spares, draws, st.integers(0, 5))
def test_who_leaves_makes_nobody_fit(
    needs: Needs,
    world: tuple[Candidate, ...],
    router: Router,
    spare: int | None,
    draw: float,
    gone: int,
) -> None:
    """But for the two last resorts, which say so: a floor that was guessed, and what is down."""
    found = outcome(needs, world, router, spare, draw)
    fewer = world[:gone] + world[gone + 1 :]
    after = outcome(needs, fewer, router, spare, draw)
    if not isinstance(found, Decision) or not isinstance(after, Decision):
        return
    if any(c.down for c in after.attempts) or "which was guessed" in after.reason:
        return
    assert {c.name for c in after.attempts} <= {c.name for c in found.attempts}


@settings(max_examples=40)
@given(requests(), worlds(), draws)
def test_who_is_tried_does_not_depend_on_the_order_told(
    needs: Needs, world: tuple[Candidate, ...], draw: float
) -> None:
    found = outcome(needs, world, ROUTER, None, draw)
    turned = outcome(needs, world[::-1], ROUTER, None, draw)
    if isinstance(found, Decision):
        assert isinstance(turned, Decision)
        assert {c.name for c in found.attempts} == {c.name for c in turned.attempts}
    else:
        assert type(found) is type(turned)


@pytest.mark.parametrize("percent", [1.0, 10.0, 50.0])
def test_a_canary_gets_its_part_and_the_weights_theirs(percent: float) -> None:
    from server.catalogue.router import Canary, Match, Route
    from server.routing.match import draw_of

    route = Route(
        "parts",
        Match(),
        policy="weighted",
        weights={"qwen3.5-4b": 3.0, "openai/mini": 1.0},
        canary=Canary("google/flash", percent),
    )
    router = dataclasses.replace(ROUTER, routes=(route,))
    needs, world = needs_for("auto"), tuple(WORLD.values())
    first = [
        decide(needs, world, router, draw=draw_of(f"session {number}")).attempts[0].name
        for number in range(1200)
    ]
    canary = first.count("google/flash") / 1200
    assert abs(canary - percent / 100) < 0.04
    rest = [name for name in first if name != "google/flash"]
    assert abs(rest.count("openai/mini") / len(rest) - 0.25) < 0.05
