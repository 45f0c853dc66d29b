"""SIGKILL at random points, and a disk that fills up: nothing wrong is kept, nothing right lost."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.store.transfer.journal import Journal
from tests.integration.store.transfer.fetching import LARGE, SEGMENT, Repository

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("fetch_program.py")
POINTS = int(os.environ.get("HOLDFAST_TEST_KILLS", "200"))
JOBS = 4
SMALL_SEGMENT = 16 * 1024


@pytest.fixture
def given(repository: Repository, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    file = repository.files[LARGE]
    wants = {
        "path": LARGE, "part": str(repository.folder / f"{LARGE}.part"), "bytes": file.bytes,
        "sha256": file.sha256, "git_oid": file.git_oid, "url": repository.url(LARGE).url,
        "segment": SMALL_SEGMENT, "jobs": JOBS, "limit_rate": 20_000_000,
    }  # fmt: skip
    path = tmp_path / "wants.json"
    path.write_text(json.dumps(wants), encoding="utf-8")
    return wants, path


@pytest.fixture
def killer(given: tuple[dict[str, Any], Path]) -> Iterator[subprocess.Popen[str]]:
    program = subprocess.Popen(
        [sys.executable, str(PROGRAM), "kill", str(given[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        yield program
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(30) == 0


def killed(killer: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    assert killer.stdin is not None
    assert killer.stdout is not None
    killer.stdin.write(f"{seconds}\n")
    killer.stdin.flush()
    report: dict[str, Any] = json.loads(killer.stdout.readline())
    return report


def assert_no_wrong_byte(wants: dict[str, Any], right: bytes) -> None:
    """Whatever the journal vouches for is right; and so is a file that has none any more."""
    part = Path(wants["part"])
    if not part.exists():
        return
    found = part.read_bytes()
    about = {key: wants[key] for key in ("bytes", "sha256", "git_oid")}
    recorded = Journal(part, about).read()
    if recorded is None:
        assert len(found) < len(right) or found == right
        return
    for index in recorded.crcs:
        here = slice(index * recorded.segment, (index + 1) * recorded.segment)
        assert found[here] == right[here], index


def test_killed_at_any_point_it_goes_on(
    repository: Repository, given: tuple[dict[str, Any], Path], killer: subprocess.Popen[str]
) -> None:
    wants = given[0]
    right = repository.files[LARGE].location.read_bytes()
    part = Path(wants["part"])
    chance = random.Random(20261121)
    vouched, resumed_once, finished = 0, 0, 0
    for _ in range(POINTS):
        report = killed(killer, chance.uniform(0.0, 0.11))
        assert report.get("error") is None, report["error"]
        assert_no_wrong_byte(wants, right)
        if report["resumed"] is not None:
            # At most one unfinished segment of each connection is lost.
            assert report["resumed"] >= vouched - JOBS * SMALL_SEGMENT
            resumed_once += report["resumed"] > 0
            vouched = max(report["progress"], report["resumed"])
        if report["done"]:
            finished += 1
            assert part.read_bytes() == right
            assert [one.name for one in part.parent.iterdir()] == [part.name]
            part.unlink()
            vouched = 0
    assert resumed_once > POINTS / 10
    assert finished > 3
    repository.fetch(repository.want(LARGE))
    repository.assert_right(LARGE)


def namespace() -> list[str]:
    """The command that gives a program mounts of its own; root or not."""
    for options in (["-m"], ["-Urm"]):
        command = ["unshare", *options]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


@pytest.mark.skipif(not namespace(), reason="this kernel lets nobody mount a small file system")
def test_a_full_disk_loses_nothing(
    repository: Repository, given: tuple[dict[str, Any], Path]
) -> None:
    wants, path = given
    size = 20 * SEGMENT
    done = subprocess.run(
        [*namespace(), sys.executable, str(PROGRAM), "full", str(path), str(size)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, still_full, grown = json.loads(done.stdout)
    for report in (full, still_full):
        assert "the disk is full" in report["error"]
        assert "more" in report["error"]
        assert "are free there" in report["error"]
        assert report["files"] == [f"{LARGE}.part", f"{LARGE}.part.journal"]
    # What fitted is kept: all but the pages of the journal and the segments that were unfinished.
    assert still_full["resumed"] >= size - (2 * JOBS + 8) * SMALL_SEGMENT
    assert grown["resumed"] >= still_full["resumed"]
    assert grown["error"] is None
    assert grown["files"] == [f"{LARGE}.part"]
    right = repository.files[LARGE].location.read_bytes()
    assert grown["sha256"] == hashlib.sha256(right).hexdigest() == wants["sha256"]
