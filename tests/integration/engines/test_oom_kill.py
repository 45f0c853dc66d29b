"""A real control group whose memory runs out: the kernel kills the engine, and the fleet learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.hardware import cgroup
from server.units import MIB
from tests.integration.supervised import PATIENCE

pytestmark = pytest.mark.integration

LIMIT = 950 * MIB
"""Two slots and Holdfast take 0.7 GB, four 1.3 GB."""

FLEET = """
import asyncio, json, sys
from pathlib import Path
from tests.integration.fleets import Harbour, ask, berth, fitted

async def main():
    harbour = Harbour(Path(sys.argv[1]), Path(sys.argv[2]))
    large = berth("large", slots=4, context=262_144, residency="on demand")
    async with harbour.fleet(large, lower=fitted) as fleet:
        member = fleet.get("large")
        tokens = await ask(member)
        why = [engine.last_error.why for engine in harbour.made if engine.last_error]
        print(json.dumps({"tokens": tokens, "steps": member.steps, "why": why}))

asyncio.run(main())
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory control group of `LIMIT` bytes below our own."""
    mounts = cgroup.parse_mounts(Path("/proc/self/mountinfo").read_text())
    own = cgroup.folders("memory", Path("/proc/self/cgroup").read_text(), mounts)
    if not own:
        pytest.skip("this system has no memory control groups")
    found = Path(own[0]) / f"holdfast-test-{os.getpid()}"
    try:
        found.mkdir()
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error}")
    try:
        if not bound(found):
            pytest.skip("the memory of a control group cannot be limited here")
        yield found
    finally:
        remove(found)


def bound(folder: Path) -> bool:
    """Limit its memory, and its swap where that is accounted for. Whether it can be limited."""
    if (folder / "memory.limit_in_bytes").exists():
        names, swap = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), str(LIMIT)
    else:
        names, swap = ("memory.max", "memory.swap.max"), "0"
    if not (folder / names[0]).exists():  # the controller is not passed on to our groups
        return False
    (folder / names[0]).write_text(str(LIMIT))
    if (folder / names[1]).exists():
        (folder / names[1]).write_text(swap)
    return True


def remove(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:  # its last process is not quite gone
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_killed_by_the_kernel_it_goes_one_step_down(
    group: Path, program: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FLEET, str(program), str(tmp_path)],
        cwd=Path(__file__).parents[3],
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["tokens"], told["steps"]) == (4, ["2 slots instead of 4 slots"])
    assert "the kernel killed it for want of memory" in told["why"][0]
