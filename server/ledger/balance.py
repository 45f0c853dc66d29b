"""What every party has spent this day and month, and what is reserved: kept in memory, O(1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from server.errors import BudgetExceeded
from server.ledger.account import Account, Party
from server.ledger.limits import NOTHING, Room, Spent, left, month_of, refusal, tokens_left

PartyKey = tuple[str, str]
"""A party's kind and id."""


@dataclass(slots=True)
class _Sums:
    day: int = 0
    month: int = 0
    tokens_day: int = 0
    tokens_month: int = 0
    held: int = 0
    tokens_held: int = 0


class Balance:
    """The sums of all parties, on one day that only goes forward.

    A clock that steps back leaves the day as it is: a budget once spent is not spent again.
    """

    def __init__(self) -> None:
        self.day = 0
        """Since 1970, UTC: the latest day that was seen."""
        self._month = 0
        self._sums: dict[PartyKey, _Sums] = {}

    def advance(self, day: int) -> None:
        """Be on `day`, if it is later than the present one."""
        if day <= self.day:
            return
        self.day = day
        month = month_of(day)
        new_month, self._month = month != self._month, month
        for key, sums in list(self._sums.items()):
            sums.day = sums.tokens_day = 0
            if new_month:
                sums.month = sums.tokens_month = 0
            if sums == _Sums():
                del self._sums[key]  # or every address that ever asked would stay here

    def add(self, party: PartyKey, spent: Spent, day: int) -> None:
        """Count what an earlier process has written down of `day` and its month, as far as the
        present ones are those."""
        sums = self._of(party)
        if day == self.day:
            sums.day += spent.day
            sums.tokens_day += spent.tokens_day
        if month_of(day) == self._month:
            sums.month += spent.month
            sums.tokens_month += spent.tokens_month

    def spent(self, party: Party) -> Spent:
        sums = self._sums.get((party.kind, party.id))
        if sums is None:
            return NOTHING
        return Spent(
            sums.day,
            sums.month,
            sums.tokens_day,
            sums.tokens_month,
            sums.held,
            sums.tokens_held,
        )

    def left(self, account: Account) -> int | None:
        """Nano-USD that all parties of the account still allow; None: no limit."""
        limited = [party for party in account.parties if party.limits.money]
        if not limited:
            return None
        rooms = [left(party, self.spent(party)) for party in limited]
        return min((room for room in rooms if room is not None), default=None)

    def room(self, account: Account) -> Room:
        """What all parties of the account still allow."""
        tokens = [tokens_left(party, self.spent(party)) for party in account.parties]
        return Room(
            self.left(account), min((one for one in tokens if one is not None), default=None)
        )

    def refusal(
        self, account: Account, cost: int, tokens: int, time: float
    ) -> BudgetExceeded | None:
        """Why the account may not take so much more, if it may not."""
        for party in account.parties:
            if not party.limits.budget:
                continue
            error = refusal(party, self.spent(party), cost, tokens, self.day, time)
            if error is not None:
                return error
        return None

    def hold(self, account: Account, cost: int, tokens: int) -> None:
        """Reserve; a negative amount gives back."""
        for party in account.parties:
            sums = self._of((party.kind, party.id))
            sums.held += cost
            sums.tokens_held += tokens

    def charge(self, parties: Iterable[PartyKey], cost: int, tokens: int) -> None:
        """Book on the present day."""
        for key in parties:
            sums = self._of(key)
            sums.day += cost
            sums.month += cost
            sums.tokens_day += tokens
            sums.tokens_month += tokens

    def _of(self, key: PartyKey) -> _Sums:
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = _Sums()
        return sums


def parties_of(key: str, team: str | None, shadow: str | None) -> tuple[PartyKey, ...]:
    """Whose sums an entry with these adds to."""
    if shadow is not None:
        return (("shadow", shadow), ("all", ""))
    if team is None:
        return (("key", key), ("all", ""))
    return (("key", key), ("team", team), ("all", ""))
