"""What a model's tokenizer was seen to make of prompts: an engine counts exactly, both when it is
asked to (counting.py) and in the usage of each answer.

Prompts are remembered by the hash of their last beginning (prefix.py). A conversation goes on where
an earlier prompt ended, so that only its newest messages have to be estimated; of those the
estimate is right within a part that is small beside the whole.
"""

from __future__ import annotations

from collections import OrderedDict

from server.catalogue import Model
from server.routing.needs import Needs
from server.routing.tokens import SLACK

_PROMPTS = 4096
_EXACT, _MARGIN = 0.99, 16
"""What a counted prompt surely has: templates differ a little between the builds of one tokenizer,
and by whether the model is to think."""

Count = tuple[int, int]
"""Tokens of a prompt, and those that it surely has."""


class Counts:
    """Of one tokenizer, for the latest `prompts`."""

    def __init__(self, prompts: int = _PROMPTS) -> None:
        self._most = prompts
        self._seen: OrderedDict[int, tuple[int, int]] = OrderedDict()
        """Tokens, and the estimate from above, by the hash of the whole prompt."""

    def learn(self, needs: Needs, tokens: int) -> None:
        """The prompt of `needs` has just so many."""
        if not needs.prefix or tokens <= 0:
            return
        whole = needs.prefix[-1][0]
        self._seen[whole] = (tokens, needs.prompt_tokens)
        self._seen.move_to_end(whole)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def of(self, needs: Needs, scale: float) -> Count:
        """`scale`: tokens for each of the estimate from above, where that is all there is."""
        if not self._seen:
            tokens = needs.prompt_tokens * scale
            return max(1, int(tokens)), int(tokens * SLACK)
        known, guess = self._known(needs)
        rest = guess * scale
        surely = max(0, int(known * _EXACT) - _MARGIN)
        return max(1, known + int(rest)), surely + int(rest * SLACK)

    def unknown(self, needs: Needs) -> int:
        """Of the estimate from above, what was never counted."""
        return self._known(needs)[1]

    def _known(self, needs: Needs) -> tuple[int, int]:
        for what, _ in reversed(needs.prefix):
            if found := self._seen.get(what):
                tokens, guess = found
                return tokens, max(0, needs.prompt_tokens - guess)
        return 0, needs.prompt_tokens


def tokenizer_of(model: Model) -> str:
    """What is the same for all models with the same tokenizer: the sha256 of its file where the
    catalogue knows that, else the model alone."""
    for file in model.small_files:
        if file.path == "tokenizer.json" and file.sha256 is not None:
            return file.sha256
    return model.id
