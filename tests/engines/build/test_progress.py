from __future__ import annotations

import io

from rich.console import Console

from server.engines.build.log import Progress
from server.engines.build.progress import ProgressDisplay


def test_a_terminal_gets_a_bar() -> None:
    screen = io.StringIO()
    with ProgressDisplay(Console(file=screen, force_terminal=True, width=80)) as display:
        display.show(Progress("configuring"))
        display.show(Progress("compiling", 134, 268))
    assert "compiling" in screen.getvalue()
    assert "134/268" in screen.getvalue()


def test_a_log_gets_a_line_for_each_phase_and_tenth() -> None:
    written = io.StringIO()
    with ProgressDisplay(Console(file=written)) as display:
        display.show(Progress("configuring"))
        for step in range(1, 269):
            display.show(Progress("compiling", step, 268))
        display.show(Progress("packing"))
    lines = [line.split(" (")[0].strip() for line in written.getvalue().splitlines()]
    assert lines[:3] == ["configuring", "compiling", "compiling, 10 %: 27 of 268"]
    assert lines[-2:] == ["compiling, 100 %: 268 of 268", "packing"]
    assert len(lines) == 13
