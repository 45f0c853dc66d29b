"""How many places hold a revision: a table."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from server.store.copies.copy import Inventory, folder_of, key_of
from server.store.copies.status import standings, with_times
from tests.store.copies.receipts import REVISION, WHEN, held, inventory, receipt

A, B, C = held("a"), held("b"), held("c")
WHOLE = receipt(A, B)
STORE = inventory(WHOLE, address="/store/models")
NONE = inventory(address="/nas")


@pytest.mark.parametrize(
    ("places", "states", "count"),
    [
        pytest.param([STORE], "whole", 1, id="the store alone"),
        pytest.param([STORE, inventory(WHOLE)], "whole whole", 2, id="two"),
        pytest.param([STORE, NONE], "whole absent", 1, id="not copied"),
        pytest.param([STORE, "/gone"], "whole unknown", 1, id="out of reach"),
        pytest.param([STORE, inventory(WHOLE, b=-1)], "whole partial", 1, id="a file lost"),
        pytest.param([STORE, inventory(WHOLE, b=99)], "whole partial", 1, id="truncated"),
        pytest.param([NONE, inventory(WHOLE)], "absent whole", 1, id="lost from the store"),
        pytest.param(
            [inventory(receipt(A)), inventory(receipt(B))], "partial partial", 1, id="half and half"
        ),
        pytest.param(
            [inventory(receipt(A)), inventory(WHOLE), inventory(WHOLE)],
            "partial whole whole",
            2,
            id="the file that the fewest hold counts",
        ),
        pytest.param(
            [inventory(WHOLE), inventory(receipt(A, held("b", content="other")))],
            "partial partial",
            1,
            id="other bytes are another file",
        ),
        pytest.param(
            [inventory(WHOLE, a=-1), inventory(WHOLE, a=-1)], "partial partial", 0, id="lost"
        ),
    ],
)
def test_places(places: list[Inventory | str], states: str, count: int) -> None:
    (found,) = standings(places, 2)
    assert " ".join(holding.state for holding in found.holdings) == states
    assert found.places == count
    assert found.enough == (count >= 2)


def test_every_revision_of_any_place_is_told() -> None:
    other = receipt(C, repository="org/other", revision=REVISION[::-1])
    found = standings([STORE, inventory(other)], 1)
    assert [(one.repository, one.bytes, one.enough) for one in found] == [
        ("org/name", 200, True),
        ("org/other", 100, True),
    ]


def test_when_it_was_read_back_is_told() -> None:
    place = replace(inventory(WHOLE), verified={key_of(WHOLE): WHEN})
    (found,) = standings([STORE, place], 1)
    assert [holding.verified for holding in found.holdings] == [None, WHEN]


@pytest.mark.parametrize(
    ("before", "times", "verified"),
    [
        ({}, {}, None),
        ({}, {"a": 1}, None),  # the other was never read
        ({}, {"a": 1, "b": 2}, 1),
        ({key_of(WHOLE): 0}, {"a": 1, "b": 2}, 1),
        ({key_of(WHOLE): 3}, {"a": 1, "b": 2}, 3),
        ({key_of(WHOLE): 3}, {"a": 4}, 3),
    ],
)
def test_the_oldest_time_of_all_files_counts(
    before: dict[str, int], times: dict[str, int], verified: int | None
) -> None:
    def when(day: int) -> datetime.datetime:
        return WHEN + datetime.timedelta(days=day)

    place = replace(inventory(WHOLE), verified={key: when(day) for key, day in before.items()})
    known = {f"{folder_of(WHOLE)}/{path}": when(day) for path, day in times.items()}
    found = with_times(place, known).verified.get(key_of(WHOLE))
    assert found == (None if verified is None else when(verified))
