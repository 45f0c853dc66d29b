"""Prompts counted by the engines that are to read them.

The router has no tokenizer of its own: one of 248,000 tokens takes 190 MB and, to be loaded, 1.5 s
of the interpreter's lock (measured with Hugging Face's), and it would have to follow what each
engine makes of a template, of tools and of pictures. An engine counts 2,000,000 tokens a second, in
a process of its own, and is right by definition. So it is asked where an estimate could mislead:
before a long prompt is decided on that was not counted yet, and where it is open whether one fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import aiohttp
import orjson

from server.chat import ChatRequest, CompletionRequest, engine_body
from server.chat.count import count_question, read_count
from server.errors import EngineUnready, RequestError
from server.routing.candidates import Candidates
from server.routing.counts import Counts
from server.routing.needs import Needs
from server.routing.targets import Target
from server.routing.tokens import ABOVE

LONG = 1200
"""Tokens, by the estimate from above, up to which a prompt is not counted for the sake of the
forecast: they are read in a fraction of a second, of which an estimate misses a tenth."""
_MOST = 1.25
"""Times the estimate from above, what a prompt surely has no more than."""
_PATIENCE, _LONGER = 1.0, 10.0
"""Seconds that a decision waits for a count, and who asks for nothing else."""
_AT_ONCE = 4
"""Prompts that one engine counts for decisions at the same time: its threads are for answers."""
_HEADERS = {"content-type": "application/json"}

Request = ChatRequest | CompletionRequest


class Counter:
    """Asks the engines of those `candidates` that are ready. Belongs to one event loop."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._busy: dict[str, int] = {}
        """Prompts that each build's engine is counting for decisions."""

    def may_matter(self, needs: Needs) -> bool:
        """False, at once, for most requests: `before` has nothing for them."""
        guess = needs.prompt_tokens
        return guess > LONG or guess * _MOST > self._candidates.smallest

    def before(
        self, request: Request, needs: Needs, patterns: tuple[str, ...]
    ) -> Coroutine[None, None, None] | None:
        """What is to be awaited before `needs` is decided on, among what `patterns` stand for.
        None: nothing. Never fails: where nobody counts in time, an estimate has to do."""
        asked: dict[Counts, Target] = {}
        for target, counts in self._candidates.local(patterns):
            if counts not in asked and _matters(needs, target.context, counts):
                teller = self._teller(request, target, counts)
                if teller is not None and self._busy.get(teller.build.name, 0) < _AT_ONCE:
                    asked[counts] = teller
        return self._all(request, needs, asked) if asked else None

    async def exactly(
        self, request: Request, needs: Needs, target: Target
    ) -> tuple[int, Target] | None:
        """The prompt's tokens, and who counted them: the engine of `target`, or another one with
        the same tokenizer. None: there is none that is ready, or it does not say."""
        counts = self._candidates.counts(target.model)
        teller = self._teller(request, target, counts)
        tokens = None if teller is None else await _told(teller, request, _LONGER)
        if teller is None or tokens is None:
            return None
        counts.learn(needs, tokens)
        return tokens, teller

    def _teller(self, request: Request, target: Target, counts: Counts) -> Target | None:
        """Who can count for `target`: it itself at the best."""
        sees = isinstance(request, ChatRequest) and request.has_images
        others = (one for one, its in self._candidates.local(("local",)) if its is counts)
        for one in (target, *others):
            if one.member.ready and (one.sees or not sees):
                return one
        return None

    async def _all(self, request: Request, needs: Needs, asked: dict[Counts, Target]) -> None:
        async def one(counts: Counts, target: Target) -> None:
            name = target.build.name
            self._busy[name] = self._busy.get(name, 0) + 1
            try:
                tokens = await _told(target, request, _PATIENCE)
            finally:
                self._busy[name] -= 1
            if tokens is not None:
                counts.learn(needs, tokens)

        await asyncio.gather(*(one(counts, target) for counts, target in asked.items()))


def _matters(needs: Needs, context: int, counts: Counts) -> bool:
    """Whether it makes a difference that such a prompt is counted."""
    unknown = counts.unknown(needs)
    if unknown > LONG:
        return True
    _, least = counts.of(needs, 1 / ABOVE)
    most, _ = counts.of(needs, _MOST)
    return unknown > 0 and least <= context < most


async def _told(target: Target, request: Request, patience: float) -> int | None:
    """By its engine; None where that does not say, in so many seconds."""
    try:
        body = engine_body(
            request, model=target.model, has_mmproj=target.sees, engine=target.build.engine
        )
        path, question = count_question(body, target.build.engine)
        session = target.member.engine.session
        async with (
            asyncio.timeout(patience),
            session.post(path, data=orjson.dumps(question), headers=_HEADERS) as response,
        ):
            answer = await response.read()
            return read_count(answer) if response.status == 200 else None
    except (TimeoutError, EngineUnready, RequestError, aiohttp.ClientError, OSError):
        return None
