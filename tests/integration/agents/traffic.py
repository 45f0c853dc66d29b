"""What coding agents sent, as it was recorded: every field and header, in the order of one task.

The texts of their makers (prompts, descriptions) are not here: of each stands its length, and words
of that length take its place. What the person said, and what files and tools said, is our own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "recorded"
_PROSE = "Words of the length that stood here, in no order that anyone would mind. "


@dataclass(frozen=True, slots=True)
class Sent:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def dialect(self) -> str:
        return self.path.partition("?")[0].removeprefix("/v1/")


def recorded(agent: str, model: str) -> list[Sent]:
    """The requests of an agent's task, sent to `model`."""
    return _read(agent, model, 1.0, None)


def shortened(agent: str, model: str) -> list[Sent]:
    """The same for a model of 4,096 tokens: a hundredth of each text that was its maker's, and of
    many tools the first."""
    return _read(agent, model, 0.01, 12)


def _read(agent: str, model: str, part: float, tools: int | None) -> list[Sent]:
    sent = []
    for one in json.loads((_FOLDER / f"{agent}.json").read_text())["requests"]:
        body = {**_filled(one["body"], part), "model": model}
        if "tools" in body:
            body["tools"] = body["tools"][:tools]
        sent.append(Sent(one["path"], one["headers"], body))
    return sent


def agents() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def _filled(value: Any, part: float) -> Any:
    if isinstance(value, list):
        return [_filled(one, part) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$words"}:
        return "".join(islice(cycle(_PROSE), max(1, round(value["$words"] * part))))
    return {key: _filled(one, part) for key, one in value.items()}
