"""What a provider says is left of our share, in the headers of its answers, good ones too. Pure.

- OpenAI, and those who do as it does: `x-ratelimit-remaining-{requests,tokens}`, and in
  `x-ratelimit-reset-*` the time until all of it is there again, as `6m0s`, `120ms` or seconds.
  https://platform.openai.com/docs/guides/rate-limits
- Anthropic: `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{remaining,reset}`,
  the latter a moment (RFC 3339), which is held against the `date` of the same answer.
  https://platform.claude.com/docs/en/api/rate-limits
- Gemini says nothing of it but when it refuses.

What cannot be read is taken for not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from server.providers.retry_after import LONGEST, seconds_until

_PIECE = re.compile(r"([\d.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_COUNT = re.compile(r"\d{1,15}")


@dataclass(frozen=True, slots=True)
class Left:
    """Of one limit."""

    remaining: int
    reset: float
    """Seconds until all of it is there again."""


@dataclass(frozen=True, slots=True)
class Quota:
    """None: it says nothing of that."""

    requests: Left | None = None
    tokens: Left | None = None
    """Of prompts and answers together."""
    prompt: Left | None = None
    """Of prompts alone, what the provider has in its cache not counted."""
    answer: Left | None = None
    """Of answers alone, as they come."""


UNTOLD = Quota()


def openai_quota(headers: Mapping[str, str]) -> Quota:
    """`headers` have their names in lower case, or are looked up in any case."""
    if "x-ratelimit-remaining-requests" not in headers and (
        "x-ratelimit-remaining-tokens" not in headers
    ):
        return UNTOLD
    return Quota(_openai_left(headers, "requests"), _openai_left(headers, "tokens"))


def _openai_left(headers: Mapping[str, str], name: str) -> Left | None:
    reset = duration(headers.get(f"x-ratelimit-reset-{name}", ""))
    return _left(headers.get(f"x-ratelimit-remaining-{name}"), reset)


def anthropic_quota(headers: Mapping[str, str]) -> Quota:
    """As `openai_quota`. Where prompts and answers have limits of their own, `tokens` repeats the
    one that leaves the least, so that it says something of its own only where nothing is left."""
    requests, tokens, prompt, answer = (
        _anthropic_left(headers, name)
        for name in ("requests", "tokens", "input-tokens", "output-tokens")
    )
    if (prompt or answer) and tokens and tokens.remaining:
        tokens = None
    return Quota(requests, tokens, prompt, answer)


def _anthropic_left(headers: Mapping[str, str], name: str) -> Left | None:
    remaining = headers.get(f"anthropic-ratelimit-{name}-remaining")
    if remaining is None:
        return None
    reset = seconds_until(headers.get(f"anthropic-ratelimit-{name}-reset"), headers)
    return _left(remaining, None if reset is None else float(reset))


def untold(headers: Mapping[str, str]) -> Quota:
    """Of a provider that says nothing."""
    return UNTOLD


def duration(text: str) -> float | None:
    """Seconds in `1h2m3.5s`, `120ms` or `7.66`; None where it is neither."""
    pieces = _PIECE.findall(text)
    try:
        if "".join(number + unit for number, unit in pieces) == text and pieces:
            return sum(float(number) * _SECONDS[unit] for number, unit in pieces)
        return float(text) if text.replace(".", "", 1).isdecimal() else None
    except ValueError:
        return None


def _left(remaining: str | None, reset: float | None) -> Left | None:
    if remaining is None or reset is None or not _COUNT.fullmatch(remaining):
        return None
    return Left(int(remaining), min(reset, LONGEST))
