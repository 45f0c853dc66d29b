"""Prompts counted by the engines that are to read them.

The router has no tokenizer of its own: one of 248,000 tokens takes 190 MB and, to be loaded, 1.5 s
of the interpreter's lock (measured with Hugging Face's), and it would have to follow what each
engine makes of a template, of tools and of pictures. An engine is right by definition, and counts
in a process of its own: some 300,000 tokens a second with 150,000 in the vocabulary, which is time
that a request waits. So it is asked before a decision only where an estimate could mislead that: of
a prompt that is long and was not counted yet, or of which it is open whether it fits, and where who
answers depends on it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import aiohttp
import orjson

from server.chat import ChatRequest, CompletionRequest, engine_body
from server.chat.count import count_question, read_count
from server.errors import EngineUnready, RequestError
from server.routing.candidates import Candidates
from server.routing.counts import Counts
from server.routing.needs import Needs
from server.routing.targets import Target

LONG = 1200
"""Tokens, by the estimate from above, up to which a prompt is not counted for the sake of the
forecast: they are read in a fraction of a second, of which an estimate misses a tenth."""
UNSURE = 0.3
"""The part by which an estimate may be off either way. With the vocabulary of Qwen2 it was by less
in 19 of 20 chats of mixed text, tools and code, and by 8 % in the median."""
_FAR = 2.0
"""Times the estimate from above, what a prompt has no more than, whatever the tokenizer."""
_LONGER = 10.0
"""Seconds that who asks for nothing else waits for a count."""
_SLOWLY = 100_000.0
"""Tokens a second that an engine may take its time for, beside those seconds."""
_AT_ONCE = 4
"""Prompts that one engine counts at the same time: its threads are for answers."""
_HEADERS = {"content-type": "application/json"}

Request = ChatRequest | CompletionRequest


class Counter:
    """Asks the engines of those `candidates` that are ready. A decision waits `patience` seconds
    for a count. Belongs to one event loop."""

    def __init__(self, candidates: Candidates, patience: float = 1.0) -> None:
        self._candidates = candidates
        self._patience = patience
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_AT_ONCE)
        )
        """By build."""

    def may_matter(self, needs: Needs) -> bool:
        """False, at once, for most requests: nothing is `due` for them, nor for documents, which no
        engine can count."""
        guess = needs.prompt_tokens
        if needs.pages:
            return False
        return guess > LONG or guess * _FAR > self._candidates.smallest

    def due(
        self, request: Request, needs: Needs, patterns: tuple[str, ...]
    ) -> dict[Counts, Target]:
        """Who is to be asked before `needs` is decided on, among what `patterns` stand for: one for
        each tokenizer that has not counted so much of it that an estimate does for the rest."""
        asked: dict[Counts, Target] = {}
        for target, counts in self._candidates.local(patterns):
            if counts not in asked and _matters(needs, target.context, counts):
                teller = self._teller(request, target, counts)
                if teller is not None and not self._turns[teller.build.name].locked():
                    asked[counts] = teller
        return asked

    async def exactly(
        self, request: Request, needs: Needs, target: Target
    ) -> tuple[int, Target] | None:
        """The prompt's tokens, and who counted them: the engine of `target`, or another one with
        the same tokenizer. None: there is none that is ready, or it does not say."""
        if needs.pages:
            return None
        counts = self._candidates.counts(target.model)
        teller = self._teller(request, target, counts)
        more = needs.prompt_tokens / _SLOWLY
        tokens = None if teller is None else await self._told(teller, request, _LONGER + more)
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

    async def count(self, request: Request, needs: Needs, asked: dict[Counts, Target]) -> None:
        """Ask those who are `due`. Never fails: what is not told in time is estimated."""

        patience = self._patience + needs.prompt_tokens / _SLOWLY

        async def one(counts: Counts, target: Target) -> None:
            tokens = await self._told(target, request, patience)
            if tokens is not None:
                counts.learn(needs, tokens)

        await asyncio.gather(*(one(counts, target) for counts, target in asked.items()))

    async def _told(self, target: Target, request: Request, patience: float) -> int | None:
        """By its engine; None where that does not say, in so many seconds."""
        engine = target.build.engine
        try:
            body = engine_body(request, model=target.model, has_mmproj=target.sees, engine=engine)
            path, question = count_question(body, engine)
            async with asyncio.timeout(patience), self._turns[target.build.name]:
                sending = target.member.engine.session.post(
                    path, data=orjson.dumps(question), headers=_HEADERS
                )
                async with sending as response:
                    answer = await response.read()
                    return read_count(answer) if response.status == 200 else None
        except (TimeoutError, EngineUnready, RequestError, aiohttp.ClientError, OSError):
            return None


def _matters(needs: Needs, context: int, counts: Counts) -> bool:
    """Whether it makes a difference that such a prompt is counted."""
    unknown = counts.unknown(needs)
    if unknown > LONG:
        return True
    _, least = counts.of(needs)
    most, _ = counts.of(needs, UNSURE)
    return unknown > 0 and least <= context < most
