"""A world of six candidates, and the language of the tables in `tables/`.

A row is `request | expected`. The request begins with the model or alias asked for; then come words
`name=value` for what it needs, `CANDIDATE.name=value` for what is otherwise than in the world, and
`with=NAME` for a route of ROUTES. The expected is the first attempts in their order, `a > b`: all
of them if it ends with a full stop; or `!Error words of its message`. After `;` follow other facts
of the decision: `load=`, `shadow=`, `route=`, `hedge=`, `local`, `reason=words`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from server.catalogue.cloud import CloudModel, Feature, Price, Rate
from server.catalogue.router import Alias, Canary, Match, Route, Router, Shadow, Task
from server.routing.candidate import Candidate, Forecast
from server.routing.local_candidate import ALL
from server.routing.needs import Needs

TABLES = Path(__file__).parent / "tables"
USD = 10**9
CLAUDE: frozenset[Feature] = ALL - {"seed", "n", "logprobs", "penalties", "logit_bias"}


def _cloud(
    name: str, dollars: tuple[float, float], context: int, output: int, ability: float, **more: Any
) -> Candidate:
    provider, _, short = name.partition("/")
    rate = Rate(round(dollars[0] * USD), round(dollars[1] * USD), round(dollars[0] * USD / 10))
    features = more.pop("features", ALL)
    image, embeds = more.pop("image", True), more.pop("embeddings", False)
    documents = more.pop("documents", False)
    model = CloudModel(
        name, provider, short, short, context, output, Price(rate),
        image=image, documents=documents, features=features, embeddings=embeds,
    )  # fmt: skip
    return Candidate(
        name=name, model=short, side="cloud", provider=provider, context=context,
        max_output=output, image=image, features=features, price=model.price, target=model,
        capability={"coding": ability, "chat": ability + 5}, embeddings=embeds, documents=documents,
        forecast=Forecast(prefill=more.pop("ttft"), speed=more.pop("speed"), measured=True),
    )  # fmt: skip


def _local(
    name: str, context: int, ability: float | None, *, ttft: float, speed: float, image: bool
) -> Candidate:
    known = {} if ability is None else {"coding": ability, "chat": ability + 5}
    return Candidate(
        name=name, model=name.partition(":")[0], side="local", provider=None, context=context,
        max_output=context, image=image, features=ALL, capability=known,
        forecast=Forecast(prefill=ttft, speed=speed, measured=True),
    )  # fmt: skip


WORLD = {
    "small": _local("qwen3.5-4b:q4_k_m", 32_768, 40.0, ttft=0.3, speed=60, image=False),
    "big": _local("qwen3.5-27b:q4_k_m", 65_536, 65.0, ttft=1.0, speed=12, image=True),
    "mini": _cloud("openai/mini", (0.4, 1.6), 128_000, 16_000, 55.0, ttft=0.6, speed=90),
    "flash": _cloud(
        "google/flash", (0.3, 2.5), 1_000_000, 64_000, 70.0, ttft=0.5, speed=150, documents=True
    ),
    "opus": _cloud(
        "anthropic/opus", (5, 25), 200_000, 32_000, 85.0, ttft=1.5, speed=50, features=CLAUDE,
        documents=True,
    ),
    "vectors": _cloud(
        "openai/vectors", (0.02, 0), 8192, 1, 0.0, ttft=0.2, speed=0, embeddings=True, image=False,
        features=frozenset(),
    ),
}  # fmt: skip

ALIASES = {
    alias.name: alias
    for alias in (
        Alias("auto", ("*",)),
        Alias("frontier", ("cloud",), policy="most-capable", floor=60.0),
        Alias("mine", ("local",)),
        Alias("quick", ("*",), policy="fastest"),
        Alias("best", ("*",), policy="most-capable"),
        Alias("private", ("*",), policy="local-only"),
        Alias("coder", ("*",), task="coding"),
        Alias("strict", ("*",), floor=80.0),
        Alias("google", ("google/*", "qwen3.5-4b")),
        Alias("spread", ("*",), policy="weighted"),
        Alias("embed", ("*",)),
        Alias("ghost", ("mistral/*",)),
        Alias("listed", ("openai/mini", "qwen3.5-27b", "anthropic/opus"), policy="most-capable"),
    )
}
ROUTES = {
    route.id: route
    for route in (
        Route("big-prompts", Match(min_tokens=20_000), candidates=("google/*",)),
        Route("night", Match(hours=(datetime.time(22), datetime.time(6))), policy="local-only"),
        Route("secret", Match(keys=("hr",)), local_only=True),
        Route("team", Match(teams=("web",)), candidates=("openai/mini",)),
        Route("headed", Match(headers={"x-app": "ide"}), policy="fastest"),
        Route("headed-any", Match(headers={"x-app": "*"}), policy="most-capable"),
        Route("pictures", Match(images=True), candidates=("openai/mini", "local")),
        Route("papers", Match(documents=True), candidates=("anthropic/opus",)),
        Route("code", Match(tasks=("coding",)), policy="most-capable"),
        Route("only-auto", Match(models=("auto",)), candidates=("openai/*",)),
        Route("short", Match(max_tokens=500), candidates=("local",)),
        Route("canary", Match(), canary=Canary("qwen3.5-27b", 10.0)),
        Route("canary-cloud", Match(), canary=Canary("google/flash", 50.0)),
        Route("fallback", Match(), candidates=("local",), fallbacks=("google/flash", "openai/*")),
        Route("fallback-here", Match(), candidates=("openai/mini",), fallbacks=("local",)),
        Route("shadow", Match(), shadow=Shadow("anthropic/opus", 100.0, USD)),
        Route("shadow-here", Match(), shadow=Shadow("qwen3.5-27b", 100.0, 0)),
        Route("shadow-never", Match(), shadow=Shadow("anthropic/opus", 0.0, USD)),
        Route("hurry", Match(), slo_ttft=0.4),
        Route("patient", Match(), slo_ttft=300.0),
        Route(
            "halves", Match(), policy="weighted",
            weights={"qwen3.5-4b": 50.0, "google/flash": 30.0, "openai/*": 20.0},
        ),
    )
}  # fmt: skip
TASKS = {
    "chat": Task("chat", {"ifeval": 1.0}),
    "coding": Task("coding", {"tau2": 1.0}, floor=50.0),
}
ROUTER = Router(aliases=ALIASES, tasks=TASKS)


@dataclass
class Row:
    text: str
    needs: Needs
    candidates: tuple[Candidate, ...]
    router: Router
    draw: float
    spare: int | None
    expected: str
    facts: dict[str, str] = field(default_factory=dict)


def rows() -> Iterator[Any]:
    """Every row of every table, with its place as its id."""
    import pytest

    for path in sorted(TABLES.glob("*.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                yield pytest.param(parse(line), id=f"{path.stem}:{number}")


def parse(line: str) -> Row:
    request, _, outcome = line.partition("|")
    expected, *facts = (part.strip() for part in outcome.split(";"))
    asked, *words = request.split()
    needs: dict[str, Any] = {}
    world = dict(WORLD)
    router, draw, spare = ROUTER, 0.5, None
    for word in words:
        name, _, value = word.partition("=")
        who, dot, what = name.partition(".")
        if dot:
            world[who] = _changed(world[who], what, value)
        elif name == "with":
            router = replace(router, routes=(*router.routes, ROUTES[value]))
        elif name == "without":
            del world[value]
        elif name == "draw":
            draw = float(value)
        elif name == "spare":
            spare = round(float(value) * USD)
        elif name in ("cloud", "bridge"):
            switched: dict[str, Any] = {name: value == "yes"}
            router = replace(router, **switched)
        elif name in ("hedge_after", "slo"):
            seconds: dict[str, Any] = {{"slo": "slo_ttft"}.get(name, name): float(value)}
            router = replace(router, **seconds)
        else:
            needs |= _needed(name, value)
    return Row(
        line, needs_for(asked, **needs), tuple(world.values()), router, draw, spare, expected,
        {name: value for name, _, value in (fact.partition("=") for fact in facts)},
    )  # fmt: skip


def needs_for(asked: str, **more: Any) -> Needs:
    """A short chat request, but for `more`."""
    needs: dict[str, Any] = {
        "endpoint": "chat", "task": "chat", "task_from": "inferred", "prompt_tokens": 1000,
        "max_tokens": 500, "key": "k", "time": datetime.time(12),
    }  # fmt: skip
    return Needs(asked=asked, **(needs | more))


def _needed(name: str, value: str) -> dict[str, Any]:
    if name in ("tokens", "max", "images", "pages", "n"):
        full = {"tokens": "prompt_tokens", "max": "max_tokens"}.get(name, name)
        return {full: None if value == "any" else int(value)}
    if name == "wants":
        return {"features": frozenset(value.split(","))}
    if name == "local":
        return {"local_only": True, "private_because": "the key is local-only"}
    if name == "task":
        return {"task": value, "task_from": "header"}
    if name == "guess":
        return {"task": value, "task_from": "inferred"}
    if name == "ttft":
        return {"slo_ttft": float(value)}
    if name == "may":
        return {"models": tuple(value.split(","))}
    if name == "at":
        return {"time": datetime.time.fromisoformat(value)}
    if name == "header":
        key, _, said = value.partition(":")
        return {"headers": {key: said}}
    assert name in ("key", "team", "session", "endpoint"), name
    return {name: value}


def _changed(c: Candidate, what: str, value: str) -> Candidate:
    if what in ("load", "queue", "queue_late", "prefill", "speed"):
        told: dict[str, Any] = {what: float(value)}
        return replace(c, forecast=replace(c.forecast, **told))
    if what == "full":
        return replace(c, down="its queue is full: 64 requests wait", retry_after=int(value))
    if what == "down":
        return replace(c, down=value or "its engine has failed")
    if what == "sticky":
        return replace(c, sticky=True)
    if what == "cached":
        return replace(c, cached_tokens=int(value))
    if what == "unknown":
        return replace(c, capability={})
    if what == "embeds":
        return replace(c, embeddings=True)
    if what == "blind":
        return replace(c, image=False)
    assert what in ("context", "prompt_tokens", "least_tokens", "slots"), what
    size: dict[str, Any] = {what: int(value)}
    return replace(c, **size)
