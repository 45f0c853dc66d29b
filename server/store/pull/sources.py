"""Where a pull asks and fetches: the hub, then ModelScope, as `[store] sources` orders them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.catalogue import Store
from server.errors import HubError
from server.settings import Settings
from server.store import hub as hubs
from server.store import modelscope
from server.store.asking import ATTEMPTS
from server.store.hub import Hub
from server.store.listing import Listing
from server.store.modelscope import ModelScope
from server.store.pull.order import Order, is_weights
from server.store.transfer.want import Url

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Told:
    listing: Listing
    source: str
    """The address of the hub that told it."""


class Sources:
    """The hubs, in order. Within a pull each is asked once about a repository, and one that could
    not be reached not again."""

    def __init__(self, hubs: Sequence[Hub | ModelScope]) -> None:
        self._hubs = tuple(hubs)
        self._told: dict[tuple[str, str | None], Told] = {}
        self._unreachable: dict[str, HubError] = {}

    def listing(self, order: Order, revision: str | None) -> Told:
        """What the first source that has it tells of `revision`.

        Raises HubError with what the first one said, and what the others added; StoreError for a
        name that no folder can take.
        """
        key = (order.repository, revision)
        if key in self._told:
            return self._told[key]
        if not self._hubs:
            raise HubError(
                "no hub can be asked", why="[store] sources is empty", next_step="Name one in it"
            )
        errors = []
        for hub in self._hubs:
            try:
                self._told[key] = Told(self._ask(hub, order, revision), hub.endpoint)
                return self._told[key]
            except HubError as error:
                errors.append(error)
        first = errors[0]
        others = [f"{error.what}: {error.why}" if error.why else error.what for error in errors[1:]]
        raise HubError(
            first.what,
            why="; ".join(part for part in (first.why, *others) if part),
            next_step=first.next_step,
            retry_after=first.retry_after,
        )

    def urls(self, order: Order, revision: str, path: str, told_by: str) -> tuple[Url, ...]:
        """Where a file can be had: from who told of it first, then from the others."""
        ranked = sorted(self._hubs, key=lambda hub: hub.endpoint != told_by)
        return tuple(
            hub.url(order.repository, revision, path)
            if isinstance(hub, Hub)
            else hub.url(order.modelscope or order.repository, path)
            for hub in ranked
        )

    def try_again(self) -> None:
        """Forgets who could not be reached."""
        self._unreachable.clear()

    def _ask(self, hub: Hub | ModelScope, order: Order, revision: str | None) -> Listing:
        if hub.endpoint in self._unreachable:
            raise self._unreachable[hub.endpoint]
        try:
            if isinstance(hub, Hub):
                return hub.listing(order.repository, revision)
            return _stand_in(hub, order, revision)
        except HubError as error:
            if error.retry_after is not None:
                self._unreachable[hub.endpoint] = error
            raise


def the_hub(settings: Settings, store: Store, *, attempts: int = ATTEMPTS) -> Hub:
    """The hub that settings, else `[store]` name."""
    endpoint = settings.hub_endpoint or store.hub or hubs.ENDPOINT
    return Hub(endpoint, settings.hub_token, settings.offline, attempts)


def sources(settings: Settings, store: Store, *, attempts: int = ATTEMPTS) -> Sources:
    """The hubs that settings and `[store]` name, each asked `attempts` times when it is busy."""
    known: dict[str, Hub | ModelScope] = {
        "huggingface": the_hub(settings, store, attempts=attempts),
        "modelscope": ModelScope(
            settings.modelscope_endpoint or modelscope.ENDPOINT, settings.offline, attempts
        ),
    }
    return Sources([known[name] for name in store.sources])


def _stand_in(scope: ModelScope, order: Order, revision: str | None) -> Listing:
    """ModelScope's files in place of the hub's, where the catalogue can tell that they are them.

    Its commits are not the hub's, so only the digests of all weights wanted can say so.
    """
    known = {file.path: file.sha256 for file in order.known}
    if revision is None or not _COMMIT.fullmatch(revision):
        raise HubError(
            "ModelScope cannot stand in for the hub",
            why=f"no revision of {order.repository} is pinned to compare its files with",
        )
    listing = scope.listing(order.modelscope or order.repository, revision)
    unproven = [
        file.path
        for file in listing.files
        if is_weights(file.path)
        and order.wants(file.path)
        and (known.get(file.path) is None or known[file.path] != file.sha256)
    ]
    if unproven:
        raise HubError(
            "ModelScope cannot stand in for the hub",
            why=f"nothing proves that its {unproven[0]} is that of {revision[:12]}",
        )
    return replace(listing, repository=order.repository)
