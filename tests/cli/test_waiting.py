"""What is shown while the running Holdfast does long work."""

from __future__ import annotations

from tests.cli.telling import logged, shown

PROGRAM = """
import time
from server.cli.waiting import Waiting
with Waiting() as waiting:
    waiting.tell({"doing": "b waits for room: a [big] to finish", "progress": None, "stage": None})
    for share in (0.1, 0.2, 0.3):
        waiting.tell({"doing": "loading b", "progress": share, "stage": None})
        time.sleep(0.05)
    waiting.tell({"doing": "loading b", "progress": 0.9, "stage": "warming up"})
"""


def test_lines_in_a_log_one_for_each_step() -> None:
    assert logged(PROGRAM) == [
        "b waits for room: a [big] to finish",
        "loading b, 10%",
        "loading b: warming up, 90%",
    ]


def test_a_bar_on_a_terminal() -> None:
    said = shown(PROGRAM)
    assert "a [big] to finish" in said
    assert "loading b: warming up" in said
    assert "━" in said
