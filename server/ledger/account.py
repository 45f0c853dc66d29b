"""On whose account a request is made: the limits of its key, of the key's team, and of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.catalogue.router import Limits, Router
from server.ledger.keys import UNLIMITED, Key


@dataclass(frozen=True, slots=True)
class Party:
    """One of those whose limits a request must keep."""

    kind: str
    """`key`, `team`, `all` or `provider`."""
    id: str
    """Empty for `all`."""
    limits: Limits

    def __str__(self) -> str:
        return f"{self.kind} {self.id}" if self.id else "all keys together"


@dataclass(frozen=True, slots=True)
class Account:
    parties: tuple[Party, ...]
    """The key, its team where it has one, and all."""

    @property
    def key(self) -> str:
        return self.parties[0].id

    @property
    def team(self) -> str | None:
        return self.parties[1].id if len(self.parties) == 3 else None

    def __iter__(self) -> Iterator[Party]:
        return iter(self.parties)


def account_of(client: str, key: Key | None, router: Router) -> Account:
    """The account of `client`: a key's id, or an address where no key is needed (`key` None).

    A team that the configuration does not know has no limits of its own; its key's and the
    overall ones hold all the same.
    """
    limits = key.limits if key else UNLIMITED
    parties = [Party("key", client, limits)]
    if key and key.team:
        team = router.teams.get(key.team)
        parties.append(Party("team", key.team, team.limits if team else UNLIMITED))
    return Account((*parties, Party("all", "", router.limits)))
