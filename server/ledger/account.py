"""On whose account a request is made: the limits of its key, of the key's team, and of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from server.catalogue.router import Limits, Route, Router
from server.ledger.keys import UNLIMITED, Terms
from server.record import record

PartyKind = Literal["key", "team", "shadow", "all", "provider"]


@record()
class Party:
    """One of those whose limits a request must keep."""

    kind: PartyKind
    id: str
    """Empty for `all`."""
    limits: Limits

    def __str__(self) -> str:
        return f"{self.kind} {self.id}" if self.id else "all keys together"


@record()
class Account:
    parties: tuple[Party, ...]
    """The key, its team where it has one, and all; of a shadow copy, its route and all."""

    @property
    def team(self) -> str | None:
        return self._id("team")

    @property
    def shadow(self) -> str | None:
        """The id of the route whose shadow copy it is."""
        return self._id("shadow")

    def __iter__(self) -> Iterator[Party]:
        return iter(self.parties)

    def _id(self, kind: PartyKind) -> str | None:
        for party in self.parties:
            if party.kind == kind:
                return party.id
        return None


def account_of(client: str, key: Terms | None, router: Router) -> Account:
    """The account of `client`: a key's id, or an address where no key is needed (`key` None).

    A team that the configuration does not know has no limits of its own; its key's and the
    overall ones hold all the same.
    """
    parties = [Party("key", client, key.limits if key else UNLIMITED)]
    if key and key.team:
        team = router.teams.get(key.team)
        parties.append(Party("team", key.team, team.limits if team else UNLIMITED))
    return Account((*parties, Party("all", "", router.limits)))


def shadow_account(route: Route, router: Router) -> Account:
    """The account of shadow copies of a route: the operator's, not the client's."""
    limits = UNLIMITED if route.shadow is None else Limits(day=route.shadow.day)
    return Account((Party("shadow", route.id, limits), Party("all", "", router.limits)))
