"""Whether one may still spend: budgets by day and month, in money and in tokens. Pure.

Days and months are those of UTC, and a day is a number: days since 1970. What is reserved for
requests under way counts as spent, so that no two of them can use the same money.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from server.errors import BudgetExceeded
from server.ledger.account import Party
from server.units import format_duration, format_money

_DAY = 86_400
_NEAR = 60.0
"""Seconds within which it is worth a client's while to wait for the budget to begin anew."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a party has used, of money (nano-USD) and of tokens."""

    day: int = 0
    month: int = 0
    tokens_day: int = 0
    tokens_month: int = 0
    held: int = 0
    """Nano-USD reserved for requests under way."""
    tokens_held: int = 0


NOTHING = Spent()


@dataclass(frozen=True, slots=True)
class Room:
    """What may still be spent; None: as much as one likes."""

    money: int | None = None
    """Nano-USD."""
    tokens: int | None = None

    def covers(self, money: int, tokens: int) -> bool:
        return (self.money is None or money <= self.money) and (
            self.tokens is None or tokens <= self.tokens
        )


def day_of(time: float) -> int:
    """The day of a time in seconds since 1970."""
    return int(time // _DAY)


def month_of(day: int) -> int:
    """A number that is the same for all days of a month, and larger for later ones."""
    date = _date(day)
    return date.year * 12 + date.month


def next_month(day: int) -> int:
    """The first day of the month after that of `day`."""
    date = _date(day)
    first = datetime.date(date.year + date.month // 12, date.month % 12 + 1, 1)
    return (first - datetime.date(1970, 1, 1)).days


def left(party: Party, spent: Spent) -> int | None:
    """Nano-USD that the party may still spend; None: as much as it likes. Never below 0."""
    limits = party.limits
    rooms = [
        limit - used - spent.held
        for limit, used in ((limits.day, spent.day), (limits.month, spent.month))
        if limit is not None
    ]
    return max(0, min(rooms)) if rooms else None


def tokens_left(party: Party, spent: Spent) -> int | None:
    """The same in tokens."""
    limits = party.limits
    rooms = [
        limit - used - spent.tokens_held
        for limit, used in (
            (limits.tokens_day, spent.tokens_day),
            (limits.tokens_month, spent.tokens_month),
        )
        if limit is not None
    ]
    return max(0, min(rooms)) if rooms else None


def refusal(
    party: Party, spent: Spent, cost: int, tokens: int, day: int, time: float
) -> BudgetExceeded | None:
    """Why `cost` nano-USD and `tokens` more are not within the party's budgets; None: they are.

    `day` is the one that is booked on, `time` the clock's. Money that a request does not spend is
    not asked for: with `cost` 0 only budgets of tokens can refuse it.
    """
    limits = party.limits
    for limit, used, wanted, held, period, money in (
        (limits.day, spent.day, cost, spent.held, "day", True),
        (limits.month, spent.month, cost, spent.held, "month", True),
        (limits.tokens_day, spent.tokens_day, tokens, spent.tokens_held, "day", False),
        (limits.tokens_month, spent.tokens_month, tokens, spent.tokens_held, "month", False),
    ):
        if limit is not None and wanted and used + held + wanted > limit:
            anew = day + 1 if period == "day" else next_month(day)
            return _refusal(party, (limit, used, held, wanted), period, money, anew, time)
    return None


def _refusal(
    party: Party,
    figures: tuple[int, int, int, int],
    period: str,
    money: bool,
    anew: int,
    time: float,
) -> BudgetExceeded:
    some_left = figures[1] + figures[2] < figures[0]
    less = "Ask for a shorter answer (max_tokens), or wait: it" if some_left else "It"
    limit, used, held, wanted = (
        (format_money(one) for one in figures) if money else (f"{one:,}" for one in figures)
    )
    unit = "" if money else " tokens"
    wait = anew * _DAY - time
    under_way = f", {held} are reserved for requests under way" if figures[2] else ""
    return BudgetExceeded(
        f"the budget of {party} for this {period} does not allow this request",
        why=f"of {limit}{unit} {used} are spent{under_way}, and this request can take {wanted}",
        next_step=f"{less} begins anew in {format_duration(max(0.0, wait))}, at "
        f"{_date(anew).isoformat()} 00:00 UTC",
        retry_after=max(1, int(wait) + 1) if wait <= _NEAR else None,
    )


def _date(day: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
