from __future__ import annotations

import pytest

from server.providers.quota import Left, Quota
from server.routing.allowance import Allowance

NOW = 1000.0


def heard(*quotas: Quota) -> Allowance:
    made = Allowance()
    for quota in quotas:
        made.hear(quota, NOW)
    return made


@pytest.mark.parametrize(
    ("quota", "prompt", "answer", "wait", "word"),
    [
        (Quota(), 10**6, 10**6, None, ""),
        (Quota(requests=Left(1, 30)), 10**6, 10**6, None, ""),
        (Quota(requests=Left(0, 30)), 1, 0, 30, "too few requests"),
        (Quota(requests=Left(0, 0.12)), 1, 0, 1, "too few requests"),
        (Quota(requests=Left(0, 0)), 1, 0, None, ""),
        (Quota(tokens=Left(150, 30)), 100, 50, None, ""),
        (Quota(tokens=Left(149, 30)), 100, 50, 30, "too few tokens"),
        (Quota(tokens=Left(0, 2)), 0, 0, None, ""),
        (Quota(prompt=Left(100, 30)), 100, 10**6, None, ""),
        (Quota(prompt=Left(99, 29.1)), 100, 0, 30, "too few tokens of prompts"),
        (Quota(answer=Left(1, 30)), 10**6, 10**6, None, ""),
        (Quota(answer=Left(0, 30)), 1, 1, 30, "too few tokens of answers"),
    ],
)
def test_a_request_beyond_what_is_left_waits(
    quota: Quota, prompt: int, answer: int, wait: int | None, word: str
) -> None:
    out = heard(quota).out(prompt, answer, NOW)
    assert (out and out.wait) == wait
    if out is not None:
        assert word in out.why


def test_what_is_in_the_providers_cache_counts_for_prompts_alone() -> None:
    assert heard(Quota(prompt=Left(99, 30))).out(100, 0, NOW, cached=80) is None
    assert heard(Quota(tokens=Left(99, 30))).out(100, 0, NOW, cached=80) is not None


def test_it_may_be_asked_again_when_all_is_there_again() -> None:
    made = heard(Quota(requests=Left(0, 30)))
    assert made.out(1, 0, NOW + 29.9) is not None
    assert made.out(1, 0, NOW + 30) is None


def test_what_is_on_its_way_counts() -> None:
    made = heard(Quota(Left(2, 30), Left(1000, 30)))
    made.take(100, 100)
    assert made.out(100, 100, NOW) is None
    made.take(100, 100)
    assert made.out(100, 100, NOW) is not None


def test_the_latest_word_holds_and_silence_changes_nothing() -> None:
    assert heard(Quota(requests=Left(0, 30)), Quota(requests=Left(5, 30))).out(1, 0, NOW) is None
    assert heard(Quota(requests=Left(0, 30)), Quota()).out(1, 0, NOW) is not None
