"""The trace that overflow is measured with."""

from __future__ import annotations

import itertools
import statistics

import pytest

from scripts.benchmarks.trace import MIXES, Mix, trace


def test_it_is_the_same_each_time_and_other_for_another_seed() -> None:
    for mix in MIXES:
        assert trace(mix, 5, 100, 600, 0.125) == trace(mix, 5, 100, 600, 0.125)
        assert trace(mix, 5, 100, 600, 0.125) != trace(mix, 6, 100, 600, 0.125)


@pytest.mark.parametrize("mix", MIXES)
def test_it_has_so_many_requests_over_so_long(mix: Mix) -> None:
    found = trace(mix, 5, 400, 2000, 1.0)
    assert len(found) == 400
    assert [ask.at for ask in found] == sorted(ask.at for ask in found)
    assert 0.9 < found[-1].at / 2000 < 1.1


def test_lengths_of_code_and_chat_are_like_azures() -> None:
    """Of the whole files: prompts of 2,048 and 1,155 tokens on the average, answers of 28 and 211,
    weighted by how many there were."""
    found = trace("azure", 5, 4000, 20_000, 1.0)
    assert statistics.fmean(ask.prompt for ask in found) == pytest.approx(1434, rel=0.15)
    assert statistics.fmean(ask.answer for ask in found) == pytest.approx(154, rel=0.15)
    assert not any(ask.seen for ask in found)


def test_agents_send_long_prompts_again() -> None:
    found = trace("agents", 5, 2000, 20_000, 1.0)
    seen = sum(ask.seen for ask in found) / sum(ask.prompt for ask in found)
    assert 0.5 < seen < 0.86
    assert 4000 < statistics.fmean(ask.prompt for ask in found) < 7590
    assert statistics.fmean(ask.answer for ask in found) == pytest.approx(182, rel=0.15)


@pytest.mark.parametrize("mix", MIXES)
def test_gaps_are_burstier_than_poissons(mix: Mix) -> None:
    starts = [ask.at for ask in trace(mix, 5, 2000, 20_000, 1.0) if not ask.seen]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert 1.2 < statistics.stdev(gaps) / statistics.fmean(gaps) < 13


def test_a_session_grows_by_what_was_said() -> None:
    turns: dict[int, int] = {}
    for ask in trace("agents", 5, 500, 3000, 0.125):
        assert ask.seen == turns.get(ask.session, 0)
        assert ask.prompt > ask.seen
        turns[ask.session] = ask.prompt + ask.answer
