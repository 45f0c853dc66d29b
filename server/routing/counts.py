"""What a model's tokenizer was seen to make of prompts: an engine counts exactly, both when it is
asked to (counting.py) and in the usage of each answer.

That corrects the estimates of all prompts. Those that were counted are remembered as well, by the
hash of their last beginning (prefix.py): a conversation goes on where an earlier prompt ended, so
that only its newest messages have to be estimated, and what is missed there is little beside the
whole.
"""

from __future__ import annotations

from collections import OrderedDict

from server.catalogue import Model
from server.routing.learning import Recent
from server.routing.needs import Needs
from server.routing.tokens import ABOVE, SLACK

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
        self._scale = Recent(1 / ABOVE)

    @property
    def any(self) -> bool:
        """Whether it was ever seen to count: until then an estimate may be far off."""
        return self._scale.count > 0

    def learn(self, needs: Needs, tokens: int) -> None:
        """The prompt of `needs` has just so many."""
        if tokens <= 0:
            return
        self._scale.add(tokens / needs.prompt_tokens)
        if not needs.prefix:
            return
        whole = needs.prefix[-1][0]
        self._seen[whole] = (tokens, needs.prompt_tokens)
        self._seen.move_to_end(whole)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def of(self, needs: Needs, off: float = 0.0) -> Count:
        """`off`: the part by which an estimate is taken to be too low."""
        scale = self._scale.value * (1 + off)
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
