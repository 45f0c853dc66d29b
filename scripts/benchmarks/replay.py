"""A client that replays a trace through Holdfast, and what becomes of its requests."""

from __future__ import annotations

import asyncio
import json
import random
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from scripts.benchmarks.programs import BenchError
from scripts.benchmarks.trace import Ask

_READING = (50, 200, 800) * 2  # tokens
_WRITING = 40  # tokens
_SCRIPT = "\n#fake long 3"  # what the played cloud is to answer


@dataclass(frozen=True, slots=True)
class Names:
    """What to ask for."""

    local: str
    cloud: str
    either: str
    """Where Holdfast chooses."""


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one request."""

    ask: Ask
    local: bool
    ttft: float
    """Seconds, as the client saw it."""


@dataclass(frozen=True, slots=True)
class Speed:
    reads: float
    """Prompt tokens a second."""
    writes: float
    """Tokens a second of all answers together, every slot being busy."""

    def work(self, ask: Ask) -> float:
        """Seconds of the engine that a request takes."""
        return (ask.prompt - ask.seen) / self.reads + ask.answer / self.writes


class Player:
    """`ends`: tokens that an answer must not have, since they would end it before its time."""

    def __init__(
        self, web: aiohttp.ClientSession, names: Names, ends: Sequence[int], slots: int
    ) -> None:
        self._web = web
        self._names = names
        self._bias = {str(token): -100 for token in ends}
        self._slots = slots
        self._slo = 60.0
        self._run = ""
        self._local = 0
        """Requests that the client has at the local model."""

    async def calibrate(self) -> Speed:
        """How fast the engine is; Holdfast learns it, too."""
        self._run = "calibration"
        for number in range(3):
            await self._send(Ask(0, number, 0, 50, 2), self._names.cloud)
        alone = [
            (tokens, await self._send(Ask(0, 100 + number, 0, tokens, 2), self._names.local))
            for number, tokens in enumerate(_READING)
        ]
        began = time.monotonic()
        many = [Ask(0, 200 + number, 0, 8, _WRITING) for number in range(self._slots)]
        await asyncio.gather(*(self._send(ask, self._names.local) for ask in many))
        took = time.monotonic() - began
        longest = max(_READING)
        reading = min(served.ttft for tokens, served in alone if tokens == longest)
        return Speed(longest / reading, self._slots * _WRITING / took)

    async def play(
        self, run: str, asks: Sequence[Ask], slo: float, threshold: int | None
    ) -> list[Served]:
        """`slo`: seconds to the first token; `threshold`: requests that the engine may have, above
        which the cloud is asked; None: Holdfast chooses.

        Raises BenchError for an answer that is none.
        """
        self._run, self._slo = run, slo
        sessions: dict[int, list[tuple[Ask, asyncio.Task[Served]]]] = {}
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for ask in asks:
                await asyncio.sleep(max(0.0, began + ask.at - time.monotonic()))
                session = sessions.setdefault(ask.session, [])
                task = group.create_task(self._go_on(ask, tuple(session), threshold))
                session.append((ask, task))
                tasks.append(task)
                await asyncio.sleep(0)  # it counts from here
        return [task.result() for task in tasks]

    async def _go_on(
        self, ask: Ask, session: Sequence[tuple[Ask, asyncio.Task[Served]]], threshold: int | None
    ) -> Served:
        """A turn follows upon the answer to the one before it."""
        if session:
            await asyncio.wait([session[-1][1]])
        return await self._send(ask, self._model(threshold), [before for before, _ in session])

    def _model(self, threshold: int | None) -> str:
        if threshold is None:
            return self._names.either
        return self._names.local if self._local < threshold else self._names.cloud

    async def _send(self, ask: Ask, model: str, before: Sequence[Ask] = ()) -> Served:
        began = time.monotonic()
        first: float | None = None
        self._local += model == self._names.local
        try:
            async with self._web.post(
                "/v1/chat/completions",
                json=self._body(ask, model, before),
                headers=self._headers(ask),
            ) as answer:
                if answer.status != 200:
                    raise BenchError(f"{answer.status}: {(await answer.read())[:300]!r}")
                local = answer.headers["x-holdfast-route"] == "local"
                async for line in answer.content:
                    if first is None and _speaks(line):
                        first = time.monotonic()
        finally:
            self._local -= model == self._names.local
        if first is None:
            raise BenchError(f"{model} said nothing")
        return Served(ask, local, first - began)

    def _headers(self, ask: Ask) -> Mapping[str, str]:
        return {
            "x-slo-ttft-ms": f"{self._slo * 1000:.0f}",
            "x-session-id": f"{self._run}-{ask.session}",
            "x-request-id": f"{self._run}-{ask.session}-{ask.seen}",
        }

    def _body(self, ask: Ask, model: str, before: Sequence[Ask]) -> dict[str, Any]:
        """A digit is a token. `before`: the session's earlier turns, which are sent again, with
        answers that are as long as those that were given."""
        digits = random.Random(f"{self._run} {ask.session}").choices(string.digits, k=ask.prompt)
        said = "".join(digits)
        messages = []
        for turn in before:
            messages += [
                {"role": "user", "content": said[turn.seen : turn.prompt] + _SCRIPT},
                {"role": "assistant", "content": said[turn.prompt : turn.prompt + turn.answer]},
            ]
        messages.append({"role": "user", "content": said[ask.seen :] + _SCRIPT})
        return {
            "model": model,
            "messages": messages,
            "max_tokens": max(16, ask.answer) if model == self._names.cloud else ask.answer,
            "temperature": 0,
            "logit_bias": self._bias,
            "stream": True,
        }


def _speaks(line: bytes) -> bool:
    """Whether a line of the stream has a word of the answer in it."""
    if not line.startswith(b"data: {"):
        return False
    choices = json.loads(line.removeprefix(b"data: ")).get("choices") or [{}]
    delta = choices[0].get("delta", {})
    return bool(delta.get("content") or delta.get("reasoning_content"))
