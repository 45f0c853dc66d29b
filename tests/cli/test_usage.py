"""`holdfast usage` over a book that a server is writing at the same time."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from server import cli
from server.chat.usage import Usage
from server.ledger.book import Book
from server.ledger.entry import Entry
from server.ledger.keys import KeyBook
from server.units import USD
from tests.ledger.money import DAY, NOON, account, entry, reservation

MONTH = ("--since", "2026-11-01", "--until", "2026-11-30")


def asked(model: str, cost: int, saved: int, **others: Any) -> Entry:
    local = model.startswith("qwen")
    made = entry(cost, 0, model=model, route="local" if local else "cloud", saved=saved)
    return replace(made, **({"usage": Usage(1000, 200, 600)} | others))


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    """Of a server that has just done some work, and is not finished."""
    clock = NOON - DAY
    key, _ = KeyBook(tmp_path / "keys.json").create("laptop")
    book = Book(tmp_path / "ledger" / "book.db", lambda: clock)
    await book.start()
    book.record(asked("qwen3.5-9b:q4_k_m", 0, 2 * USD, key_id=key.id))
    book.record(asked("qwen3.5-9b:q4_k_m", 0, 0, key_id=key.id, outcome="failed"))
    book.record(asked("cloud/large", 3 * USD, 0, team="lab"))
    clock = NOON
    book.record(asked("cloud/large", USD, 0, final=False, outcome="failed"))
    book.record(asked("cloud/small", USD // 2, 0))
    await book.reserve(account(), reservation(USD // 4, 5, "req_1", b"twelve bytes"))
    while book.health.waiting:
        await asyncio.sleep(0.01)
    yield tmp_path
    await book.close()


async def holdfast(
    home: Path, *arguments: str, code: int = 0, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """What the command prints; run beside the loop, which the server's book goes on in."""
    before, sys.argv = sys.argv, ["holdfast", *arguments, "--home", str(home)]
    try:
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(cli.run)
    finally:
        sys.argv = before
    assert ended.value.code == code, capsys.readouterr()
    told = capsys.readouterr()
    return told.out, told.err


async def test_by_day(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = await holdfast(home, "usage", *MONTH, capsys=capsys)
    assert out.splitlines() == [
        "DAY         REQUESTS  ERRORS  LOCAL  PROMPT  CACHED  OUTPUT  SPENT  SAVED",
        "2026-11-20         3       1      2   3,000   1,800     600  $3.00  $2.00",
        "2026-11-21         1       0      0   2,000   1,200     400  $1.50  $0.00",
        "total              4       1      2   5,000   3,000   1,000  $4.50  $2.00",
        "$0.25 more are reserved for requests under way.",
        "$4.50 spent; all of it in the cloud would have cost $6.50: $2.00 saved (31%).",
    ]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("model", {"cloud/large": (1, 4.0), "cloud/small": (1, 0.5), "qwen3.5-9b:q4_k_m": (2, 0)}),
        ("route", {"cloud": (2, 4.5), "local": (2, 0)}),
        ("team", {"lab": (1, 3), "": (3, 1.5)}),
        ("provider", {"cloud": (2, 4.5), "": (2, 0)}),
    ],
)
async def test_otherwise(
    home: Path,
    by: str,
    expected: dict[str, tuple[int, float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, _ = await holdfast(home, "usage", "--by", by, "--json", *MONTH, capsys=capsys)
    rows = {row[by]: row for row in orjson.loads(out)["rows"]}
    assert list(rows) == list(expected), "dearest first"
    told = {name: (row["requests"], row["spent_nano_usd"] / USD) for name, row in rows.items()}
    assert told == expected


async def test_keys_and_what_has_no_name_are_shown_in_words(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (key,) = KeyBook(home / "keys.json").all()
    out, _ = await holdfast(home, "usage", "--by", "key", *MONTH, capsys=capsys)
    assert [row.split("  ")[0] for row in out.splitlines()[1:4]] == [
        "k",
        f"laptop ({key.id})",
        "total",
    ]
    out, _ = await holdfast(home, "usage", "--by", "team", *MONTH, capsys=capsys)
    assert [row.split("  ")[0] for row in out.splitlines()[1:3]] == ["lab", "(no team)"]


async def test_what_nobody_answered_was_not_answered_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = Book(tmp_path / "ledger" / "book.db", lambda: NOON)
    await book.start()
    book.record(asked("qwen3.5-9b:q4_k_m", 0, 0))
    book.record(asked("", 0, 0, route="local", outcome="failed", usage=Usage(0, 0)))
    await book.close()
    out, _ = await holdfast(tmp_path, "usage", "--json", *MONTH, capsys=capsys)
    total = orjson.loads(out)["total"]
    assert (total["requests"], total["errors"], total["local"]) == (2, 1, 1)


async def test_a_part_of_the_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = await holdfast(
        home, "usage", "--since", "2026-11-21", "--until", "2026-11-21", "--json", capsys=capsys
    )
    told = orjson.loads(out)
    assert (told["since"], told["until"], told["by"]) == ("2026-11-21", "2026-11-21", "day")
    assert told["rows"] == [
        {
            "day": "2026-11-21", "requests": 1, "errors": 0, "local": 0, "prompt_tokens": 2000,
            "cached_tokens": 1200, "output_tokens": 400, "spent_nano_usd": 1_500_000_000,
            "saved_nano_usd": 0,
        }
    ]  # fmt: skip
    assert told["total"]["spent_nano_usd"] == 1_500_000_000
    assert told["reserved_nano_usd"] == 250_000_000


async def test_csv(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = await holdfast(home, "usage", "--by", "key", "--csv", *MONTH, capsys=capsys)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["name"], row["requests"], row["spent_usd"], row["saved_usd"]) for row in rows] == [
        ("", "2", "4.50", "0.00"),
        ("laptop", "2", "0.00", "2.00"),
    ]


async def test_a_time_in_which_nothing_was_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--since", "2020-01-01", "--until", "2020-12-31")
    out, _ = await holdfast(home, "usage", *arguments, capsys=capsys)
    assert out.startswith("Nothing was asked from 2020-01-01 to 2020-12-31.")
    out, _ = await holdfast(home, "usage", *arguments, "--csv", capsys=capsys)
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--by", "colour"], 2, "Choose one of day, key, model, route, team, provider"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], 2, "is later than --until 2026-11-01"),
        (["--csv", "--json"], 2, "one too many"),
        (["--since", "yesterday"], 2, "'%Y-%m-%d'"),
    ],
)
async def test_mistakes_are_told(
    home: Path, arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = await holdfast(home, "usage", *arguments, code=code, capsys=capsys)
    assert told in err
    assert "Traceback" not in err


async def test_without_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = await holdfast(tmp_path, "usage", code=3, capsys=capsys)
    assert "there is no ledger at" in err
    _, err = await holdfast(tmp_path, "usage", "renew", code=3, capsys=capsys)
    assert "no damaged book was set aside" in err


async def test_what_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = await holdfast(home, "usage", "egress", capsys=capsys)
    heading, row = out.splitlines()
    assert heading.split()[:4] == ["ROW", "TIME", "(UTC)", "KEY"]
    assert row.split()[:9] == [
        "1", "2026-11-21", "12:00:00", "k", "api.cloud.example", "cloud/large", "12", "B", "req_1"
    ]  # fmt: skip
    out, _ = await holdfast(home, "usage", "egress", "--json", capsys=capsys)
    (told,) = orjson.loads(out)
    assert (told["seq"], told["bytes"], told["request_id"]) == (1, 12, "req_1")
    assert "twelve" not in out


async def test_the_log_of_what_left_is_verified(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = await holdfast(home, "usage", "verify-egress", capsys=capsys)
    first, second = out.splitlines()
    assert first == "1 row: none was changed, removed, inserted or moved."
    known = second.removeprefix("head ")
    out, _ = await holdfast(
        home, "usage", "verify-egress", "--head", known, "--json", capsys=capsys
    )
    assert orjson.loads(out) == {"rows": 1, "head": known, "fault": None}
    capitals = f" {known.upper()}"
    await holdfast(home, "usage", "verify-egress", "--head", capitals, capsys=capsys)
    _, err = await holdfast(home, "usage", "verify-egress", "--head", "ab", code=2, capsys=capsys)
    assert "'ab' is no head of a log" in err
    wrong = known[1:] + known[0]
    _, err = await holdfast(home, "usage", "verify-egress", "--head", wrong, code=3, capsys=capsys)
    assert "does not begin with what the given head stood for" in err
    with sqlite3.connect(home / "ledger" / "book.db") as book:
        book.execute("UPDATE egress SET host = 'elsewhere.example'")
    book.close()
    _, err = await holdfast(home, "usage", "verify-egress", code=3, capsys=capsys)
    assert "row 1 is not the one that was written there" in err
    out, _ = await holdfast(home, "usage", "verify-egress", "--json", code=3, capsys=capsys)
    assert orjson.loads(out)["fault"]["seq"] == 1


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("chain = 'é'", "api.cloud.example"),
        ("chain = x'00'", "api.cloud.example"),
        ("host = x'00'", "b'\\x00'"),
        ("time = 'noon'", "noon"),
        ("time = 1e300", "1e+300"),
        ("bytes = 'many'", "many"),
    ],
)
async def test_a_row_of_what_left_may_have_become_anything(
    home: Path, change: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(home / "ledger" / "book.db") as book:
        book.execute(f"UPDATE egress SET {change}")
    book.close()
    _, err = await holdfast(home, "usage", "verify-egress", code=3, capsys=capsys)
    assert "row 1 is not the one that was written there" in err
    out, _ = await holdfast(home, "usage", "egress", capsys=capsys)
    assert shown in out
    out, _ = await holdfast(home, "usage", "egress", "--json", capsys=capsys)
    assert len(orjson.loads(out)) == 1


async def test_without_the_secret_nothing_is_proven(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ledger" / "book.db.secret").unlink()
    _, err = await holdfast(home, "usage", "verify-egress", code=3, capsys=capsys)
    assert "the secret of the ledger" in err
    assert "book.db.secret: No such file or directory. Without it" in err
