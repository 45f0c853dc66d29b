from __future__ import annotations

import pytest

from server.chat.usage import Usage
from server.metrics.tally import Spread, Tally


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.0, 0), (1.0, 0), (1.001, 1), (2.0, 1), (4.0, 2), (4.1, 3)]
)
def test_a_bucket_has_its_bound(value: float, bucket: int) -> None:
    spread = Spread((1.0, 2.0, 4.0))
    spread.add(value)
    assert [index for index, count in enumerate(spread.counts) if count] == [bucket]
    assert spread.sum == value


def test_two_tallies_as_one() -> None:
    one, other, both = Tally(), Tally(), Tally()
    for tally in (one, both):
        tally.add("answered", Usage(10, 5, 3), 7, 2, 1.5, 0.5, 0.25)
    for tally in (other, both):
        tally.add("answered", Usage(2000, 1), 1, 0, 0.2, None, None)
        tally.add("failed", Usage(0, 0), 0, 0, 9.0, 0.1, 0.0)
    one.merge(other)
    for name in Tally.__slots__:
        merged, told = getattr(one, name), getattr(both, name)
        if isinstance(merged, Spread):
            assert merged.counts == told.counts, name
            assert merged.sum == pytest.approx(told.sum), name
        else:
            assert merged == told, name
