"""What a fake provider answers: its prompt says so, in lines that begin with `#fake`.

    #fake text It is sunny.        the words of the answer (default: Hello from MODEL.)
    #fake think Let me see.        thinking before it
    #fake call weather {"c": 1}    a call of a tool, with its arguments; as often as wanted
    #fake refuse I will not.       words with which the model declines
    #fake long 200                 this many words
    #fake wide 20000               each of them with that many letters
    #fake end length               why it ends (default: stop, or tool_calls)
    #fake read                     says the names and pages of the documents in the prompt
    #fake cached 100               tokens of the prompt that were cached
    #fake pace 0.02                seconds between two tokens
    #fake fault cut at=mid-stream  see faults.py

They count where they stand in the latest user's message. Once tools have answered, no call is
repeated, and the default answer tells what they said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tests.fakes.documents import Paper

_LINE = re.compile(r"^#fake (\w+) ?(.*)$", re.MULTILINE)
_TOKEN = re.compile(r"\s*\S+\s*?")


@dataclass(frozen=True, slots=True)
class Script:
    text: str
    thinking: str
    calls: tuple[tuple[str, str], ...]
    """Name and arguments (JSON text)."""
    refusal: str
    end: str
    cached: int
    pace: float
    fault: str | None
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        arguments = sum(len(tokens(text)) + 1 for _, text in self.calls)
        return len(tokens(self.text + self.refusal)) + self.reasoning_tokens + arguments

    @property
    def reasoning_tokens(self) -> int:
        return len(tokens(self.thinking))


@lru_cache(maxsize=8)
def tokens(text: str) -> Sequence[str]:
    """Pieces as a stream brings them: words with the space before them, arguments in fours."""
    if text.startswith(("{", "[")):
        return [text[at : at + 4] for at in range(0, len(text), 4)]
    return _TOKEN.findall(text)


def script_of(
    model: str,
    user: str,
    tools_said: str | None,
    everything: str,
    papers: Sequence[Paper] = (),
    page: int = 0,
) -> Script:
    """`user` is the latest user's message, `tools_said` what tools have answered since (None: no
    tool has), `everything` the whole prompt, of whose length the tokens are guessed, but for the
    `papers` in it, which have so many for each `page`."""
    said: dict[str, list[str]] = {}
    for kind, rest in _LINE.findall(user):
        said.setdefault(kind, []).append(rest)

    def last(kind: str, default: str) -> str:
        return said.get(kind, [default])[-1]

    calls: tuple[tuple[str, str], ...] = ()
    if tools_said is None:
        pairs = [line.partition(" ") for line in said.get("call", [])]
        calls = tuple((name, arguments or "{}") for name, _, arguments in pairs)
    default = f"Hello from {model}." if tools_said is None else f"The tools said {tools_said}"
    if "long" in said:
        default = _numbers(int(last("long", "0")), int(last("wide", "0")))
    if "read" in said:
        default = "; ".join(f"{one.name} has {one.pages} pages" for one in papers)
    plain = len(everything) - sum(one.size for one in papers)
    silent = bool(calls) or "refuse" in said
    return Script(
        text=last("text", "" if silent else default),
        thinking=last("think", ""),
        calls=calls,
        refusal=last("refuse", ""),
        end=last("end", "tool_calls" if calls else "stop"),
        cached=int(last("cached", "0")),
        pace=float(last("pace", "0")),
        fault=said["fault"][-1] if "fault" in said else None,
        prompt_tokens=max(1, plain // 4) + page * sum(one.pages for one in papers),
    )


@lru_cache(maxsize=8)
def _numbers(count: int, wide: int) -> str:
    """The same object each time, so that `tokens` need not compare what may be megabytes."""
    return " ".join(str(number).zfill(wide) for number in range(count))
