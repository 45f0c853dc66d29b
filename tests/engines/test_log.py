from __future__ import annotations

import stat
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.log import LONGEST_LINE, EngineLog


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=200),
    cuts=st.lists(st.integers(0, 800), max_size=8),
)
def test_lines_are_the_same_however_the_bytes_are_split(text: str, cuts: list[int]) -> None:
    log = EngineLog(Path("/dev/null/nowhere"))
    data = text.encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in pairwise(edges):
        log.feed(data[start:end])
    log.end()
    lines = text.split("\n")
    assert list(log.tail()) == (lines if lines[-1] else lines[:-1])


def test_the_tail_is_bounded_in_lines_and_in_their_length(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "x.log", tail=3)
    log.feed(b"1\n2\n3\n4\n")
    assert log.tail() == ("2", "3", "4")
    assert log.tail(2) == ("3", "4")
    assert log.tail(0) == ()
    log.feed(b"x" * (3 * LONGEST_LINE))
    assert max(map(len, log.tail())) == LONGEST_LINE
    log.end()


def test_a_listener_hears_every_line(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "x.log")
    heard: list[str] = []
    log.on_line = heard.append
    log.feed(b"one\r\ntwo\nthr")
    assert heard == ["one", "two"]
    log.end()
    assert heard == ["one", "two", "thr"]


def test_what_an_edit_does_not_keep_is_nowhere(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "x.log")
    log.feed(b"before\n")
    log.edit = lambda line: None if "secret" in line else line.upper()
    log.feed(b"one\nsec")
    log.feed(b"ret\ntwo")
    log.end()
    assert log.tail() == ("before", "ONE", "TWO")
    assert log.path.read_text() == "before\nONE\nTWO\n"
    log.begin()
    log.feed(b"secret\n")
    assert log.tail() == ("secret",)


def test_the_file_is_private_continued_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "x.log"
    first = EngineLog(path, file_limit=100)
    first.feed(b"a" * 60 + b"\n")
    first.end()
    second = EngineLog(path, file_limit=100)
    second.feed(b"b" * 60 + b"\n")
    second.feed(b"c\n")
    second.end()
    assert path.read_bytes() == b"c\n"
    assert path.with_name("x.log.1").read_bytes() == b"a" * 60 + b"\n" + b"b" * 60 + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["/dev/full", "/proc/nowhere/x.log"])
def test_a_disk_that_takes_nothing_costs_only_the_file(place: str) -> None:
    log = EngineLog(Path(place))
    log.feed(b"one\n")
    log.feed(b"two\n")
    log.end()
    assert log.tail() == ("one", "two")
