"""What differs between two configurations, and when it takes effect in a running Holdfast. Pure.

now       the next request goes by it; those under way end as they began
plan      what is served is planned anew: engines start and stop as they fall idle
command   only commands read it, each time anew: nothing that runs need change
restart   it holds from the next start on
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from server.catalogue.catalogue import Catalogue
from server.catalogue.router import Router
from server.catalogue.serve import Serve
from server.catalogue.store import Store

Applies = Literal["now", "plan", "command", "restart"]
How = Literal["added", "removed", "changed", "moved"]

_WHY: Mapping[Applies, str] = {
    "now": "requests that come from now on go by it",
    "plan": "what is served is planned anew",
    "command": "only commands such as `holdfast pull` read it, each time anew",
    "restart": "the address is opened once, at the start",
}
_SERVE: Mapping[str, Applies] = {
    "host": "restart",
    "port": "restart",
    "models": "plan",
    "auto": "plan",
    "model": "plan",
    "context": "plan",
    "slots": "plan",
    "keep_alive": "plan",
    "preload": "plan",
    "sleep": "plan",
    "queue": "plan",
    "queue_timeout": "now",
    "drain_timeout": "now",
    "load_timeout": "now",
    "max_body": "now",
}
"""Every key of `[serve]`; a test holds the two together."""
_TABLES = ("aliases", "tasks", "routes", "teams")
"""Fields of Router that are tables of their own in the file."""


@dataclass(frozen=True, slots=True)
class Change:
    key: str
    """As in the file: `router.policy`, `alias[auto]`, `serve.port`; `route` is their order."""
    how: How
    applies: Applies

    @property
    def why(self) -> str:
        """Why it takes effect then."""
        return _WHY[self.applies]

    @property
    def sentence(self) -> str:
        """`"serve.port changed: takes a restart, the address is opened once, at the start"`"""
        start = "takes a restart, " if self.applies == "restart" else ""
        return f"{self.key} {self.how}: {start}{self.why}"


def key_changes(
    old: Catalogue, new: Catalogue, without: Collection[str], now: Collection[str]
) -> tuple[Change, ...]:
    """The providers of both whose key was found, or is gone: those that were `without` one, and
    those that are `now`. No file of the configuration need have changed for that."""
    return tuple(
        Change(f"provider[{name}].key", "removed" if name in now else "added", "now")
        for name in new.providers
        if name in old.providers and (name in without) != (name in now)
    )


def changes(old: Catalogue, new: Catalogue) -> tuple[Change, ...]:
    """Everything in which `new` differs, in the order of the file; nothing where they mean the
    same, whatever files they were read from."""
    return tuple(_changes(old, new))


def _changes(old: Catalogue, new: Catalogue) -> Iterator[Change]:
    yield from _fields("serve", old.serve, new.serve, _SERVE)
    store: Mapping[str, Applies] = {field.name: "command" for field in fields(Store)}
    yield from _fields("store", old.store, new.store, store)
    yield from _entries("model", old.models, new.models, "plan")
    before, after = old.router, new.router
    scalars: Mapping[str, Applies] = {
        field.name: "now" for field in fields(Router) if field.name not in _TABLES
    }
    yield from _fields("router", before, after, scalars)
    yield from _entries("alias", before.aliases, after.aliases, "now")
    yield from _entries("task", before.tasks, after.tasks, "now")
    first = {route.id: route for route in before.routes}
    then = {route.id: route for route in after.routes}
    yield from _entries("route", first, then, "now")
    if [name for name in first if name in then] != [name for name in then if name in first]:
        yield Change("route", "moved", "now")
    yield from _entries("team", before.teams, after.teams, "now")
    yield from _entries("provider", old.providers, new.providers, "now")
    yield from _entries("cloud", old.clouds, new.clouds, "now")


def _fields(
    table: str,
    old: Serve | Store | Router,
    new: Serve | Store | Router,
    applies: Mapping[str, Applies],
) -> Iterator[Change]:
    for name, when in applies.items():
        if getattr(old, name) != getattr(new, name):
            yield Change(f"{table}.{name}", "changed", when)


def _entries(
    table: str, old: Mapping[str, object], new: Mapping[str, object], applies: Applies
) -> Iterator[Change]:
    for name, entry in old.items():
        if name not in new:
            yield Change(f"{table}[{name}]", "removed", applies)
        elif entry != new[name]:
            yield Change(f"{table}[{name}]", "changed", applies)
    yield from (Change(f"{table}[{name}]", "added", applies) for name in new if name not in old)
