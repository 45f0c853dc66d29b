"""What long work tells in a log, and on a terminal."""

from __future__ import annotations

from tests.cli.telling import logged, shown

PROGRAM = """
import time
from server.cli import work
work._LINE_EVERY = 0.05
with work.Work("/copy", 1_000_000) as bar:
    bar.say("one thing to tell [with brackets]")
    for _ in range(10):
        bar.on_bytes(100_000)
        time.sleep(0.02)
    bar.on_bytes(100_000)  # again: something was repeated
"""


def test_lines_in_a_log() -> None:
    said, *lines = logged(PROGRAM)
    assert said == "one thing to tell [with brackets]"
    assert lines
    assert all(line.startswith("/copy: ") and line.endswith(" left") for line in lines)
    assert all("% of 976.6 KiB, " in line and "/s, " in line for line in lines)
    assert not any("110%" in line for line in lines)


def test_a_bar_on_a_terminal() -> None:
    said = shown(PROGRAM)
    assert "one thing to tell [with brackets]" in said
    assert "/copy" in said
    assert "kB" in said or "KiB" in said
