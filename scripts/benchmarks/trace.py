"""A trace of requests with lengths and gaps like published ones of LLM services. Pure, seeded.

Three kinds of use, mixed: completions of code, each for itself; chats of a few turns; agents, whose
long prompts grow turn by turn, with short answers. Medians and spreads follow Azure's traces of
2023 (code: prompts of 1,500 tokens and answers of 13; chat: answers of 129), the growing prefixes
Mooncake's (2024: half of all prompt tokens were seen before). Gaps between sessions are gamma with
a coefficient of variation of 1.6, as BurstGPT (2024) finds, at a rate that changes between six
tenths over and seven under the mean.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["code", "chat", "agent"]

_SHARES: dict[Kind, float] = {"code": 0.4, "chat": 0.3, "agent": 0.3}
_SHAPE = 0.4  # of the gamma distribution of gaps
_HOT, _CALM = 1.8, 0.3  # times the mean rate
_PHASE = 15  # sessions


@dataclass(frozen=True, slots=True)
class Ask:
    at: float
    """Seconds from the beginning."""
    session: int
    seen: int
    """Tokens at the beginning of its prompt that the session's last turn had: prompt and answer."""
    prompt: int
    """Tokens, those that were seen among them."""
    answer: int


def trace(seed: int, count: int, seconds: float, scale: float) -> tuple[Ask, ...]:
    """`count` requests over `seconds`; all lengths are those of the published traces times `scale`,
    for an engine that is slower by as much."""
    chance = random.Random(seed)
    sessions: list[list[Ask]] = []
    while sum(map(len, sessions)) < count:
        sessions.append(list(_session(chance, len(sessions), scale)))
    starts = list(_starts(chance, len(sessions)))
    stretch = seconds / starts[-1]
    for _ in range(8):  # sessions go on after the last one has begun
        found = _laid_out(sessions, starts, stretch)[:count]
        stretch *= seconds / found[-1].at
    return found


def _laid_out(
    sessions: Sequence[Sequence[Ask]], starts: Sequence[float], stretch: float
) -> tuple[Ask, ...]:
    found = [
        replace(ask, at=start * stretch + ask.at)
        for start, session in zip(starts, sessions, strict=True)
        for ask in session
    ]
    return tuple(sorted(found, key=lambda ask: ask.at))


def _session(chance: random.Random, number: int, scale: float) -> Iterator[Ask]:
    """Its turns, each with the seconds from its first."""
    kind: Kind = chance.choices(list(_SHARES), list(_SHARES.values()))[0]

    def tokens(median: float, spread: float, most: float) -> int:
        drawn = chance.lognormvariate(math.log(median), spread)
        return max(2, round(min(drawn, most) * scale))

    if kind == "code":
        yield Ask(0.0, number, 0, tokens(1500, 0.9, 7400), tokens(13, 1.2, 600))
        return
    chat = kind == "chat"
    turns = 1 + round(chance.expovariate(1 / 3))
    at, seen = 0.0, 0
    prompt = tokens(300, 1.0, 4000) if chat else tokens(3000, 0.5, 7000)
    for _ in range(min(turns, 8)):
        answer = tokens(129, 1.0, 1000) if chat else tokens(60, 0.9, 600)
        if seen + prompt > 12_000 * scale:
            return
        yield Ask(at, number, seen, seen + prompt, answer)
        seen += prompt + answer
        prompt = tokens(300 if chat else 400, 1.0, 4000)
        at += 2 + chance.lognormvariate(math.log(20 if chat else 4), 0.7)


def _starts(chance: random.Random, count: int) -> Iterator[float]:
    at = 0.0
    for number in range(count):
        rate = _HOT if number // _PHASE % 2 else _CALM
        at += chance.gammavariate(_SHAPE, 1 / (_SHAPE * rate))
        yield at
