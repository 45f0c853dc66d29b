from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from server.engines.survey import largest, survey
from server.hardware.machine import Process
from server.planning.device import RAM_ID

MIB = 1024**2
HOLD = "held = bytearray(b'x') * (256 << 20); print('there', flush=True); input()"


def test_what_our_own_processes_hold_counts_as_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        stranger = survey(tmp_path, [])
        ours = survey(tmp_path, [holder.pid])
        holder.kill()
    more = ours.pools()[RAM_ID] - stranger.pools()[RAM_ID]
    assert 100 * MIB < more < 400 * MIB, "256 MiB, but for what others do meanwhile"


def test_the_strangers_that_hold_most_are_named() -> None:
    sizes = (2000, 100, 5000, None, 3000, 4000)
    processes = [Process(pid, "x", size and size * MIB) for pid, size in enumerate(sizes)]
    assert [one.pid for one in largest(processes)] == [2, 5, 4]


def test_a_process_that_is_gone_is_nobody(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert survey(tmp_path, [gone.pid]).ram.free > 0
