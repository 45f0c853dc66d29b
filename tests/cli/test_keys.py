"""`holdfast keys`: what its options make of a key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from server import cli
from server.catalogue.router import Limits
from server.cli.keys.terms import changed
from server.errors import ConfigError
from server.ledger.keys import ORDINARY, Key, KeyBook, Terms
from server.units import USD


@pytest.fixture
def holdfast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["holdfast", "keys", *arguments, "--home", str(tmp_path)])
        with pytest.raises(SystemExit) as ended:
            cli.run()
        return int(ended.value.code or 0)

    return run


def only_key(home: Path) -> Key:
    (key,) = KeyBook(home / "keys.json").all()
    return key


def test_a_key_with_everything(tmp_path: Path, holdfast: Any) -> None:
    assert not holdfast(
        "create", "laptop", "--team", "lab", "--role", "admin", "--day", "5 USD", "--month",
        "$100", "--tokens-day", "2M", "--tokens-month", "3.5M", "--rpm", "60", "--tpm", "20k",
        "--concurrency", "4", "--model", "auto", "--model", "qwen3.5-*", "--local-only",
        "--keep-text",
    )  # fmt: skip
    assert only_key(tmp_path).terms == Terms(
        role="admin",
        team="lab",
        limits=Limits(5 * USD, 100 * USD, 2_000_000, 3_500_000, 60, 20_000, 4),
        models=("auto", "qwen3.5-*"),
        local_only=True,
        keep_text=True,
    )


def test_a_key_without_options_may_do_everything(tmp_path: Path, holdfast: Any) -> None:
    assert not holdfast("create", "laptop")
    assert only_key(tmp_path).terms == ORDINARY


def test_a_day_has_no_more_than_its_month(
    tmp_path: Path, holdfast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert holdfast("create", "laptop", "--day", "6 USD", "--month", "5 USD") == 2
    assert "--day is more than --month" in capsys.readouterr().err
    assert not holdfast("create", "laptop", "--tokens-day", "2M")
    assert holdfast("set", "laptop", "--tokens-month", "1M") == 2
    assert "--tokens-day is more than --tokens-month" in capsys.readouterr().err
    assert only_key(tmp_path).limits == Limits(tokens_day=2_000_000)


def test_a_team_or_a_model_that_there_is_not_is_told_at_once(
    tmp_path: Path, holdfast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "team.toml"
    config.write_text('[[team]]\nid = "lab"\n')
    assert not holdfast("create", "a", "--team", "lab", "--model", "auto", "--config", str(config))
    assert "warning" not in capsys.readouterr().err
    assert not holdfast("create", "b", "--team", "lba", "--config", str(config))
    assert "the team lba, which is not configured. No limit of the team" in capsys.readouterr().err
    assert not holdfast("set", "a", "--model", "gtp-*", "--config", str(config))
    assert "may ask for gtp-*, and nothing has such a name." in capsys.readouterr().err


def test_what_became_of_a_key_as_json(
    tmp_path: Path, holdfast: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    holdfast("create", "laptop", "--rpm", "60")
    capsys.readouterr()
    for verb, live in ((("set", "laptop", "--rpm", "9"), True), (("revoke", "laptop"), False)):
        assert not holdfast(*verb, "--json")
        told = capsys.readouterr()
        assert not told.err
        key = orjson.loads(told.out)
        assert (key["id"], key["limits"]["rpm"]) == (only_key(tmp_path).id, 9)
        assert (key["revoked"] is None) is live


def test_what_is_changed_and_what_is_not(tmp_path: Path, holdfast: Any) -> None:
    assert not holdfast("create", "laptop", "--day", "5 USD", "--rpm", "60", "--local-only")
    before = only_key(tmp_path)
    assert not holdfast("set", "laptop", "--day", "none", "--month", "9 USD", "--no-local-only")
    after = only_key(tmp_path)
    assert after.terms == Terms(limits=Limits(month=9 * USD, rpm=60))
    assert (after.id, after.sha256, after.created) == (before.id, before.sha256, before.created)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Terms(team="lab", models=("a",), limits=Limits(rpm=3))),
        ({"team": "none"}, Terms(models=("a",), limits=Limits(rpm=3))),
        ({"model": ["none"]}, Terms(team="lab", limits=Limits(rpm=3))),
        ({"model": ["b", "c"]}, Terms(team="lab", models=("b", "c"), limits=Limits(rpm=3))),
        ({"rpm": "none"}, Terms(team="lab", models=("a",))),
        ({"tpm": "1,000"}, Terms(team="lab", models=("a",), limits=Limits(rpm=3, tpm=1000))),
        (
            {"month": "1,000,000,000 USD", "tokens_month": "1000000G"},
            Terms(
                team="lab",
                models=("a",),
                limits=Limits(month=10**9 * USD, tokens_month=10**15, rpm=3),
            ),
        ),
        ({"keep_text": False}, Terms(team="lab", models=("a",), limits=Limits(rpm=3))),
    ],
)
def test_options(given: dict[str, Any], expected: Terms) -> None:
    terms = Terms(team="lab", models=("a",), limits=Limits(rpm=3))
    assert changed(terms, given) == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"day": "5"}, "--day: '5' is not an amount"),
        ({"month": "five dollars"}, "--month"),
        ({"rpm": "0"}, "--rpm: '0' is less than 1"),
        ({"tokens_day": "-3"}, "--tokens-day: '-3' is not a number such as 500, 20k or 2M"),
        ({"tpm": "1e9"}, "--tpm"),
        ({"day": "20000000000 USD"}, "--day: '20000000000 USD' is more than $1,000,000,000.00"),
        ({"month": "$1,000,000,000.000000001"}, "--month"),
        ({"tokens_day": "999999999999G"}, "--tokens-day: '999999999999G' is more than"),
        ({"concurrency": "1000001G"}, "--concurrency: '1000001G' is more than"),
        ({"role": "root"}, "--role 'root' is not known. Choose user or admin"),
        ({"team": "The Lab"}, "is not the name of a team"),
    ],
)
def test_bad_options_are_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(ORDINARY, given)
    assert told in caught.value.sentence


def test_the_list(holdfast: Any, capsys: pytest.CaptureFixture[str]) -> None:
    holdfast("create", "laptop", "--team", "lab", "--day", "5 USD", "--rpm", "60", "--local-only")
    holdfast("create", "ops", "--role", "admin")
    holdfast("revoke", "ops")
    capsys.readouterr()
    assert not holdfast("list")
    heading, laptop, ops = capsys.readouterr().out.splitlines()
    assert heading.split() == ["ID", "CREATED", "STATE", "ROLE", "TEAM", "NAME", "RULES"]
    assert laptop.endswith("lab   laptop  $5.00 a day, 60 requests a minute, local only")
    assert ops.split()[2:] == ["revoked", "admin", "-", "ops"]
    assert not holdfast("list", "--json")
    told = orjson.loads(capsys.readouterr().out)
    assert [one["name"] for one in told] == ["laptop", "ops"]
    assert told[0]["limits"] | {"day": "", "rpm": 0} == {
        "day": "", "month": None, "tokens_day": None, "tokens_month": None, "rpm": 0, "tpm": None,
        "concurrency": None,
    }  # fmt: skip
    assert (told[0]["limits"]["day"], told[0]["limits"]["rpm"]) == ("5.00 USD", 60)
    assert "sha256" not in told[0]
