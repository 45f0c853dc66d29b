"""What a pull tells: before it, of its files; while it runs, of its events."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import orjson
import pytest

from server.catalogue import Store
from server.cli.pull import report, show, steps, words
from server.cli.pull.tally import Tally
from server.errors import ConfigError, HubError, StoreError
from server.store.pull.events import (
    Event,
    Failed,
    Linked,
    NotLinked,
    Planned,
    Published,
    Surveyed,
    Unchanged,
    Waiting,
)
from server.store.pull.order import Order
from server.store.pull.plan import Item, Plan, Refused
from server.store.pull.rate import Rate
from server.store.transfer import FileDone, FileFailed, FileStarted, Progress, Retrying
from server.units import GIB, MIB

COMMIT = "c" * 40
FOLDER = Path("/store/models/org/model") / COMMIT
WEIGHTS = Item("w.gguf", 3 * GIB, "ab" * 32, None, "fetch", lfs=True)
CONFIG = Item("config.json", 700, None, "1" * 40, "keep")
PLAN = Plan(
    Order("org/model"),
    COMMIT,
    FOLDER,
    (CONFIG, WEIGHTS),
    (Refused("x.py", "it is code"),),
    source="http://hub",
)


def preview(*plans: Plan, **changes: object) -> report.Preview:
    given = {"staged": 0, "free": 100 * GIB, "reserve": 10 * GIB, "rate": None} | changes
    return report.Preview(plans, Path("/store/models"), **given)  # type: ignore[arg-type]


# ---- Before ----


def test_one_repository_is_told_file_by_file() -> None:
    text = "\n".join(report.lines(preview(PLAN)))
    assert "w.gguf       3,221,225,472  fetch" in text
    assert "config.json            700  keep" in text
    assert "Left out of org/model: x.py (it is code)" in text
    assert "/store/models" in text


def test_several_are_told_as_a_table_and_added_up() -> None:
    other = Plan(Order("org/other"), COMMIT, FOLDER, (WEIGHTS,), source="http://hub")
    lines = list(report.lines(preview(PLAN, other)))
    assert lines[0].startswith("REPOSITORY  REVISION      FILES")
    assert not any("w.gguf" in line for line in lines)
    assert "weights     6.0 GiB (6,442,450,944 bytes, 6.44 GB)" in lines


def test_what_nobody_knows_is_told_as_not_known() -> None:
    order = Order("org/model", COMMIT, weights_bytes=5 * GIB)
    known = (Item("w-1.safetensors", None, None, None, "fetch"),)
    made = Plan(order, COMMIT, FOLDER, known, silent="http://hub cannot be reached")
    text = "\n".join(report.lines(preview(made, Plan(Order("a/b"), None, None, (), silent="x"))))
    assert ">1  >5,368,709,120" in text
    assert "file sizes, sha256" in text
    assert "revision, files" in text
    assert "5.37 GB), and 1 of unknown size" in text
    assert "The hub was not heard (http://hub cannot be reached; x)" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "time        not known: nothing was pulled here yet"),
        (
            {"rate": Rate(30 * MIB, datetime.date(2026, 11, 20))},
            "time        1m 42s at the 30.0 MiB/s of the last pull (2026-11-20)",
        ),
        ({"free": 12 * GIB}, "10.0 GiB of which stay free: 1.0 GiB too few"),
        ({"staged": GIB}, "to fetch    2.0 GiB (2,147,483,648 bytes, 2.15 GB)"),
    ],
)
def test_disk_and_time(changes: dict[str, object], told: str) -> None:
    assert told in "\n".join(report.lines(preview(PLAN, **changes)))


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1000 B (1,000 bytes, 1 kB)"),
        (1_219_356_936_888, "1.1 TiB (1,219,356,936,888 bytes, 1.22 TB)"),
    ],
)
def test_sizes_as_programs_and_disks_say_them(count: int, told: str) -> None:
    assert report.sizes(count) == told


def test_the_document_holds_every_file() -> None:
    document = json.loads(orjson.dumps(report.document(preview(PLAN, free=1))))
    (plan,) = document["plans"]
    assert plan["files"][1] == {
        "path": "w.gguf",
        "bytes": 3 * GIB,
        "sha256": "ab" * 32,
        "git_oid": None,
        "action": "fetch",
    }
    assert plan["refused"] == [{"path": "x.py", "why": "it is code"}]
    assert document["lacking"] == 13 * GIB - 1
    assert document["seconds"] is None


# ---- Meanwhile ----

STARTED = Surveyed(1, 2, 100 * MIB)


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([STARTED], "0% of 100.0 MiB, 0 B/s, ? left, 0 of 2 files"),
        (
            [STARTED, FileStarted("a", 60 * MIB, 0), Progress("a", 20 * MIB)],
            "20% of 100.0 MiB, 2.0 MiB/s, 40.0 s left, 0 of 2 files",
        ),
        (  # what an earlier run left is neither fetched nor fast
            [STARTED, FileStarted("a", 60 * MIB, 50 * MIB), Progress("a", 60 * MIB)],
            "20% of 50.0 MiB, 1.0 MiB/s, 40.0 s left, 0 of 2 files",
        ),
        (
            [STARTED, FileStarted("a", 60 * MIB, 50 * MIB), FileDone("a", "")],
            "20% of 50.0 MiB, 1.0 MiB/s, 40.0 s left, 1 of 2 files",
        ),
        (  # found to be wrong, and begun again
            [STARTED, FileStarted("a", 60 * MIB, 0), Progress("a", 60 * MIB), Progress("a", 0)],
            "0% of 100.0 MiB, 0 B/s, ? left, 0 of 2 files",
        ),
        (
            [
                STARTED,
                FileStarted("a", 60 * MIB, 0),
                Progress("a", 9 * MIB),
                FileFailed("a", StoreError("no")),
            ],
            "0% of 100.0 MiB, 0 B/s, ? left, 0 of 2 files",
        ),
    ],
)
def test_how_far_it_is(events: list[Event], line: str) -> None:
    tally = Tally()
    for event in events:
        tally.note(event, 50.0)
    assert tally.line(60.0) == line


def test_after_a_pause_it_counts_anew() -> None:
    tally = Tally()
    tally.note(STARTED, 50.0)
    tally.note(FileStarted("a", 60 * MIB, 0), 50.0)
    tally.note(FileDone("a", ""), 60.0)
    tally.note(Surveyed(1, 1, 40 * MIB), 100.0)
    assert tally.line(110.0) == "0% of 40.0 MiB, 0 B/s, ? left, 0 of 1 files"


def test_what_came_is_summed_up() -> None:
    tally = Tally()
    tally.note(STARTED, 50.0)
    assert tally.summary(60.0) is None
    tally.note(FileStarted("a", 100 * MIB, 0), 50.0)
    tally.note(FileDone("a", ""), 60.0)
    assert tally.summary(60.0) == "Fetched 100.0 MiB in 10.0 s, 10.0 MiB/s"


EVENTS: list[tuple[Event, str]] = [
    (Waiting(3600, "01:00-06:00"), "Waiting 1h 00m for the window 01:00-06:00"),
    (Planned(PLAN), "org/model@cccccccccccc: 1 files to fetch, 3.0 GiB, 1 held"),
    (Linked("a", "reflink", MIB), "a: 1.0 MiB held already (reflink)"),
    (NotLinked("a", FOLDER), f"a: {FOLDER} is not what it should be, so it is fetched"),
    (Retrying("a", "cut", 2.0), "a: cut, again in 2.0 s"),
    (Retrying("a", "gone", 0), "a: gone, another source"),
    (Published("org/model", COMMIT, FOLDER, 2, MIB), "is whole: 2 files, 1.0 MiB, verified"),
    (Unchanged("org/model", COMMIT, FOLDER), "was whole already"),
    (Failed("org/model", HubError("it is gone")), "org/model was not pulled: it is gone."),
    (FileFailed("a", StoreError("no")), "a: no."),
]


@pytest.mark.parametrize(("event", "text"), EVENTS)
def test_what_happens_is_said(event: Event, text: str) -> None:
    assert text in (words.said(event) or "")


@pytest.mark.parametrize("event", [*(event for event, _ in EVENTS), STARTED, FileDone("a", "b")])
def test_every_event_is_json(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    show.JsonLines().tell(event)
    (line,) = capsys.readouterr().out.splitlines()
    kind = json.loads(line)["event"]
    assert kind.replace("_", "") == type(event).__name__.lower()


# ---- Flags ----


def test_flags_go_before_the_configuration() -> None:
    store = Store(jobs=4, limit_rate=10**6, window="01:00-06:00")
    assert steps.with_flags(store, None, None, None) == store
    changed = steps.with_flags(store, 2, "50MB/s", "22:00-06:00")
    assert (changed.jobs, changed.limit_rate, changed.window) == (2, 50_000_000, "22:00-06:00")


@pytest.mark.parametrize(
    ("rate", "window", "told"),
    [("fast", None, "--limit-rate"), ("5", None, "too little"), (None, "1-6", "--window")],
)
def test_a_flag_that_makes_no_sense_is_told(
    rate: str | None, window: str | None, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        steps.with_flags(Store(), None, rate, window)
