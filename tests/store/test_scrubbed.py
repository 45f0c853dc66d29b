"""What is remembered of former scrubs."""

from __future__ import annotations

import datetime
import json
import threading
from pathlib import Path

import pytest

from server.errors import StoreError
from server.store.scrubbed import Scrubbed

NOW = datetime.datetime(2026, 11, 21, 4, 5, 6, tzinfo=datetime.UTC)


def test_it_remembers_for_each_root(tmp_path: Path) -> None:
    mine, copy = tmp_path / "models", tmp_path / "copy"
    for root, key in ((mine, "a/b/c/d"), (copy, "e/f/g/h")):
        memory = Scrubbed(tmp_path / "state", root)
        memory.note([key], NOW)
        memory.save()
    assert dict(Scrubbed(tmp_path / "state", mine).times) == {"a/b/c/d": NOW}
    assert dict(Scrubbed(tmp_path / "state", copy).times) == {"e/f/g/h": NOW}
    assert dict(Scrubbed(tmp_path / "state", tmp_path / "other").times) == {}


def test_what_is_held_no_more_is_forgotten(tmp_path: Path) -> None:
    memory = Scrubbed(tmp_path, tmp_path)
    memory.note(["a", "b"], NOW)
    memory.save()
    Scrubbed(tmp_path, tmp_path).save(present={"b", "c"})
    assert set(Scrubbed(tmp_path, tmp_path).times) == {"b"}


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    Scrubbed(tmp_path / "state", tmp_path).save(present=())
    assert not (tmp_path / "state").exists()


def test_runs_at_the_same_time_add_up(tmp_path: Path) -> None:
    def note(number: int) -> None:
        memory = Scrubbed(tmp_path, tmp_path)
        memory.note([f"file-{number}"], NOW)
        memory.save()

    threads = [threading.Thread(target=note, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Scrubbed(tmp_path, tmp_path).times) == 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"format": 9, "stores": {}}',
        '{"format": 1, "stores": 3}',
        '{"format": 1, "stores": {"x": 3}}',
    ],
)
def test_a_damaged_memory_is_an_empty_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "scrub.json").write_text(text)
    memory = Scrubbed(tmp_path, tmp_path)
    assert dict(memory.times) == {}
    memory.note(["a"], NOW)
    memory.save()
    assert dict(Scrubbed(tmp_path, tmp_path).times) == {"a": NOW}


def test_a_damaged_time_is_no_time(tmp_path: Path) -> None:
    stores = {str(tmp_path.resolve()): {"a": "yesterday", "b": 3, "c": NOW.isoformat()}}
    (tmp_path / "scrub.json").write_text(json.dumps({"format": 1, "stores": stores}))
    assert dict(Scrubbed(tmp_path, tmp_path).times) == {"c": NOW}


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    memory = Scrubbed(tmp_path / "state", tmp_path)
    memory.note(["a"], NOW)
    with pytest.raises(StoreError, match="what was verified cannot be remembered"):
        memory.save()
