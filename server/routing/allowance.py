"""What a cloud's provider has left us of a model, as it last told, less what was asked since. Pure.

Once a request would be beyond that, the model is left alone until all of its share is there again:
a provider that is asked before then answers 429, and some count that against us.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.providers.quota import Left, Quota


@dataclass(slots=True)
class _Share:
    """Of one limit. Times are monotonic seconds."""

    remaining: int
    until: float
    """When all of it is there again: then what is left is not known any more."""


@dataclass(frozen=True, slots=True)
class Out:
    why: str
    wait: int
    """Whole seconds until it may be asked again."""


class Allowance:
    """Of one model. `now`: monotonic seconds."""

    __slots__ = ("_answer", "_prompt", "_requests", "_tokens")

    def __init__(self) -> None:
        self._requests: _Share | None = None
        self._tokens: _Share | None = None
        self._prompt: _Share | None = None
        self._answer: _Share | None = None

    def hear(self, quota: Quota, now: float) -> None:
        """What an answer said; of what it says nothing, what was known holds."""
        self._requests = _share(quota.requests, now) or self._requests
        self._tokens = _share(quota.tokens, now) or self._tokens
        self._prompt = _share(quota.prompt, now) or self._prompt
        self._answer = _share(quota.answer, now) or self._answer

    def take(self, prompt: int, answer: int) -> None:
        """A request is being sent, of so many tokens of prompt, and of answer at most."""
        if self._requests is not None:
            self._requests.remaining -= 1
        if self._tokens is not None:
            self._tokens.remaining -= prompt + answer
        if self._prompt is not None:
            self._prompt.remaining -= prompt

    def out(self, prompt: int, answer: int, now: float, cached: int = 0) -> Out | None:
        """Why such a request had better not be sent; None: it may be. `cached`: tokens of the
        prompt that the provider should have in its cache.

        A request of more tokens than there will ever be is kept waiting no longer than the others.
        """
        for share, wanted, what in (
            (self._requests, 1, "requests"),
            (self._tokens, prompt + answer, "tokens"),
            (self._prompt, max(1, prompt - cached), "tokens of prompts"),
            (self._answer, 1, "tokens of answers"),
        ):
            if share is not None and share.remaining < wanted and now < share.until:
                seconds = max(1, math.ceil(share.until - now))
                why = f"its provider has too few {what} left for us, for another {seconds} s"
                return Out(why, seconds)
        return None


def _share(left: Left | None, now: float) -> _Share | None:
    return None if left is None else _Share(left.remaining, now + left.reset)
