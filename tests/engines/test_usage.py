from __future__ import annotations

import pytest

from server.engines.usage import Usage


def test_a_request_counts_half_after_ten_minutes() -> None:
    usage = Usage(weight=0)
    usage.note(1000)
    assert usage.demand(1000) == 1
    assert usage.demand(1600) == pytest.approx(0.5)
    usage.note(1600)
    assert usage.demand(2200) == pytest.approx(0.75)
    assert usage.requests == 2


def test_often_or_just_now_counts_more_than_seldom_and_long_ago() -> None:
    often, lately, long_ago = Usage(), Usage(), Usage()
    for moment in (0, 100, 200, 300):
        often.note(moment)
    long_ago.note(0)
    lately.note(3600)
    assert lately.demand(3600) > long_ago.demand(3600)
    assert often.demand(400) > long_ago.demand(400)


def test_the_weight_decides_while_nobody_asks() -> None:
    assert Usage(weight=3).demand(5) > Usage(weight=1).demand(5) > Usage(weight=0).demand(5) == 0
