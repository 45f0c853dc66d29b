"""Many files at once: whose error ends what."""

from __future__ import annotations

import threading

import pytest

from server.errors import HoldfastError, HubError, StoreError
from server.store.copies.crew import each
from server.store.copies.place import OnBytes


def ignore(*_: object) -> None:
    pass


def test_an_items_own_error_is_told_and_the_others_go_on() -> None:
    told: dict[int, HoldfastError | None] = {}
    passed: list[int] = []

    def work(item: int, on_bytes: OnBytes) -> None:
        on_bytes(item)
        if item == 3:
            raise StoreError("three is damaged")

    each(range(6), work, jobs=2, on_bytes=passed.append, on_done=told.__setitem__)
    assert sorted(passed) == list(range(6))
    assert [item for item, error in sorted(told.items()) if error] == [3]


@pytest.mark.parametrize("error", [HubError("it is gone"), KeyError("a bug")])
def test_a_place_out_of_reach_stops_what_is_under_way(error: Exception) -> None:
    under_way = threading.Event()
    begun: list[str] = []

    def work(item: str, on_bytes: OnBytes) -> None:
        begun.append(item)
        if item == "endless":
            under_way.set()
            while True:
                on_bytes(1)
        under_way.wait()
        raise error

    items = ["endless", "broken", "never begun"]
    with pytest.raises(type(error)):
        each(items, work, jobs=2, on_bytes=ignore, on_done=ignore)
    assert begun == ["endless", "broken"]


def test_nothing_is_nothing() -> None:
    calls: list[object] = []

    def called(*arguments: object) -> None:
        calls.append(arguments)

    each([], called, jobs=2, on_bytes=called, on_done=called)
    assert calls == []
