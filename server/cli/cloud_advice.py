"""What is worth knowing of a configuration's clouds and routes, though nothing in it is wrong.
`advice` is pure; `look` looks."""

from __future__ import annotations

import datetime
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from server.catalogue import Catalogue
from server.catalogue.cloud import Provider
from server.catalogue.naming import fits, names_of
from server.catalogue.reach import overlap
from server.catalogue.router import Route
from server.cli.trace_advice import trace_advice
from server.errors import ConfigError
from server.hardware import Finding
from server.ledger.keys import Key, KeyBook
from server.providers.secrets import Absence, Keyring
from server.routing.tracing import installed
from server.settings import Settings

_SOON = datetime.timedelta(days=30)


def look(
    catalogue: Catalogue, settings: Settings
) -> tuple[dict[str, Absence], tuple[Finding, ...]]:
    """The providers without a key, by id, and the advice: from what is there now."""
    ring = Keyring()
    looked = {name: ring.absence(provider) for name, provider in catalogue.providers.items()}
    absences = {name: absence for name, absence in looked.items() if absence}
    try:
        keys = [key for key in KeyBook(settings.keys_file).all() if key.revoked is None]
    except (ConfigError, OSError):  # `holdfast keys` says what is wrong with the file
        keys = []
    found = [*advice(catalogue, absences, keys, datetime.date.today())]
    if (log := catalogue.router.request_log) and catalogue.router.cloud:
        absence = ring.absence(Provider("request-log", "openai", log.url, log.key))
        found += [_mute(absence)] if absence else []
    found += trace_advice(os.environ, installed=installed(), cloud=catalogue.router.cloud)
    return absences, tuple(found)


def advice(
    catalogue: Catalogue,
    absences: Mapping[str, Absence],
    keys: Collection[Key],
    today: datetime.date,
) -> Iterator[Finding]:
    """`absences`: of the providers whose key is not to be had, by id; `keys`: live API keys."""
    if catalogue.router.cloud:
        yield from _keyless(catalogue, absences)
        yield from _unlimited(catalogue, absences)
        yield from _retiring(catalogue, absences, today)
        yield from _too_late(catalogue.router.routes)
    yield from _strangers(catalogue, keys)


def _mute(absence: Absence) -> Finding:
    what = f"There is no key for the request log: {absence.why}"
    return Finding("warning", "configuration", what, "It is not delivered", absence.next_step)


def _too_late(routes: Sequence[Route]) -> Iterator[Finding]:
    """Routes that keep requests here, behind others that may have taken some of them by then."""
    for index, route in enumerate(routes):
        if not _private(route):
            continue
        before = [
            f"route[{one.id}]"
            for one in routes[:index]
            if not _private(one) and overlap(one.when, route.when)
        ]
        if before:
            yield Finding(
                "warning",
                "configuration",
                f"route[{route.id}] is local-only, and stands behind {', '.join(before)}",
                "The first route that matches holds: a request that meets both may leave",
                f"Put route[{route.id}] first, or make the keys local-only",
            )


def _private(route: Route) -> bool:
    return route.local_only or route.policy == "local-only"


def _strangers(catalogue: Catalogue, keys: Collection[Key]) -> Iterator[Finding]:
    """Keys that a route names, and what keys name, where there is no such thing."""
    for route in catalogue.router.routes:
        for pattern in route.when.keys:
            if not any(fits(pattern, key.id) for key in keys):
                yield Finding(
                    "warning",
                    "configuration",
                    f"route[{route.id}].when.keys: no API key has an id like {pattern}",
                    "The route matches nothing on that account",
                    "`holdfast keys list` shows the ids",
                )
    for key in keys:
        yield from unknown_to(catalogue, key)


def unknown_to(catalogue: Catalogue, key: Key) -> Iterator[Finding]:
    """The team and the models that `key` names, where there is no such thing."""
    if key.team is not None and key.team not in catalogue.router.teams:
        yield Finding(
            "warning",
            "configuration",
            f"The API key {key.name} is of the team {key.team}, which is not configured",
            "No limit of the team holds for it",
            f'Add  [[team]]  id = "{key.team}"',
        )
    askable = names_of(catalogue).askable
    for pattern in key.models or ():
        if not any(fnmatchcase(name, pattern) for name in askable):
            yield Finding(
                "note",
                "configuration",
                f"The API key {key.name} may ask for {pattern}, and nothing has such a name",
            )


def _keyless(catalogue: Catalogue, absences: Mapping[str, Absence]) -> Iterator[Finding]:
    """What is refused is a mistake each; what is just not there is told together."""
    absent = {name: one for name, one in absences.items() if not one.refused}
    for name, one in absences.items():
        if one.refused:
            what = f"There is no key for the provider {name}: {one.why}"
            yield Finding("warning", "configuration", what, _not_asked([name]), one.next_step)
    if len(absent) == 1:
        ((name, one),) = absent.items()
        what = f"The provider {name} has no key: {one.why}"
        yield Finding("note", "configuration", what, _not_asked(absent), one.next_step)
    elif absent:
        last = list(absent)[-1]
        others = ", ".join(list(absent)[:-1])
        cloud = "No cloud is asked" if len(absences) == len(catalogue.providers) else ""
        yield Finding(
            "note",
            "configuration",
            f"The providers {others} and {last} have no key",
            cloud or _not_asked(absent),
            "; ".join(f"{name}: {_shortly(one.next_step)}" for name, one in absent.items()),
        )


def _unlimited(catalogue: Catalogue, absences: Mapping[str, Absence]) -> Iterator[Finding]:
    limits = catalogue.router.limits
    costly = {
        model.provider
        for model in catalogue.clouds.values()
        if model.price.rate.input or model.price.rate.output
    }
    if costly - absences.keys() and limits.day is None and limits.month is None:
        yield Finding(
            "note",
            "configuration",
            "Clouds may be asked, and what they cost is not limited",
            "Only limits of keys and teams hold",
            'Set one, as with  [router]  limits = { day = "5 USD" }',
        )


def _retiring(
    catalogue: Catalogue, absences: Mapping[str, Absence], today: datetime.date
) -> Iterator[Finding]:
    for model in catalogue.clouds.values():
        if model.retires is None or model.provider in absences:
            continue
        step = "Name another in the routes and aliases that have it"
        if model.retired(today):
            what = f"{model.id} is no longer offered, since {model.retires}"
            yield Finding("warning", "configuration", what, "It is not asked", step)
        elif model.retires - today <= _SOON:
            what = f"{model.id} is offered until {model.retires} only"
            yield Finding("note", "configuration", what, "It is not asked from then on", step)


def _not_asked(providers: Collection[str]) -> str:
    return "Its models are not asked" if len(providers) == 1 else "Their models are not asked"


def _shortly(step: str) -> str:
    """The first of the ways, as part of a sentence."""
    first = step.partition(", or ")[0]
    return first[:1].lower() + first[1:]
