"""What a key may do, from the options of `keys create` and `keys set`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from server.catalogue.router import Limits
from server.errors import ConfigError
from server.ledger.keys import Role, Terms
from server.units import USD, format_money, parse_money

_NONE = "none"
_COUNT = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?\s*([kKMG]?)")
_THOUSANDS = {"": 1, "k": 1000, "K": 1000, "M": 1000**2, "G": 1000**3}
_MOST_MONEY = 10**9 * USD
"""As in a configuration, and so are tokens: the file of keys cannot hold any number."""
_MOST = 10**15


def _option(name: str, metavar: str, about: str) -> Any:
    return typer.Option(name, metavar=metavar, help=about, show_default=False)


Team = Annotated[str | None, _option("--team", "TEAM", "Whose budgets it shares, see [[team]].")]
RoleName = Annotated[
    str | None, _option("--role", "ROLE", "user, or admin, who may read /metrics, too.")
]
Day = Annotated[str | None, _option("--day", "MONEY", 'A day, such as "5 USD".')]
Month = Annotated[str | None, _option("--month", "MONEY", "A calendar month.")]
TokensDay = Annotated[str | None, _option("--tokens-day", "N", "Tokens a day, such as 2M.")]
TokensMonth = Annotated[str | None, _option("--tokens-month", "N", "Tokens a month.")]
Rpm = Annotated[str | None, _option("--rpm", "N", "Requests a minute.")]
Tpm = Annotated[str | None, _option("--tpm", "N", "Tokens a minute.")]
Concurrency = Annotated[str | None, _option("--concurrency", "N", "Requests at a time.")]
Models = Annotated[
    list[str] | None,
    _option("--model", "NAME", "What it may ask for, * for any part; may be repeated."),
]
LocalOnly = Annotated[
    bool | None,
    typer.Option(
        "--local-only/--no-local-only",
        help="Whether nothing that it asks for may leave this machine.",
        show_default=False,
    ),
]
KeepText = Annotated[
    bool | None,
    typer.Option(
        "--keep-text/--no-keep-text",
        help="Whether the ledger keeps its prompts and answers.",
        show_default=False,
    ),
]


def changed(terms: Terms, given: Mapping[str, Any]) -> Terms:
    """`terms` with the options that were given; those that were not are None, or absent.

    Raises ConfigError, naming the option.
    """
    limits = {
        name: None if given[name] == _NONE else _parsed(name, given[name], parse)
        for name, parse in _LIMITS.items()
        if given.get(name) is not None
    }
    fields: dict[str, Any] = {"limits": _agreed(replace(terms.limits, **limits))}
    if (team := given.get("team")) is not None:
        fields["team"] = None if team == _NONE else _team(team)
    if (role := given.get("role")) is not None:
        fields["role"] = _role(role)
    if models := given.get("model"):
        fields["models"] = None if models == [_NONE] else tuple(models)
    for name in ("local_only", "keep_text"):
        if given.get(name) is not None:
            fields[name] = given[name]
    return replace(terms, **fields)


def _agreed(limits: Limits) -> Limits:
    """As in a configuration: a day has no more than its month."""
    for day, month in (("day", "month"), ("tokens_day", "tokens_month")):
        least, most = getattr(limits, day), getattr(limits, month)
        if least is not None and most is not None and least > most:
            flags = [f"--{name.replace('_', '-')}" for name in (day, month)]
            raise ConfigError(
                f"{flags[0]} is more than {flags[1]}",
                next_step=f"Lower the one, raise the other, or lift it: {flags[0]} {_NONE}",
            )
    return limits


def _parsed(name: str, text: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(
            f"--{name.replace('_', '-')}: {error}", next_step=f'"{_NONE}" stands for no limit'
        ) from error


def _count(text: str) -> int:
    match = _COUNT.fullmatch(text.replace(",", ""))
    if match is None:
        raise ValueError(f"{text!r} is not a number such as 500, 20k or 2M")
    whole, fraction, unit = match[1], match[2] or "", match[3]
    size: int = int(whole + fraction) * _THOUSANDS[unit] // 10 ** len(fraction)
    if size < 1:
        raise ValueError(f"{text!r} is less than 1")
    if size > _MOST:
        raise ValueError(f"{text!r} is more than {_MOST:,}")
    return size


def _money(text: str) -> int:
    nano = parse_money(text)
    if nano > _MOST_MONEY:
        raise ValueError(f"{text!r} is more than {format_money(_MOST_MONEY)}")
    return nano


def _role(text: str) -> Role:
    match text:
        case "user" | "admin":
            return text
    raise ConfigError(f"--role {text!r} is not known", next_step="Choose user or admin")


def _team(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text):
        raise ConfigError(
            f"--team {text!r} is not the name of a team",
            next_step="Use lower-case letters, digits, '.', '_' and '-', as in [[team]]",
        )
    return text


_LIMITS: Mapping[str, Callable[[str], int]] = {
    "day": _money,
    "month": _money,
    "tokens_day": _count,
    "tokens_month": _count,
    "rpm": _count,
    "tpm": _count,
    "concurrency": _count,
}
