"""Every way to falsify a log of five rows, and the place at which it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from server.ledger.egress_log import Chain, Departure, Fault, is_body, verify

SECRET = b"s" * 32


def log(count: int = 5, secret: bytes = SECRET) -> tuple[list[Departure], str]:
    chain = Chain(secret)
    rows = [
        chain.add(1000 + i, f"r{i}", "k", "api.cloud.example", "cloud/large", b"body %d" % i)
        for i in range(count)
    ]
    return rows, chain.head


def renumbered(rows: list[Departure]) -> list[Departure]:
    return [replace(row, seq=number) for number, row in enumerate(rows, 1)]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_log_as_it_was_written(count: int) -> None:
    rows, head = log(count)
    assert verify(SECRET, rows, head) is None


@pytest.mark.parametrize(
    ("falsify", "seq"),
    [
        pytest.param(lambda rows: rows[1:], 1, id="the first is gone"),
        pytest.param(lambda rows: rows[:2] + rows[3:], 3, id="one is gone"),
        pytest.param(lambda rows: rows[:-1], 5, id="the last is gone"),
        pytest.param(lambda rows: [], 1, id="all are gone"),
        pytest.param(lambda rows: renumbered(rows[:2] + rows[3:]), 3, id="gone and renumbered"),
        pytest.param(lambda rows: renumbered([*rows, rows[1]]), 6, id="one stands there twice"),
        pytest.param(lambda rows: renumbered([rows[1], *rows]), 1, id="one was put before"),
        pytest.param(
            lambda rows: renumbered([rows[0], rows[2], rows[1], *rows[3:]]), 2, id="two changed"
        ),
        pytest.param(
            lambda rows: [*rows, log(6, b"other")[0][5]], 6, id="made with another secret"
        ),
    ],
)
def test_a_falsified_log(falsify: Callable[[list[Departure]], list[Departure]], seq: int) -> None:
    rows, head = log()
    fault = verify(SECRET, falsify(rows), head)
    assert fault is not None
    assert fault.seq == seq


@pytest.mark.parametrize("field", [field.name for field in fields(Departure)][1:])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_changed_field(field: str, place: int) -> None:
    rows, head = log()
    value = getattr(rows[place], field)
    rows[place] = replace(
        rows[place], **{field: value + (1 if isinstance(value, int | float) else "x")}
    )
    assert verify(SECRET, rows, head) == Fault(
        place + 1, f"row {place + 1} is not the one that was written there"
    )


@pytest.mark.parametrize("field", [field.name for field in fields(Departure)][1:])
@pytest.mark.parametrize("value", ["é", b"\0", None, 7, 7.0], ids=repr)
def test_a_field_that_is_nothing_it_could_be(field: str, value: Any) -> None:
    rows, head = log()
    rows[2] = replace(rows[2], **{field: value})
    assert verify(SECRET, rows, head) == Fault(3, "row 3 is not the one that was written there")
    is_body(SECRET, rows[2], b"body 2")


def test_a_head_that_is_gone_or_older() -> None:
    rows, head = log()
    assert verify(SECRET, rows, None) == Fault(
        6, "the log does not end with row 5: what followed is missing"
    )
    assert verify(SECRET, rows, log(4)[1]) is not None
    assert verify(SECRET, rows, head) is None


def test_another_secret_proves_nothing() -> None:
    rows, head = log()
    fault = verify(b"t" * 32, rows, head)
    assert fault is not None
    assert fault.seq == 1


def test_a_chain_goes_on_where_it_was() -> None:
    rows, _ = log(3)
    chain = Chain(SECRET, rows[-1].seq, rows[-1].chain)
    more = chain.add(2000, "r", "k", "host", "model", b"")
    assert verify(SECRET, [*rows, more], chain.head) is None


def test_a_copy_that_is_given_up_leaves_the_chain_alone() -> None:
    chain = Chain(SECRET)
    chain.copy().add(1, "r", "k", "h", "m", b"")
    row = chain.add(1, "r", "k", "h", "m", b"")
    assert verify(SECRET, [row], chain.head) is None


def test_what_left_can_be_proven_to_who_has_it() -> None:
    (row, *_), _ = log()
    assert is_body(SECRET, row, b"body 0")
    assert not is_body(SECRET, row, b"body 1")
    assert "body" not in row.body_hmac
