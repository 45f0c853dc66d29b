"""Where a request goes. Pure: the same request, candidates and draw give the same decision.

What meets every hard constraint (fit.py) is put in order by the policy (order.py). So overflow is
no case of its own: a local model that is late stands behind a cloud that is not. A canary goes
first, the route's fallbacks last. What is down is left out, unless all is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from server.catalogue.router import Router
from server.errors import HoldfastError
from server.routing.candidate import Candidate
from server.routing.decision import Decision
from server.routing.fit import Case, Constraints, Stage, length
from server.routing.match import choice_of, rank
from server.routing.needs import Needs
from server.routing.order import Order
from server.routing.refusal import empty, refusal, unknown
from server.routing.vectors import one_model
from server.routing.verdicts import Verdicts
from server.units import format_duration

Staged = list[tuple[Candidate, Stage]]
_PARTS = 65_537
_NEAR = 3
"""Times its context, up to which an engine is asked whether a prompt fits that was only estimated:
it counts exactly, and nothing is lost but a moment."""
_COUNTED = 0.9
"""The part of its tokens that a prompt surely has which was not only estimated (counts.py)."""


def decide(
    needs: Needs,
    candidates: Sequence[Candidate],
    router: Router,
    *,
    spare: int | None = None,
    draw: float = 0.0,
    absent: Mapping[str, str] | None = None,
) -> Decision:
    """The attempts in their order, and what is to happen beside them.

    `spare`: nano-USD that the request may cost; None: there is no limit. `draw`: a number in [0, 1)
    by which requests fall into parts (canary, weights, shadow), the same for all of a session
    (match.draw_of). `absent`: names that are known but not there, and why.

    Raises ModelNotFound, NoRoute, ContextExceeded, BudgetExceeded, Overloaded and ProviderBusy; the
    last two tell when to ask again.
    """
    choice = choice_of(needs, router)
    case = Case(needs, choice, spare, choice.floor)
    staged = stages(case, candidates)
    if all(step is Stage.ASKED for _, step in staged):
        raise _not_there(case, candidates, router, absent or {})
    if needs.endpoint == "embeddings":
        staged = one_model(needs.asked, staged)
    if choice.floor and choice.guessed:
        case, staged = _lowered(case, staged)
    route = choice.route
    canary: list[Candidate] = []
    if route is not None and route.canary is not None:
        part = route.canary.percent / 100
        if draw < part:
            canary = _named(case, candidates, (route.canary.model,))
        draw = draw / part if draw < part else (draw - part) / (1 - part)
    order = Order(case, draw, bridge=router.bridge)
    ranked = order.ranked([c for c, step in staged if step is Stage.FIT])
    after = _named(case, candidates, route.fallbacks) if route and route.fallbacks else ()
    prompt = [c for c in canary if not order.late(c)]
    attempts = _once((*prompt, *ranked, *after))
    if not attempts:
        attempts = tuple(c for c, step in staged if _hopeful(needs, c, step))
        if not attempts or any(step is Stage.FULL for _, step in staged):
            raise refusal(case, staged, router.breaker_pause)
    load = _to_load(attempts[0], ranked, canary, order) if router.bridge else None
    shadow = _shadow(case, candidates, attempts[0], draw)
    return Decision(
        attempts=attempts,
        reason=_reason(case, order, attempts, prompt, staged, load),
        verdicts=Verdicts(case, staged, attempts, order),
        policy=choice.policy,
        route=None if route is None else route.id,
        shadow=shadow,
        shadow_day=route.shadow.day if shadow and route and route.shadow else 0,
        hedge_after=router.hedge_after if len(attempts) > 1 else None,
        local_only=choice.local_only,
        private_because=choice.because,
        load=load,
        slo_ttft=choice.slo,
    )


def _not_there(
    case: Case, candidates: Sequence[Candidate], router: Router, absent: Mapping[str, str]
) -> HoldfastError:
    """Where what was asked for stands for nothing that there is."""
    if not case.choice.named:
        return empty(case, absent)
    names = (name for c in candidates for name in (c.model, c.name) if c.side == "local")
    clouds = (c.name for c in candidates if c.side == "cloud")
    return unknown(case.needs.asked, (*router.aliases, *names, *clouds), absent)


def stages(case: Case, candidates: Sequence[Candidate]) -> Staged:
    """How far each candidate gets."""
    stage = Constraints(case).stage
    return [(c, stage(c)) for c in candidates]


def _hopeful(needs: Needs, c: Candidate, step: Stage) -> bool:
    """Whether a local candidate is asked though it does not fit, since there is nothing else: one
    that is down may be up again, and what a prompt comes to an engine knows better than we do."""
    if c.side != "local":
        return False
    tokens = length(needs, c)
    is_guess = needs.longest is not None or c.least_tokens < _COUNTED * tokens
    near = tokens < _NEAR * c.context and is_guess
    return step is Stage.DOWN or (step is Stage.CONTEXT and near)


def _lowered(case: Case, staged: Staged) -> tuple[Case, Staged]:
    """Without the floor of a task that was only guessed, where it alone leaves nothing to ask."""
    if any(step > Stage.FLOOR for _, step in staged):
        return case, staged
    if all(step is not Stage.FLOOR for _, step in staged):
        return case, staged
    case = replace(case, floor=0.0)
    return case, stages(case, [c for c, _ in staged])


def _named(case: Case, candidates: Sequence[Candidate], names: Iterable[str]) -> list[Candidate]:
    """What an operator named on purpose, in the order of the names, as far as it may and can."""
    found = []
    constraints = Constraints(case)
    for name in names:
        for c in candidates:
            named = rank((name,), c.name, c.side) >= 0
            if named and constraints.stage(c, asked=True) is Stage.FIT:
                found.append(c)
    return found


def _once(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    found: dict[str, Candidate] = {}
    for c in candidates:
        found.setdefault(c.name, c)
    return tuple(found.values())


def _to_load(
    first: Candidate, ranked: Sequence[Candidate], canary: Sequence[Candidate], order: Order
) -> Candidate | None:
    """The local model in whose place another answers only because it would have to be loaded: one
    that would stand before a cloud, or a canary."""

    def loaded(c: Candidate) -> Candidate:
        return replace(c, forecast=replace(c.forecast, load=0.0))

    def waits(c: Candidate) -> bool:
        return c.forecast.load > 0 and order.late(c) and not order.late(loaded(c))

    for c in canary:
        if waits(c):
            return c
    key = order.key
    cold = [c for c in ranked if waits(c)]
    if first.side == "local" or key is None or not cold:
        return None
    best = min(cold, key=lambda c: key(loaded(c)))
    return best if key(loaded(best)) < key(first) else None


def _shadow(
    case: Case, candidates: Sequence[Candidate], first: Candidate, draw: float
) -> Candidate | None:
    """Where a copy goes: never that of a request that is to stay here, whatever the target."""
    route = case.choice.route
    if route is None or route.shadow is None or case.choice.local_only:
        return None
    if draw * _PARTS % 1 >= route.shadow.percent / 100:  # independent of the other parts
        return None
    found = _named(case, candidates, (route.shadow.model,))
    return next((c for c in found if c.name != first.name), None)


def _reason(
    case: Case,
    order: Order,
    attempts: Sequence[Candidate],
    canary: Sequence[Candidate],
    staged: Staged,
    load: Candidate | None,
) -> str:
    """Why the first attempt is the first, in a few words."""
    first, choice = attempts[0], case.choice
    if canary:
        return f"canary of the route {choice.route.id if choice.route else ''}"
    if first.down and not choice.named:
        return "nothing else may answer"
    if load is not None:
        return f"{load.name} is being loaded, which takes {format_duration(load.forecast.load)}"
    if case.floor < choice.floor:
        return f"nothing reaches {choice.floor:g} for {case.needs.task}, which was guessed"
    if first.side == "cloud" and not choice.named and choice.policy == "cheapest":
        local = [c for c, step in staged if step is Stage.FIT and c.side == "local"]
        if late := [c for c in local if order.late(c)]:
            soonest = min(late, key=lambda c: c.forecast.ttft)
            return f"overflow: {soonest.name} {_would_take(soonest, order)}"
    if len(attempts) == 1:
        return "asked for by name" if choice.named else "the only one that fits"
    if choice.named:
        return f"asked for by name, the first of {len(attempts)} builds"
    late_too = ", though late" if order.late(first) else ""
    return f"{choice.policy} of {len(attempts)} that fit{late_too}"


def _would_take(c: Candidate, order: Order) -> str:
    """Until its first token, which may come too late."""
    if c.forecast.ttft > order.slo:
        return f"would take {format_duration(c.forecast.ttft)}"
    return f"may take {format_duration(c.forecast.latest)}"
