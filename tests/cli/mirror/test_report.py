"""The lines of `holdfast mirror sync` and `status`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.cli.mirror.report import Report, as_json, lines
from server.cli.mirror.status import table
from server.errors import HubError, StoreError
from server.store.copies.copy import key_of
from server.store.copies.status import standings
from server.store.copies.sync import Done, Original, plan
from tests.store.copies.receipts import WHEN, held, inventory, receipt

A, B = held("a", 1024), held("b", 1024)
STORE = receipt(A, B)
NAME = "org/name@0123456789ab"


def report(done: str, *, there: bool = False, check: bool = False) -> Report:
    """Of a run in which the steps went as `done` says: x for an error, m for mended."""
    place = inventory(STORE) if there else inventory()
    errand = plan(Original(STORE, Path("/store")), place, check=check)
    told = Report("/copy", [errand])
    for letter, step in zip(done, errand.steps, strict=False):
        error = StoreError("it broke") if letter == "x" else None
        told.done.append(Done("/copy", errand, step, error, letter == "m"))
        if error is not None:
            told.add(error, step.held.path)
    return told


@pytest.mark.parametrize(
    ("told", "dry_run", "line"),
    [
        (report("", there=True), False, "nothing to do"),
        (report(""), True, "2 files (2.0 KiB) to send"),
        (report("", there=True, check=True), True, "2 files to read back"),
        (report(".."), False, "2 files (2.0 KiB) sent and read back"),
        (report("..", there=True, check=True), False, "2 files read back"),
        (
            report(".m", there=True, check=True),
            False,
            "2 files read back, 1 of them damaged and sent again",
        ),
        (report(".x"), False, "2 files (2.0 KiB) sent and read back, 1 failed"),
        (report("."), False, "2 files (2.0 KiB) sent and read back, 1 not done"),
    ],
)
def test_sync(told: Report, dry_run: bool, line: str) -> None:
    assert lines(told, dry_run) == ["/copy", f"  {NAME}: {line}"]


def test_a_copy_that_was_not_looked_into_has_no_lines() -> None:
    told = Report("/copy")
    told.add(HubError("it is gone"))
    assert lines(told, False) == []
    assert told.exit_code == 6


def test_json_tells_what_failed() -> None:
    raw: dict[str, Any] = as_json(report(".x"))
    assert raw["copy"] == "/copy"
    assert raw["problems"] == ["b: it broke."]
    (revision,) = raw["revisions"]
    assert revision["failed"] == ["b"]
    assert (revision["send"], revision["send_bytes"], revision["done"]) == (["a", "b"], 2048, 2)


def test_status() -> None:
    there = replace(inventory(STORE, address="/nas", b=-1), verified={key_of(STORE): WHEN})
    found = standings((inventory(STORE, address="/store"), there, "s3://gone"), 2)
    assert table(found, 2, colour=False) == [
        f"{NAME}  2 files, 2.0 KiB, in 1 of at least 2 places",
        "  /store     whole",
        "  /nas       1 of 2 files, read back 2026-11-21 04:00 UTC",
        "  s3://gone  unknown",
    ]
    assert "\x1b[" in table(found, 2, colour=True)[0]
    assert "\x1b[" not in table(standings((inventory(STORE),), 1), 1, colour=True)[0]
