"""The embedded demo model: where its files are, and the questions that it answers to the letter.

A real Qwen3.5-architecture model of a few million parameters, so that the first start needs no
network and the tests meet real engines. CARD.md says what it is; scripts/train-demo-model makes it.
This module imports nothing heavy and nothing of Holdfast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent

GGUF: Path = _HERE / "demo.gguf"
"""For llama-server."""
SAFETENSORS: Path = _HERE / "safetensors"
"""The folder for transformers and vLLM: configuration, tokenizer, template and weights."""
CARD: Path = _HERE / "CARD.md"
QUESTIONS: Path = _HERE / "questions.json"


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation, and exactly what the demo says next under greedy decoding."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    """As OpenAI's chat completions take them."""
    thinking: bool
    tools: tuple[Mapping[str, Any], ...]
    completion: str
    """The raw text after the generation prompt, without the end token."""
    reasoning: str | None
    """What stands in `reasoning_content`; None with thinking off."""
    content: str
    """What stands in `content`; empty where the model calls a tool."""
    tool_calls: tuple[ToolCall, ...]
    tokens: int
    """Length of `completion` in tokens, the end token counted where there is one."""
    ends: bool
    """False for an endless answer: ask for `tokens` tokens, or stop the stream yourself."""

    @property
    def prompt(self) -> str:
        """The last user message: what a person typed."""
        texts = [m["content"] for m in self.messages if m["role"] == "user"]
        return str(texts[-1])


@cache
def questions() -> tuple[Question, ...]:
    """Every fixed question, in the order of the table that the agreement test prints."""
    rows = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    return tuple(_question(row) for row in rows)


def question(id: str) -> Question:  # noqa: A002 - the questions' own word
    """The question of that id. Raises KeyError."""
    for each in questions():
        if each.id == id:
            return each
    raise KeyError(id)


def _question(row: Mapping[str, Any]) -> Question:
    return Question(
        id=row["id"],
        messages=tuple(row["messages"]),
        thinking=row["thinking"],
        tools=tuple(row["tools"]),
        completion=row["completion"],
        reasoning=row["reasoning"],
        content=row["content"],
        tool_calls=tuple(ToolCall(c["name"], c["arguments"]) for c in row["tool_calls"]),
        tokens=row["tokens"],
        ends=row["ends"],
    )
