"""What is to be done to bring a copy up to the store: a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.store.copies.copy import Inventory, folder_of
from server.store.copies.sync import Original, plan
from server.store.naming import SUMS
from server.store.receipt import Receipt
from tests.store.copies.receipts import held, inventory, receipt

A, B, C = held("a"), held("b"), held("c")
STORE = receipt(A, B)
FOLDER = Path("/store/models/org/name")
NOTHING = inventory()


def without_receipt(there: Inventory) -> Inventory:
    return replace(there, receipts={})


@pytest.mark.parametrize(
    ("store", "there", "check", "steps", "sealed", "complete", "problems"),
    [
        pytest.param(STORE, NOTHING, False, "send a, send b", "ab", True, "", id="empty copy"),
        pytest.param(STORE, inventory(STORE), False, "", None, False, "", id="nothing to do"),
        pytest.param(
            STORE, inventory(STORE), True, "check a, check b", None, True, "", id="all read back"
        ),
        pytest.param(
            STORE, inventory(STORE, a=99), False, "send a", None, False, "", id="truncated there"
        ),
        pytest.param(
            STORE, inventory(STORE, a=-1), True, "send a, check b", None, True, "", id="lost there"
        ),
        pytest.param(
            STORE,
            without_receipt(inventory(STORE, b=-1)),
            False,
            "check a, send b",
            "ab",
            True,
            "",
            id="killed before the receipt: what was not read back is",
        ),
        pytest.param(
            STORE, inventory(receipt(A)), False, "send b", "ab", False, "", id="a file more"
        ),
        pytest.param(
            STORE, inventory(receipt(A, B, C)), False, "", None, False, "", id="the copy has more"
        ),
        pytest.param(
            receipt(A),
            inventory(receipt(B, C)),
            True,
            "send a, check b, check c",
            "abc",
            True,
            "",
            id="each has what the other has not: nothing is removed",
        ),
        pytest.param(
            STORE,
            inventory(receipt(A, B, C), c=-1),
            False,
            "",
            None,
            False,
            "c is lost there",
            id="lost there, and not in the store",
        ),
        pytest.param(
            STORE,
            inventory(receipt(A, held("b", content="other"))),
            False,
            "",
            None,
            False,
            "b is another file there",
            id="other bytes under one revision",
        ),
    ],
)
def test_plan(
    store: Receipt,
    there: Inventory,
    check: bool,
    steps: str,
    sealed: str | None,
    complete: bool,
    problems: str,
) -> None:
    errand = plan(Original(store, FOLDER), there, check=check)
    assert ", ".join(f"{step.action} {step.held.path}" for step in errand.steps) == steps
    assert errand.seal == (sealed is not None)
    if sealed:
        assert "".join(file.path for file in errand.receipt.files) == sealed
    assert errand.complete == complete
    assert "; ".join(errand.problems).startswith(problems)
    assert bool(errand.problems) == bool(problems)


def test_only_what_the_store_holds_can_be_sent_again() -> None:
    errand = plan(Original(receipt(A), FOLDER), inventory(receipt(A, B)), check=True)
    assert {step.held.path: step.in_store for step in errand.steps} == {"a": True, "b": False}


@pytest.mark.parametrize("there", [receipt(A), receipt(A, B), receipt(A, B, C)])
def test_the_stores_receipt_goes_unless_the_copy_holds_more(there: Receipt) -> None:
    there = replace(there, source="https://elsewhere")
    errand = plan(Original(STORE, FOLDER), inventory(there))
    assert errand.receipt == (there if C in there.files else STORE)
    assert errand.seal == (errand.receipt != there)


@pytest.mark.parametrize(
    ("there", "signature_goes"),
    [(inventory(STORE), True), (inventory(receipt(A, B, C)), False), (NOTHING, True)],
    ids=["same sums", "other sums", "new"],
)
def test_a_signature_goes_only_with_the_sums_that_it_is_of(
    there: Inventory, signature_goes: bool
) -> None:
    errand = plan(Original(STORE, FOLDER, b"signature"), there)
    assert errand.signature == (b"signature" if signature_goes else None)
    assert errand.seal == signature_goes


def test_lost_sums_are_written_anew() -> None:
    there = inventory(STORE)
    sizes = {path: size for path, size in there.sizes.items() if not path.endswith(SUMS)}
    assert plan(Original(STORE, FOLDER), replace(there, sizes=sizes)).seal


def test_bytes_count_twice_when_they_are_sent_and_read_back() -> None:
    there = inventory(STORE, a=-1)
    assert f"{folder_of(STORE)}/a" not in there.sizes
    errand = plan(Original(STORE, FOLDER), there, check=True)
    assert (errand.send_bytes, errand.work) == (100, 300)
