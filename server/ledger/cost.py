"""What tokens cost, in whole nano-USD, always rounded up. Pure.

Prices are nano-USD for a million tokens. A prompt's tokens are billed as plain input, as read from
the provider's cache, or as written to it; thinking is billed as output, of which it is a part.
Where a price has tiers, the one that the whole prompt falls into holds for the whole request, as
Google's and Anthropic's price lists for long prompts have it.
"""

from __future__ import annotations

from collections.abc import Iterable

from server.catalogue.cloud import CloudModel, Price, Rate
from server.chat.usage import Usage

LEAST_ANSWER = 1024
LEAST_THOUGHT = 4096
_MILLION = 1_000_000


def cost(price: Price, usage: Usage) -> int:
    """Nano-USD for `usage`."""
    rate = _rate(price, usage.prompt_tokens)
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    plain = max(0, usage.prompt_tokens - cached - written)
    total = (
        plain * rate.input
        + cached * _cached_input(rate)
        + written * _cache_write(rate)
        + usage.completion_tokens * rate.output
    )
    return _per_million(total)


def worst(model: CloudModel, prompt_tokens: int, max_tokens: int | None, n: int = 1) -> int:
    """Nano-USD that a request can cost at most: what has to be reserved before it is sent.

    `prompt_tokens` is an estimate from above; `max_tokens` None: as much as the model writes. Every
    token is taken at the dearest rate of all tiers that a prompt of this size or less can be in.
    """
    dearest_input, dearest_output = _dearest(model, prompt_tokens)
    output = output_bound(model, max_tokens, n) * dearest_output
    return _per_million(prompt_tokens * dearest_input + output)


def least_answer(longest: int, thinking: bool) -> int:
    """Tokens of an answer that is still worth having: what must be left of a budget where the
    client set no limit. `longest`: the most that the model writes. Where it is to think, its
    thoughts are among them."""
    return min(longest, LEAST_THOUGHT if thinking else LEAST_ANSWER)


def affordable(model: CloudModel, prompt_tokens: int, money: int, n: int = 1) -> int:
    """The most tokens of each of `n` answers for which `worst` is within `money`; below 0 where
    the prompt alone is not."""
    dearest_input, dearest_output = _dearest(model, prompt_tokens)
    left = money * _MILLION - prompt_tokens * dearest_input
    return model.max_output if not dearest_output else left // (n * dearest_output)


def _dearest(model: CloudModel, prompt_tokens: int) -> tuple[int, int]:
    """Of a token read and of one written, in all tiers that a prompt of this size can be in."""
    rates = [model.price.rate] + [
        tier.rate for tier in model.price.tiers if tier.above < prompt_tokens
    ]
    dearest = max(max(rate.input, _cached_input(rate), _cache_write(rate)) for rate in rates)
    return dearest, max(rate.output for rate in rates)


def output_bound(model: CloudModel, max_tokens: int | None, n: int = 1) -> int:
    """Tokens that `n` answers of `model` can have at most."""
    if model.embeddings:
        return 0
    return n * (model.max_output if max_tokens is None else max_tokens)


def saved(usage: Usage, paid: int, capable: Iterable[CloudModel]) -> int:
    """Nano-USD that the cheapest of the clouds that could have answered would have cost beyond what
    was `paid`; 0 where there is none, or none is dearer."""
    costs = [cost(model.price, usage) for model in capable]
    return max(0, min(costs) - paid) if costs else 0


def frontier(models: Iterable[CloudModel]) -> tuple[CloudModel, ...]:
    """Those among which the cheapest is, whatever the usage: none that another one undercuts, or
    equals, in every price and for prompts of every size."""
    kept: list[CloudModel] = []
    for model in models:
        if not any(_undercuts(other.price, model.price) for other in kept):
            kept = [other for other in kept if not _undercuts(model.price, other.price)]
            kept.append(model)
    return tuple(kept)


def _undercuts(one: Price, other: Price) -> bool:
    """Whether nothing costs more by `one`."""
    sizes = {0, *(tier.above + 1 for price in (one, other) for tier in price.tiers)}
    return all(
        mine <= its
        for size in sizes
        for mine, its in zip(_prices(_rate(one, size)), _prices(_rate(other, size)), strict=True)
    )


def _prices(rate: Rate) -> tuple[int, int, int, int]:
    return rate.input, _cached_input(rate), _cache_write(rate), rate.output


def _rate(price: Price, prompt_tokens: int) -> Rate:
    rate = price.rate
    for tier in price.tiers:
        if prompt_tokens > tier.above:
            rate = tier.rate
    return rate


def _cached_input(rate: Rate) -> int:
    return rate.input if rate.cached_input is None else rate.cached_input


def _cache_write(rate: Rate) -> int:
    return rate.input if rate.cache_write is None else rate.cache_write


def _per_million(total: int) -> int:
    return -(-total // _MILLION)
