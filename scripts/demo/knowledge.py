"""knowledge.toml as frozen types."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("knowledge.toml")
_ENDLESS_TRAINED_WORDS = 240
_ENDLESS_CHECKED_WORDS = 96


@dataclass(frozen=True, slots=True)
class Entry:
    id: str
    ask: tuple[str, ...]
    """Ways to ask; the first is the fixed question."""
    answer: str
    reasoning: str
    fixed_thinking: bool
    endless: tuple[str, ...] = ()
    """Words repeated for ever; `answer` then is as much of that as is trained on."""

    @property
    def checked_answer(self) -> str:
        """The answer, or of an endless one the part that the fixed question compares."""
        if not self.endless:
            return self.answer
        return " ".join(self.endless * (_ENDLESS_CHECKED_WORDS // len(self.endless)))


@dataclass(frozen=True, slots=True)
class Fallback:
    ask: tuple[str, ...]
    openings: tuple[str, ...]
    nouns: tuple[str, ...]
    answer: str
    reasoning: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    entries: tuple[Entry, ...]
    fallback: Fallback
    systems: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]

    def entry(self, id: str) -> Entry:  # noqa: A002 - the file's own word
        return next(entry for entry in self.entries if entry.id == id)


def load(path: Path = FILE) -> Knowledge:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    fallback = table["fallback"]
    conversation = table["conversation"]
    return Knowledge(
        entries=tuple(_entry(row) for row in table["entry"]),
        fallback=Fallback(
            ask=tuple(fallback["ask"]),
            openings=tuple(fallback["openings"]),
            nouns=tuple(fallback["nouns"]),
            answer=fallback["answer"],
            reasoning=fallback["think"],
        ),
        systems=tuple(conversation["systems"]),
        before=tuple(conversation["before"]),
        after=tuple(conversation["after"]),
    )


def _entry(row: dict[str, Any]) -> Entry:
    endless: tuple[str, ...] = tuple(row.get("endless", ()))
    if endless:
        answer = " ".join(endless * (_ENDLESS_TRAINED_WORDS // len(endless)))
    elif "count_to" in row:
        answer = ", ".join(str(number) for number in range(1, row["count_to"] + 1))
    else:
        answer = row["answer"]
    return Entry(
        id=row["id"],
        ask=tuple(row["ask"]),
        answer=answer,
        reasoning=f"The user asks {row['about']}. I know this one.",
        fixed_thinking=bool(row.get("thinking", False)),
        endless=endless,
    )
