"""What a request's model name and the configured routes leave to choose from. Pure."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import replace

from server.catalogue.naming import WORDS, fits
from server.catalogue.router import Match, PolicyName, Route, Router
from server.record import record
from server.routing.candidate import Side
from server.routing.needs import Needs


@record()
class Choice:
    """Among what is chosen, and how."""

    patterns: tuple[str, ...]
    """Names, `PROVIDER/*`, `local`, `cloud` or `*`."""
    named: bool
    """Whether the client named one model: no capability is asked of it then."""
    policy: PolicyName
    floor: float
    """Capability for the task that is asked for."""
    guessed: bool
    """Whether the floor is that of a task which nobody named."""
    local_only: bool
    because: str
    """What made it local-only, in words."""
    slo: float
    """Seconds to the first token."""
    route: Route | None


def choice_of(needs: Needs, router: Router) -> Choice:
    """By the first route that matches, over the alias, over what holds for all."""
    alias = router.aliases.get(needs.asked)
    route = next((one for one in router.routes if matches(one.when, needs)), None)
    vectors = needs.endpoint == "embeddings"
    if vectors and route is not None:
        # It may keep them here, but not lead to another model: its vectors mean something else.
        route = replace(route, candidates=None, fallbacks=(), canary=None, shadow=None)
    # What stands for many in a configuration is no name that a client can ask for.
    patterns: tuple[str, ...] = (needs.asked,) if is_name(needs.asked) else ()
    policy, floor, guessed = router.policy, 0.0, False
    named = alias is None and (route is None or route.candidates is None)
    if not (named or vectors) and (task := router.tasks.get(needs.task)) is not None:
        floor, guessed = task.floor, needs.task_from == "inferred"
    if alias is not None:
        patterns, policy = alias.candidates, alias.policy or policy
        if alias.floor is not None and not vectors:
            floor, guessed = alias.floor, False
    slo = router.slo_ttft
    if route is not None:
        patterns, policy = route.candidates or patterns, route.policy or policy
        slo = route.slo_ttft or slo
    because = needs.private_because if needs.local_only else ""
    if not because and route is not None and route.local_only:
        because = f"the route {route.id} is local-only"
    if not because and policy == "local-only":
        because = "the policy is local-only"
    if not because and not router.cloud:
        because = "no cloud is to be used"
    return Choice(
        patterns=patterns,
        named=named,
        policy=policy,
        floor=floor,
        guessed=guessed,
        local_only=needs.local_only or bool(because),
        because=because,
        slo=needs.slo_ttft or slo,
        route=route,
    )


def matches(when: Match, needs: Needs) -> bool:
    """Whether the request meets all that `when` gives."""
    return (
        (not when.models or any(fits(one, needs.asked) for one in when.models))
        and (not when.tasks or needs.task in when.tasks)
        and (not when.keys or any(fits(one, needs.key) for one in when.keys))
        and (not when.teams or needs.team in when.teams)
        and (when.images is None or when.images == (needs.images > 0))
        and (when.documents is None or when.documents == (needs.pages > 0))
        and (when.min_tokens is None or needs.prompt_tokens >= when.min_tokens)
        and (when.max_tokens is None or needs.prompt_tokens <= when.max_tokens)
        and all(_says(needs.headers.get(name), wanted) for name, wanted in when.headers.items())
        and (when.hours is None or _within(needs.time, when.hours))
    )


def rank(patterns: tuple[str, ...], name: str, side: Side) -> int:
    """Which of `patterns` is the first that stands for the candidate `name`; -1: none does."""
    for index, pattern in enumerate(patterns):
        if pattern == side or fits(pattern, name):
            return index
    return -1


def is_name(pattern: str) -> bool:
    """Whether it stands for one model, and not for whatever there is."""
    return pattern not in WORDS and "*" not in pattern


def draw_of(who: str) -> float:
    """A number in [0, 1) that is the same for the same `who`: a session, else a request's id."""
    digest = hashlib.blake2b(who.encode("utf-8", "replace"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _any_fits(patterns: tuple[str, ...], name: str) -> bool:
    return any(fits(pattern, name) for pattern in patterns)


def _says(given: str | None, wanted: str) -> bool:
    return given is not None and wanted in ("*", given)


def _within(time: datetime.time, hours: tuple[datetime.time, datetime.time]) -> bool:
    """From the first until just before the second; over midnight where that is the earlier."""
    since, until = hours
    if since <= until:
        return since <= time < until
    return time >= since or time < until
