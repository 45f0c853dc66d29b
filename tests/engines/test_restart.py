from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.restart import GiveUp, Policy, Relaunch, backoff, decide

PLAIN = Policy(first=0.5, longest=10, jitter=0.5, exits=4, window=60)


@pytest.mark.parametrize(
    ("exits", "permanent", "expected"),
    [
        ([100], False, Relaunch(0.5)),
        ([100, 101], False, Relaunch(1.0)),
        ([100, 101, 103], False, Relaunch(2.0)),
        ([100, 101, 103, 107], False, GiveUp("it exited 4 times within 60 s")),
        ([100, 101, 103, 161], False, Relaunch(2.0)),
        ([100, 200, 300, 400], False, Relaunch(0.5)),
        ([100], True, GiveUp("launching it again would end the same way")),
    ],
)
def test_decisions(exits: list[float], permanent: bool, expected: object) -> None:
    assert decide(exits, permanent=permanent, policy=PLAIN, chance=0) == expected


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_backoff_grows_to_its_cap_and_stays_in_its_bounds(attempt: int, chance: float) -> None:
    wait = backoff(attempt, policy=PLAIN, chance=chance)
    assert 0.5 <= wait <= 15
    assert backoff(attempt + 1, policy=PLAIN, chance=chance) >= wait
    assert wait == pytest.approx(backoff(attempt, policy=PLAIN, chance=0) * (1 + 0.5 * chance))
