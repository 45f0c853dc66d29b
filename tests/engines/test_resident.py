"""The kernel's account of a process' memory, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.engines.resident import resident
from server.units import MIB

PROGRAM = """\
import mmap, sys
own = bytearray(b"x" * (int(sys.argv[1]) << 20))
with open(sys.argv[2], "rb") as file:
    weights = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
read = sum(weights[at] for at in range(0, len(weights), 4096))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[int]:
    """One that holds 40 MiB of its own and has read a weight file of 24 MiB."""
    weights = tmp_path / "model.gguf"
    weights.write_bytes(os.urandom(24 * MIB))
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "40", str(weights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "ready\n"
        yield running.pid
    finally:
        running.kill()
        running.communicate()


def test_a_process_by_what_is_behind_its_memory(process: int) -> None:
    found = resident([process])
    assert found is not None
    assert found.weights == 24 * MIB
    assert 40 * MIB < found.anonymous < 60 * MIB
    assert MIB < found.other_files < 40 * MIB
    assert found.shared < MIB


def test_what_several_map_counts_once(process: int) -> None:
    alone, twice = resident([process]), resident([process, process])
    assert alone is not None
    assert twice is not None
    # Python itself may still touch a page or two between the readings.
    assert twice.anonymous == pytest.approx(2 * alone.anonymous, rel=0.02)
    assert twice.weights == alone.weights
    assert twice.other_files == pytest.approx(alone.other_files, rel=0.02)


def test_a_process_that_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert resident([ended.pid]) is None
    assert resident([]) is not None
