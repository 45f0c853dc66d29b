"""A real disk that is full: nothing is lost, and what fitted is gone on with."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.store import full_disk
from tests.integration.store.stores import config, fill

pytestmark = pytest.mark.integration

SIZE = 30_000_000


def namespace() -> list[str]:
    """The command that gives a program mounts of its own; root or not."""
    for options in (["-m"], ["-Urm"]):
        command = ["unshare", *options]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


@pytest.mark.skipif(not namespace(), reason="this kernel lets nobody mount a small file system")
def test_what_fitted_is_gone_on_with(tmp_path: Path) -> None:
    copy, source, home = tmp_path / "copy", tmp_path / "source", tmp_path / "home"
    copy.mkdir()
    source.write_bytes(random.Random(9).randbytes(SIZE))
    fill(home, large=9_000_000)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [*namespace(), sys.executable, full_disk.__file__, copy, source, home,
         config(tmp_path, str(copy))],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    planned, full, still_full, grown = json.loads(done.stdout)
    assert planned["code"] == 4
    assert "has too little space" in planned["said"]
    assert planned["there"] <= 2  # the marker, and perhaps the lock: nothing was sent
    for report in (full, still_full):
        assert "is full" in report["error"]
        assert "28.6 MiB are needed" in report["error"]
        assert "goes on" in report["error"]
        assert not report["whole"]
        assert full_disk.DISK / 2 < report["part"] <= full_disk.DISK
    assert still_full["first_told"] == full["part"]
    assert grown["first_told"] == still_full["part"]
    assert grown["error"] is None
    assert (grown["whole"], grown["part"]) == (True, 0)
