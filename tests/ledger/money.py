"""Accounts, reservations and entries as the tests of the ledger need them."""

from __future__ import annotations

from server.catalogue.router import Limits
from server.chat.usage import Usage
from server.ledger.account import Account, Party
from server.ledger.entry import Entry, Outcome, Reservation, Side

NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""
DAY = 86_400.0


def account(
    key: Limits | None = None, team: Limits | None = None, everything: Limits | None = None
) -> Account:
    """That of the key `k`, in the team `t` where `team` is given."""
    parties = [Party("key", "k", key or Limits())]
    if team is not None:
        parties.append(Party("team", "t", team))
    return Account((*parties, Party("all", "", everything or Limits())))


def reservation(
    cost: int = 0, tokens: int = 0, name: str = "r", body: bytes = b"{}"
) -> Reservation:
    return Reservation(
        time=NOON,
        request_id=name,
        key_id="k",
        endpoint="chat",
        asked="auto",
        model="cloud/large",
        provider="cloud",
        host="api.cloud.example",
        body=body,
        cost=cost,
        prompt_tokens=tokens,
        output_tokens=0,
    )


def entry(
    cost: int = 0,
    tokens: int = 0,
    name: str = "r",
    *,
    team: str | None = None,
    route: Side = "cloud",
    model: str = "cloud/large",
    saved: int = 0,
    outcome: Outcome = "answered",
    final: bool = True,
    time: float = NOON,
) -> Entry:
    return Entry(
        time=time,
        request_id=name,
        key_id="k",
        team=team,
        endpoint="chat",
        asked="auto",
        model=model,
        route=route,
        provider="cloud" if route == "cloud" else None,
        usage=Usage(tokens, 0),
        cost=cost,
        saved=saved,
        seconds=1.0,
        outcome=outcome,
        final=final,
    )
