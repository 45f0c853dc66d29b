"""Which parts of a file are given out, and that none is lost or given twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.transfer.segments import Run, Segments


@pytest.mark.parametrize(
    ("length", "size", "count", "last"),
    [(0, 10, 0, None), (1, 10, 1, (0, 1)), (10, 10, 1, (0, 10)), (25, 10, 3, (20, 25))],
)
def test_how_a_file_is_cut(
    length: int, size: int, count: int, last: tuple[int, int] | None
) -> None:
    segments = Segments(length, size)
    assert segments.count == count
    assert segments.all_done is (count == 0)
    if last:
        assert (segments.start(count - 1), segments.end(count - 1)) == last


def test_the_first_free_ones_are_given_out() -> None:
    segments = Segments(95, 10)
    segments.finish(2)
    assert segments.take(5) == Run(0, 2)
    assert segments.take(3) == Run(3, 6)
    assert segments.take(30) == Run(6, 10)
    assert segments.take(1) is None
    segments.finish(9)
    segments.give_back(Run(6, 10))
    assert segments.done_bytes == 15
    assert segments.free == 3
    assert segments.take(9) == Run(6, 9)


@given(
    length=st.integers(0, 300),
    size=st.integers(1, 40),
    steps=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=60),
)
def test_every_segment_is_done_once_and_counted(
    length: int, size: int, steps: list[tuple[int, int]]
) -> None:
    segments = Segments(length, size)
    done: set[int] = set()
    held: list[Run] = []
    for longest, finished in steps:
        run = segments.take(longest)
        if run is None:
            if held:
                segments.give_back(held.pop(0))
            continue
        mine = set(range(run.first, run.end))
        assert len(mine) <= longest
        assert not mine & done
        assert not any(mine & set(range(one.first, one.end)) for one in held)
        for index in sorted(mine)[:finished]:
            segments.finish(index)
            done.add(index)
        held.append(run)
        taken = {i for one in held for i in range(one.first, one.end)} - done
        assert segments.taken == len(taken)
        assert segments.free == segments.count - len(done) - len(taken)
        assert segments.done_bytes == sum(segments.end(i) - segments.start(i) for i in done)
    assert segments.all_done is (len(done) == segments.count)
