"""Traces of requests with lengths and gaps like published ones of LLM services. Pure, seeded.

Two, by their name in `MIXES`:

- `azure`: code completion and chat, each request for itself, in the shares in which they came to
  Azure within one hour of November 2023 (8,819 and 19,366; "Splitwise", ISCA 2024; the data are
  github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_code.csv and _conv.csv, CC-BY). Prompt
  and answer are drawn together, from every ninth row of a stretch of each file, so that they have
  the peaks and the tails of the real ones. Nothing is known there of what prompts share.
- `agents`: sessions whose long prompts grow turn by turn, with short answers, as Mooncake tells of
  Kimi's traffic (FAST 2025: prompts of 7,590 tokens and answers of 182 on the average, half of all
  prompt tokens seen before; of GitHub Copilot's agents of June 2026, in the same repository of
  Azure's, six of seven were). Here prompts have 5,900, and six tenths were seen before.

Gaps between sessions are gamma with a coefficient of variation of 1.6, at a rate that changes
between eight tenths over and seven under the mean, which makes it 2.1 in all: in the stretches
above it is about 1 for chat, and 13 for code. A session's next turn does not come before the answer
to the last one (replay.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["code", "chat", "agent"]
Mix = Literal["azure", "agents"]

MIXES: Mapping[Mix, Mapping[Kind, float]] = {
    "azure": {"code": 8_819, "chat": 19_366},
    "agents": {"agent": 1},
}
_LENGTHS: Mapping[Kind, Sequence[tuple[int, int]]] = {
    "code": (
        (4808, 10), (7433, 14), (201, 24), (1555, 19), (675, 6), (158, 26), (5108, 12), (4009, 51),
        (730, 36), (1832, 7), (327, 124), (3351, 9), (965, 8), (1513, 29), (771, 142), (197, 7),
        (2025, 19), (2648, 15), (7436, 8), (144, 18), (3154, 9), (90, 25), (5925, 52), (3286, 15),
        (318, 7), (164, 18), (1724, 11), (3066, 6), (5926, 121), (3397, 7), (138, 29), (1107, 13),
        (1650, 11), (4566, 20), (1724, 32), (1364, 9), (81, 7), (83, 6), (3517, 11), (2655, 9),
        (3067, 9), (2047, 106), (573, 6), (161, 16), (1180, 39), (3288, 10), (109, 6), (2136, 8),
        (181, 105), (153, 15),
    ),
    "chat": (
        (4101, 79), (1301, 377), (4085, 48), (1049, 394), (393, 110), (200, 183), (1056, 403),
        (206, 161), (372, 95), (200, 162), (4080, 155), (399, 144), (402, 156), (1090, 427),
        (1030, 402), (374, 114), (1020, 402), (376, 72), (1064, 396), (417, 158), (1044, 411),
        (1068, 395), (400, 114), (1047, 398), (181, 95), (1137, 396), (1010, 398), (215, 162),
        (1080, 429), (424, 89), (1123, 429), (1080, 396), (1316, 234), (961, 418), (1137, 385),
        (4081, 39), (1101, 418), (907, 92), (414, 90), (4082, 41), (401, 77), (194, 217), (403, 93),
        (4092, 113), (401, 103), (4081, 28), (1053, 396), (1112, 377), (4089, 101), (197, 162),
    ),
}  # fmt: skip
"""Tokens of a prompt and of its answer."""
_SHAPE = 0.4  # of the gamma distribution of gaps
_HOT, _CALM = 1.8, 0.3  # times the mean rate
_PHASE = 15  # sessions
_MOST_TURNS, _MOST_TOKENS = 8, 12_000  # of an agent's session


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


def trace(mix: Mix, seed: int, count: int, seconds: float, scale: float) -> tuple[Ask, ...]:
    """`count` requests over `seconds`; all lengths are those of the published traces times `scale`,
    for an engine that is slower by as much."""
    chance = random.Random(seed)
    sessions: list[list[Ask]] = []
    while sum(map(len, sessions)) < count:
        sessions.append(list(_session(chance, len(sessions), mix, scale)))
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


def _session(chance: random.Random, number: int, mix: Mix, scale: float) -> Iterator[Ask]:
    """Its turns, each with the seconds from its first."""
    shares = MIXES[mix]
    kind: Kind = chance.choices(list(shares), list(shares.values()))[0]

    def scaled(tokens: float) -> int:
        return max(2, round(tokens * scale))

    def drawn(median: float, spread: float, most: float) -> int:
        return scaled(min(chance.lognormvariate(math.log(median), spread), most))

    if kind != "agent":
        prompt, answer = chance.choice(_LENGTHS[kind])
        yield Ask(0.0, number, 0, scaled(prompt), scaled(answer))
        return
    at, seen = 0.0, 0
    more = drawn(3000, 0.5, 7000)
    for _ in range(min(1 + round(chance.expovariate(1 / 3)), _MOST_TURNS)):
        answer = drawn(120, 0.9, 1000)
        if seen + more > _MOST_TOKENS * scale:
            return
        yield Ask(at, number, seen, seen + more, answer)
        seen += more + answer
        more = drawn(1500, 0.8, 4000)
        at += 2 + chance.lognormvariate(math.log(4), 0.7)


def _starts(chance: random.Random, count: int) -> Iterator[float]:
    at = 0.0
    for number in range(count):
        rate = _HOT if number // _PHASE % 2 else _CALM
        at += chance.gammavariate(_SHAPE, 1 / (_SHAPE * rate))
        yield at
