"""The trace that overflow is measured with."""

from __future__ import annotations

import itertools
import statistics

from scripts.benchmarks.trace import trace


def test_it_is_the_same_each_time_and_other_for_another_seed() -> None:
    assert trace(5, 100, 600, 0.125) == trace(5, 100, 600, 0.125)
    assert trace(5, 100, 600, 0.125) != trace(6, 100, 600, 0.125)


def test_it_has_so_many_requests_over_so_long() -> None:
    found = trace(5, 400, 2000, 1.0)
    assert len(found) == 400
    assert [ask.at for ask in found] == sorted(ask.at for ask in found)
    assert 0.9 < found[-1].at / 2000 < 1.1


def test_lengths_and_gaps_are_like_published_ones() -> None:
    found = trace(5, 2000, 10_000, 1.0)
    seen = sum(ask.seen for ask in found) / sum(ask.prompt for ask in found)
    assert 0.4 < seen < 0.7
    assert 50 < statistics.fmean(ask.answer for ask in found) < 250
    assert 500 < statistics.median(ask.prompt for ask in found) < 4000
    starts = [ask.at for ask in found if not ask.seen]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert statistics.stdev(gaps) > 1.2 * statistics.fmean(gaps)  # burstier than Poisson's 1


def test_a_session_grows_by_what_was_said() -> None:
    turns: dict[int, int] = {}
    for ask in trace(5, 500, 3000, 0.125):
        assert ask.seen == turns.get(ask.session, 0)
        assert ask.prompt > ask.seen
        turns[ask.session] = ask.prompt + ask.answer
