"""The router, clouds and what they cost, as lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from server.catalogue import Catalogue
from server.catalogue.cloud import CloudModel, Provider, Rate
from server.catalogue.router import Alias, Limits, Match, Route, Router, Task
from server.providers.secrets import Absence
from server.units import exact_money, format_duration, format_money

CLOUD_HEADINGS = (
    "CLOUD MODEL", "CONTEXT", "ANSWER", "INPUT", "CACHED", "WRITTEN", "OUTPUT", "PROMPTS", "READS"
)  # fmt: skip
"""Prices are for a million tokens; `PROMPTS`: the lengths for which they hold."""


def routing_lines(catalogue: Catalogue, absences: Mapping[str, Absence]) -> dict[str, str]:
    """What is said of routing, by key; `absences`: of the providers that have no key."""
    router = catalogue.router
    return {
        **{f"router.{key}": value for key, value in router_lines(router).items()},
        **{f"alias[{name}]": alias_line(alias) for name, alias in router.aliases.items()},
        **{f"task[{name}]": task_line(task) for name, task in router.tasks.items()},
        **{f"route[{route.id}]": route_line(route) for route in router.routes},
        **{f"team[{team.id}]": limits_line(team.limits) for team in router.teams.values()},
        **{
            f"provider[{name}]": provider_line(provider, absences.get(name))
            for name, provider in catalogue.providers.items()
        },
    }


def router_lines(router: Router) -> dict[str, str]:
    """`[router]` with its units, and what an absent value means."""
    never = router.hedge_after is None
    return {
        "cloud": "yes" if router.cloud else "no, nothing ever leaves this machine",
        "policy": router.policy,
        "slo_ttft": format_duration(router.slo_ttft),
        "bridge": "yes" if router.bridge else "no",
        "hedge_after": "never" if never else format_duration(router.hedge_after or 0),
        "retries": str(router.retries),
        "retry_budget": f"{router.retry_budget:.0%} of all requests",
        "breaker_failures": f"{router.breaker_failures} in a row",
        "breaker_pause": format_duration(router.breaker_pause),
        "first_token_timeout": format_duration(router.first_token_timeout),
        "token_timeout": format_duration(router.token_timeout),
        "limits": limits_line(router.limits),
        "request_log": router.request_log.url if router.request_log else "none",
    }


def limits_line(limits: Limits) -> str:
    """`"$5.00 a day, $100.00 a month, 60 requests a minute"`"""
    parts = [
        f"{format_money(amount)} a {span}"
        for span, amount in (("day", limits.day), ("month", limits.month))
        if amount is not None
    ]
    counts = {
        "tokens a day": limits.tokens_day,
        "tokens a month": limits.tokens_month,
        "requests a minute": limits.rpm,
        "tokens a minute": limits.tpm,
        "at a time": limits.concurrency,
    }
    parts += [f"{count:,} {noun}" for noun, count in counts.items() if count is not None]
    return ", ".join(parts) or "none"


def alias_line(alias: Alias) -> str:
    """Its candidates, then what else it says."""
    parts = [", ".join(alias.candidates)]
    parts += [alias.policy] if alias.policy else []
    parts += [f"task {alias.task}"] if alias.task else []
    parts += [f"floor {alias.floor:g}"] if alias.floor is not None else []
    return "; ".join(parts)


def task_line(task: Task) -> str:
    """Its floor and weights."""
    weights = ", ".join(f"{name} {part:g}" for name, part in task.benchmarks.items() if part)
    return f"floor {task.floor:g}; {weights}"


def route_line(route: Route) -> str:
    """When it holds, and what then: `"images -> local, acme/*; fastest"`."""
    when, then = "; ".join(_conditions(route.when)), "; ".join(_effects(route))
    return f"{when or 'always'} -> {then or 'as usual'}"


def _conditions(when: Match) -> Iterator[str]:
    for noun, names in {
        "model": when.models,
        "task": when.tasks,
        "key": when.keys,
        "team": when.teams,
    }.items():
        if names:
            yield f"{noun} {' or '.join(names)}"
    yield from (f"{name}: {value}" for name, value in when.headers.items())
    if when.min_tokens is not None:
        yield f"{when.min_tokens:,} tokens or more"
    if when.max_tokens is not None:
        yield f"{when.max_tokens:,} tokens or fewer"
    if when.images is not None:
        yield "images" if when.images else "no images"
    if when.documents is not None:
        yield "documents" if when.documents else "no documents"
    if when.hours:
        yield f"{when.hours[0]:%H:%M} to {when.hours[1]:%H:%M}"


def _effects(route: Route) -> Iterator[str]:
    if route.local_only:
        yield "local only"
    if route.weights:
        yield ", ".join(f"{name} {part:g}" for name, part in route.weights.items())
    elif route.candidates:
        yield ", ".join(route.candidates)
    if route.policy:
        yield route.policy
    if route.fallbacks:
        yield f"else {', '.join(route.fallbacks)}"
    if route.canary:
        yield f"{route.canary.percent:g} % to {route.canary.model}"
    if route.shadow:
        cost = f" for at most {format_money(route.shadow.day)} a day" if route.shadow.day else ""
        yield f"{route.shadow.percent:g} % copied to {route.shadow.model}{cost}"
    if route.slo_ttft is not None:
        yield f"first token in {format_duration(route.slo_ttft)}"


def provider_line(provider: Provider, absence: Absence | None) -> str:
    """Who it is, and whether it can be asked."""
    parts = [f"{provider.kind} at {provider.url}"]
    parts += ["keeps nothing"] if provider.zero_retention else []
    limits = Limits(rpm=provider.rpm, tpm=provider.tpm, concurrency=provider.concurrency)
    parts += [limits_line(limits)] if limits != Limits() else []
    if absence:
        parts.append(f"not asked: {absence.why}")
    else:
        parts.append("has its key" if provider.key else "needs no key")
    return "; ".join(parts)


def cloud_rows(model: CloudModel) -> Iterator[tuple[str, ...]]:
    """A cloud's model as text, one cell for each heading; a row more for each further price."""
    edges = [0, *(tier.above for tier in model.price.tiers)]
    rates = [model.price.rate, *(tier.rate for tier in model.price.tiers)]
    for index, (edge, rate) in enumerate(zip(edges, rates, strict=True)):
        first = index == 0
        up_to = f"to {edges[1]:,}" if len(edges) > 1 else "all"
        yield (
            model.id if first else "",
            f"{model.context:,}" if first else "",
            f"{model.max_output:,}" if first else "",
            *_rate(rate),
            up_to if first else f"over {edge:,}",
            _modalities(model) if first else "",
        )


def _modalities(model: CloudModel) -> str:
    words = ["images"] if model.image else []
    return ", ".join([*words, *(["PDFs"] if model.documents else [])]) or "-"


def _rate(rate: Rate) -> tuple[str, ...]:
    """What has no price of its own costs as much as input."""
    cached = rate.input if rate.cached_input is None else rate.cached_input
    written = rate.input if rate.cache_write is None else rate.cache_write
    amounts = (rate.input, cached, written, rate.output)
    return tuple(f"${exact_money(amount).removesuffix(' USD')}" for amount in amounts)
