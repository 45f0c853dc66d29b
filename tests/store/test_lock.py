"""The lock, held by other processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.errors import StoreError, StoreLocked
from server.store.lock import store_lock

HOLDER = """
import sys
from pathlib import Path
from server.store.lock import store_lock
with store_lock(Path(sys.argv[1]), "holdfast pull \\x1b[2Jqwen"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(models: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(models)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_told_who_holds_it(tmp_path: Path) -> None:
    models = tmp_path / "home" / "models"
    with (
        holder(models) as process,
        pytest.raises(StoreLocked) as caught,
        store_lock(models, "mine"),
    ):
        pass
    assert f"process {process.pid} (holdfast pull ?[2Jqwen) is writing" in caught.value.what
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_it_ends_with_its_holder_however_that_ends(tmp_path: Path, how: int | None) -> None:
    with holder(tmp_path) as process:
        if how is None:
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(how)
        process.wait(timeout=30)
        with store_lock(tmp_path, "mine"):
            pass


def test_it_can_be_taken_again_and_leaves_no_name_behind(tmp_path: Path) -> None:
    for _ in range(2):
        with store_lock(tmp_path, "mine"):
            assert "mine" in (tmp_path / ".lock").read_text()
        assert (tmp_path / ".lock").read_text() == ""


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be locked"), store_lock(tmp_path / "file", "x"):
        pass
