"""What is known of prompts that were counted, and what is left to estimate."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from server import catalogue, settings
from server.routing.counts import Counts, tokenizer_of
from server.routing.needs import Needs
from tests.routing.cases import needs_for

NOWHERE = Path("/nonexistent")
MODELS = catalogue.load(settings.load(os.environ, home=NOWHERE, system_config=NOWHERE)).models


def prompt(guess: int, *beginnings: int) -> Needs:
    """Of so many tokens by the estimate from above, that begins so."""
    prefix = tuple((what, guess * (at + 1)) for at, what in enumerate(beginnings))
    return needs_for("auto", prompt_tokens=guess, prefix=prefix)


def test_nothing_is_known_at_first() -> None:
    counts = Counts()
    assert not counts.any
    assert counts.of(prompt(1200, 1)) == (1000, 750)
    assert counts.of(prompt(1200, 1), 0.5) == (1500, 1125)
    assert counts.unknown(prompt(1200, 1)) == 1200
    assert counts.of(prompt(1, 1)) == (1, 0), "a prompt has a token"


def test_a_prompt_that_was_counted_is_not_estimated() -> None:
    counts = Counts()
    counts.learn(prompt(1200, 1, 2), 2000)
    assert counts.any
    assert counts.of(prompt(1200, 1, 2)) == (2000, 1964)
    assert counts.unknown(prompt(1200, 1, 2)) == 0


def test_what_was_counted_corrects_estimates() -> None:
    counts = Counts()
    for what in range(5):
        counts.learn(prompt(1000, what), 1500)
    assert counts.of(prompt(2000, 9)) == (3000, 2250)


def test_of_a_conversation_that_goes_on_only_the_rest_is_estimated() -> None:
    counts = Counts()
    counts.learn(prompt(1200, 1, 2), 600)
    longer = prompt(1400, 1, 2, 3, 4)
    assert counts.unknown(longer) == 200
    assert counts.of(longer) == (700, 578 + 75)
    counts.learn(longer, 750)
    assert counts.of(prompt(1500, 1, 2, 3, 4, 5))[0] == 801, "from the longest that is known"
    assert counts.unknown(prompt(1400, 8, 9)) == 1400, "another conversation"
    assert counts.unknown(prompt(1100, 1, 2, 7)) == 0, "what was left out later is nothing less"


def test_what_has_no_beginnings_is_always_estimated() -> None:
    counts = Counts()
    counts.learn(prompt(100), 50)
    assert counts.unknown(prompt(100)) == 100


def test_the_oldest_are_forgotten() -> None:
    counts = Counts(prompts=2)
    for what in (1, 2, 1, 3):
        counts.learn(prompt(100, what), 80)
    assert [counts.unknown(prompt(100, what)) for what in (1, 2, 3)] == [0, 100, 0]


def test_sizes_of_a_family_share_their_tokenizer() -> None:
    shared = {tokenizer_of(model) for name, model in MODELS.items() if name.startswith("qwen3.5")}
    assert len(shared) == 1
    assert tokenizer_of(MODELS["demo"]) == "demo"


@given(
    learnt=st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), max_size=5),
    guess=st.integers(1, 10**6),
    off=st.floats(0, 10),
)
def test_what_is_sure_is_never_more_than_what_is_expected(
    learnt: list[tuple[int, int]], guess: int, off: float
) -> None:
    counts = Counts()
    for at, (estimate, tokens) in enumerate(learnt):
        counts.learn(prompt(estimate, *range(at + 1)), tokens)
    tokens, least = counts.of(prompt(guess, *range(len(learnt) + 1)), off)
    assert tokens >= 1
    assert 0 <= least <= tokens
    assert 0 <= counts.unknown(prompt(guess, *range(len(learnt) + 1))) <= guess
