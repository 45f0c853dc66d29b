"""How long answers are, and what is left of one."""

from __future__ import annotations

import random
import statistics

import pytest

from server.routing.lengths import Lengths


def test_lengths_give_way_from_what_is_usual_to_what_was_seen() -> None:
    lengths = Lengths()
    assert 50 < lengths.rest(0, None) < 400
    for _ in range(20):
        lengths.add(1000)
    assert lengths.rest(0, None) == 1000
    assert lengths.rest(900, None) == 100
    assert lengths.mean(None) == 1000


def test_the_rest_of_an_answer() -> None:
    lengths = Lengths()
    for tokens in range(10, 110, 10):
        lengths.add(tokens)
    assert lengths.rest(0, None, part=0.05) == 10
    assert lengths.rest(0, None, part=0.95) == 100
    assert lengths.rest(55, None) == 25
    assert lengths.rest(200, None) == 200  # longer than any: half way
    assert lengths.rest(0, 16) == 16
    assert lengths.rest(16, 16) == 1
    assert lengths.mean(20) == pytest.approx((10 + 9 * 20) / 10)


def test_lengths_are_bounded() -> None:
    lengths = Lengths()
    for tokens in range(1000):
        lengths.add(tokens)
    assert lengths.rest(0, None, part=0) == 1000 - 128


def learnt(answers: list[tuple[int, bool]]) -> Lengths:
    lengths = Lengths()
    for tokens, cut in answers:
        lengths.add(tokens, cut=cut)
    return lengths


def test_what_was_cut_would_have_been_longer() -> None:
    lengths = learnt([(50, True)] * 20)
    assert lengths.rest(0, 300) == 300  # all that is known is that they go on
    assert lengths.rest(100, 300) == 200
    assert lengths.mean(300) == 300


def test_an_answer_beyond_all_others_is_half_way_unless_it_is_sure_to_be_cut() -> None:
    assert learnt([(50, False)] * 20).rest(80, 300) == 80
    assert learnt([(50, True)] * 20).rest(80, None) == 80


def test_half_of_them_cut() -> None:
    """Every other one was: by Kaplan and Meier 9/10, then 7/8, 5/6, 3/4 and 1/2 of what was left
    go on."""
    lengths = learnt([(tokens, tokens % 20 == 10) for tokens in range(20, 120, 10)])
    parts = [9 / 10, 7 / 8, 5 / 6, 3 / 4, 1 / 2]
    going_on = 1.0
    for tokens, part in zip((20, 40, 60, 80, 100), parts, strict=True):
        assert lengths.rest(0, None, part=1.0 - going_on + 0.001) == tokens
        going_on *= part


@pytest.mark.parametrize("limit", [100, 400, 2000])
def test_limits_do_not_hide_how_long_answers_are(limit: int) -> None:
    """Clients cut a part of them at random; what is learnt is as if none had been."""
    rnd = random.Random(limit)
    whole = [max(1, round(rnd.expovariate(1 / 200))) for _ in range(4000)]
    means = []
    for start in range(0, 4000, 128):
        lengths = Lengths()
        for tokens in whole[start : start + 128]:
            most = rnd.choice([50, 150, 300, 5000])
            lengths.add(min(tokens, most), cut=tokens >= most)
        means.append(lengths.mean(limit))
    expected = statistics.fmean(min(tokens, limit) for tokens in whole)
    assert statistics.fmean(means) == pytest.approx(expected, rel=0.08)
