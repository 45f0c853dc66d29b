from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.cloud import CloudModel, Price, Rate, Tier
from server.chat.usage import Usage
from server.ledger.cost import (
    affordable,
    cost,
    frontier,
    least_answer,
    output_bound,
    saved,
    worst,
)
from server.units import USD

PLAIN = Price(Rate(input=3 * USD, output=15 * USD))
CACHING = Price(
    Rate(input=3 * USD, output=15 * USD, cached_input=USD * 3 // 10, cache_write=USD * 15 // 4)
)
TIERED = Price(
    Rate(input=1 * USD, output=5 * USD),
    (Tier(200_000, Rate(input=2 * USD, output=8 * USD)),),
)


def model(price: Price, max_output: int = 1000, *, embeddings: bool = False) -> CloudModel:
    return CloudModel(
        "cloud/one", "cloud", "one", "One", 1_000_000, max_output, price, embeddings=embeddings
    )


@pytest.mark.parametrize(
    ("price", "usage", "micro_usd"),
    [
        (PLAIN, Usage(0, 0), 0),
        (PLAIN, Usage(1000, 0), 3000),
        (PLAIN, Usage(0, 1000), 15_000),
        (PLAIN, Usage(1000, 100), 4500),
        pytest.param(PLAIN, Usage(1000, 0, 400), 3000, id="a cache without a price of its own"),
        (CACHING, Usage(1000, 0, 1000), 300),
        (CACHING, Usage(1000, 0, 400), 1920),
        (CACHING, Usage(1000, 0, 0, 1000), 3750),
        (CACHING, Usage(1000, 100, 500, 200), 300 * 3 + 150 + 750 + 1500),
        pytest.param(PLAIN, Usage(0, 100, 0, 0, 60), 1500, id="thinking is part of the answer"),
        (TIERED, Usage(200_000, 1000), 205_000),
        pytest.param(TIERED, Usage(200_001, 1000), 408_002, id="the tier holds for all of it"),
        pytest.param(CACHING, Usage(10, 0, 100), 30, id="more cached than there is"),
    ],
)
def test_cost(price: Price, usage: Usage, micro_usd: int) -> None:
    assert cost(price, usage) == micro_usd * 1000


def test_a_part_of_a_nano_dollar_is_rounded_up() -> None:
    price = Price(Rate(input=1, output=1))
    assert cost(price, Usage(1, 0)) == 1
    assert cost(price, Usage(500_000, 500_000)) == 1
    assert cost(price, Usage(500_000, 500_001)) == 2


@pytest.mark.parametrize(
    ("price", "prompt", "max_tokens", "n", "micro_usd"),
    [
        (PLAIN, 1000, 100, 1, 4500),
        (PLAIN, 1000, 100, 3, 7500),
        pytest.param(PLAIN, 1000, None, 1, 18_000, id="as much as it writes"),
        pytest.param(CACHING, 1000, 0, 1, 3750, id="all of it written to the cache"),
        (TIERED, 200_000, 0, 1, 200_000),
        (TIERED, 200_001, 0, 1, 400_002),
    ],
)
def test_worst(price: Price, prompt: int, max_tokens: int | None, n: int, micro_usd: int) -> None:
    assert worst(model(price), prompt, max_tokens, n) == micro_usd * 1000


def test_embeddings_write_nothing() -> None:
    assert output_bound(model(PLAIN, embeddings=True), None) == 0
    assert worst(model(PLAIN, embeddings=True), 1000, None) == 3_000_000


rates = st.builds(
    Rate,
    st.integers(0, 10**11),
    st.integers(0, 10**11),
    st.none() | st.integers(0, 10**11),
    st.none() | st.integers(0, 10**11),
)
tiers = st.lists(
    st.builds(Tier, st.integers(1, 10**6), rates), max_size=3, unique_by=lambda t: t.above
)
prices = st.builds(
    lambda rate, more: Price(rate, tuple(sorted(more, key=lambda t: t.above))), rates, tiers
)


@given(st.data(), prices, st.integers(0, 2 * 10**6), st.integers(0, 10**5), st.integers(1, 4))
def test_no_answer_costs_more_than_was_reserved(
    data: st.DataObject, price: Price, prompt: int, max_tokens: int, n: int
) -> None:
    read = data.draw(st.integers(0, prompt))
    cached = data.draw(st.integers(0, read))
    written = data.draw(st.integers(0, read - cached))
    usage = Usage(read, data.draw(st.integers(0, n * max_tokens)), cached, written)
    assert cost(price, usage) <= worst(model(price), prompt, max_tokens, n)


@given(rates, st.integers(0, 10**6), st.integers(0, 10**6))
def test_cost_is_exact_but_for_the_last_nano_dollar(rate: Rate, prompt: int, output: int) -> None:
    exact = Fraction(prompt * rate.input + output * rate.output, 1_000_000)
    assert 0 <= cost(Price(rate), Usage(prompt, output)) - exact < 1


def test_saved_is_against_the_cheapest_that_could_have_answered() -> None:
    usage = Usage(1000, 100)
    both = [model(PLAIN), model(TIERED)]
    assert saved(usage, 0, both) == 1_500_000
    assert saved(usage, 1_000_000, both) == 500_000
    assert saved(usage, 4_500_000, both) == 0
    assert saved(usage, 0, []) == 0


@given(
    st.sampled_from([PLAIN, CACHING, TIERED]),
    st.integers(0, 400_000),
    st.integers(0, 10 * USD),
    st.integers(1, 4),
)
def test_what_is_affordable_is_all_that_is(price: Price, prompt: int, money: int, n: int) -> None:
    most = affordable(model(price), prompt, money, n)
    if most >= 0:
        assert worst(model(price), prompt, most, n) <= money
    assert worst(model(price), prompt, max(0, most + 1), n) > money


def test_where_answers_are_free_the_model_is_the_limit() -> None:
    free = model(Price(Rate(input=USD, output=0)))
    assert affordable(free, 100, 0) == free.max_output


@pytest.mark.parametrize(
    ("max_output", "thinking", "least"),
    [(64_000, False, 1024), (64_000, True, 4096), (500, False, 500), (2000, True, 2000)],
)
def test_an_answer_worth_having(max_output: int, thinking: bool, least: int) -> None:
    assert least_answer(max_output, thinking) == least


rates = st.builds(
    Rate,
    input=st.integers(0, 5),
    output=st.integers(0, 5),
    cached_input=st.none() | st.integers(0, 5),
    cache_write=st.none() | st.integers(0, 5),
)
prices = st.builds(
    Price, rates, st.lists(st.builds(Tier, st.sampled_from([10]), rates), max_size=1).map(tuple)
)


@given(
    st.lists(prices, max_size=6),
    st.builds(Usage, *[st.integers(0, 20)] * 4).filter(
        lambda usage: usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    ),
)
def test_the_cheapest_for_any_usage_is_at_the_frontier(there: list[Price], usage: Usage) -> None:
    models = [model(price) for price in there]
    kept = frontier(models)
    assert saved(usage, -100, kept) == saved(usage, -100, models)
    assert frontier(kept) == kept


def test_what_another_undercuts_is_not_at_the_frontier() -> None:
    dear, cheap, cheap_too = model(PLAIN), model(TIERED), model(TIERED)
    assert frontier([dear, cheap, cheap_too]) == (cheap,)
    cached = model(CACHING)  # what comes from a cache is cheaper there, and nothing else
    assert frontier([dear, cached, cheap]) == (cached, cheap)
