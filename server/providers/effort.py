"""How much a model is to think: what the client said -> what a cloud's model can be asked for.

Clients say it as a degree of effort, as a number of tokens, or as yes or no; a model takes some
degrees, a number, or neither (CloudModel.efforts, thinking_budget). What is lost is only precision:
a degree that a model lacks becomes the next higher one that it has, else its highest, so that
`none`, to a model that always thinks, means as little as it can.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.catalogue.cloud import CloudModel, Effort
from server.chat.request import ChatRequest

ORDER: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_BUDGETS: tuple[tuple[int, Effort], ...] = (
    (0, "none"),
    (1024, "minimal"),
    (4096, "low"),
    (16_384, "medium"),
    (32_768, "high"),
)
"""Most tokens of thinking that count as each degree; more are `xhigh`."""

_SHARES: dict[Effort, float] = {
    "none": 0.0,
    "minimal": 0.1,
    "low": 0.2,
    "medium": 0.5,
    "high": 0.8,
    "xhigh": 0.95,
    "max": 1.0,
}
"""Of the tokens of an answer, the part that thinking may take; OpenRouter's shares."""


def asked_effort(request: ChatRequest) -> Effort | None:
    """The degree that the client asked for; None: none, so that the model's default holds."""
    if request.effort is not None:
        return next(one for one in ORDER if one == request.effort)
    if request.thinking is False:
        return "none"
    budget = request.thinking_budget
    if budget is None:
        return None
    return next((effort for most, effort in _BUDGETS if budget <= most), "xhigh")


def nearest_effort(effort: Effort, known: Sequence[Effort]) -> Effort:
    """Of the degrees in `known` (at least one) the least that is not below `effort`, else the
    highest."""
    wanted = ORDER.index(effort)
    ordered = sorted(known, key=ORDER.index)
    return next((one for one in ordered if ORDER.index(one) >= wanted), ordered[-1])


def asked_budget(request: ChatRequest, model: CloudModel, max_tokens: int) -> int:
    """Tokens of thinking for a model that takes a number of them, within what it takes.

    Where the client gave a degree, that part of `max_tokens`; where it said only that the model is
    to think, half.
    """
    assert model.thinking_budget is not None
    fewest, most = model.thinking_budget
    wanted = request.thinking_budget
    if wanted is None:
        wanted = int(_SHARES[asked_effort(request) or "medium"] * max_tokens)
    return max(fewest, min(wanted, most))
