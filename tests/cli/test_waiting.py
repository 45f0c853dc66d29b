"""What is shown while the running Holdfast does long work."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

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
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "b waits for room: a [big] to finish",
        "loading b, 10%",
        "loading b: warming up, 90%",
    ]


def test_a_bar_on_a_terminal() -> None:
    main, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run(
        [sys.executable, "-c", PROGRAM], stderr=terminal, check=True, timeout=30, env=environment
    )
    os.close(terminal)
    shown = os.read(main, 1_000_000).decode()
    os.close(main)
    assert "a [big] to finish" in shown
    assert "loading b: warming up" in shown
    assert "━" in shown
