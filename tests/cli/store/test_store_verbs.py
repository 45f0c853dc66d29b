"""`holdfast store ls`, `du` and `rm`, run as programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from server.store.lock import store_lock
from server.store.shelf import Shelf
from tests.store.shelves import FILES, OTHER, REPOSITORY, REVISION, published

pytestmark = pytest.mark.integration

HOLDFAST = [sys.executable, "-c", "from server.cli import main; main()"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "home" / "models")


def holdfast(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HOLDFAST_HOME": str(folder / "home"),
    }
    return subprocess.run(
        [*HOLDFAST, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def copies(folder: Path) -> list[str]:
    """A copy of the store, made by `mirror sync`; the flags that name it."""
    (folder / "copy").mkdir()
    config = folder / "mine.toml"
    config.write_text(f'[store]\ncopies = ["{folder / "copy"}"]\n')
    done = holdfast(folder, "mirror", "sync", "--init", "--config", str(config))
    assert done.returncode == 0, done.stderr
    return ["--config", str(config)]


# ---- ls and du ----


def test_an_empty_store(tmp_path: Path) -> None:
    done = holdfast(tmp_path, "store", "ls")
    assert (done.returncode, done.stdout) == (0, "")
    assert "holds nothing yet. `holdfast pull` fills it" in done.stderr
    assert json.loads(holdfast(tmp_path, "store", "ls", "--json").stdout) == []
    assert json.loads(holdfast(tmp_path, "store", "du", "--json").stdout)["parts"] == {}


def test_what_is_held(tmp_path: Path, shelf: Shelf) -> None:
    published(shelf, licence="mit")
    broken = published(shelf, revision=OTHER)
    (broken.folder / "config.json").unlink()
    shelf.folder("by/hand", OTHER).mkdir(parents=True)
    done = holdfast(tmp_path, "store", "ls")
    heading, *rows, problem = done.stdout.splitlines()
    assert heading.split() == [
        *("REPOSITORY", "REVISION", "FILES", "SIZE", "FETCHED", "STATE", "SERVES")
    ]
    assert [row.split()[:3] for row in rows] == [
        [REPOSITORY, REVISION[:12], "3"],
        [REPOSITORY, OTHER[:12], "3"],
        ["by/hand", OTHER[:12], "0"],
    ]
    assert ["whole" in row for row in rows] == [True, False, False]
    assert problem == (
        f"{REPOSITORY}@{OTHER[:12]}: 1 file is missing or of another size: config.json"
    )
    (told,) = json.loads(holdfast(tmp_path, "store", "ls", REPOSITORY + "@c2", "--json").stdout)
    assert (told["revision"], told["state"], told["licence"]) == (REVISION, "whole", "mit")
    assert told["bytes"] == sum(map(len, FILES.values()))


def test_an_unknown_name_exits_4(tmp_path: Path, shelf: Shelf) -> None:
    published(shelf)
    done = holdfast(tmp_path, "store", "ls", "Qwen/Qwen3.5-8B")
    assert (done.returncode, done.stdout) == (4, "")
    assert f'Did you mean "{REPOSITORY}"?' in done.stderr


def test_room_on_the_disk(tmp_path: Path, shelf: Shelf) -> None:
    volume = published(shelf)
    other = published(shelf, revision=OTHER)
    (other.folder / "README.md").unlink()
    os.link(volume.folder / "README.md", other.folder / "README.md")
    incoming = shelf.incoming(REPOSITORY, REVISION)
    incoming.mkdir(parents=True)
    (incoming / "x.part").write_bytes(b"x" * 5000)
    answer = json.loads(holdfast(tmp_path, "store", "du", "--json").stdout)
    parts = answer["parts"]
    assert parts["downloads under way"]["bytes"] == 5000
    first, second = (parts[f"{REPOSITORY}@{name[:12]}"] for name in (REVISION, OTHER))
    assert first["files"] == second["files"] == 5
    assert second["disk"] < first["disk"]
    assert answer["total"]["files"] == 11
    assert answer["free"] > 0
    lines = holdfast(tmp_path, "store", "du").stdout.splitlines()
    assert lines[-2].startswith("total")
    assert lines[-1].startswith("free on this disk: ")


# ---- rm ----


def test_the_last_good_copy_stays(tmp_path: Path, shelf: Shelf) -> None:
    volume = published(shelf)
    done = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"this is the last good copy of {volume.name}: 3 files, 13 B" in done.stderr
    assert "holdfast mirror sync" in done.stderr
    assert shelf.volumes() == (volume,)
    forced = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes", "--force")
    assert forced.returncode == 0
    assert forced.stdout.startswith(f"removed {volume.name}: 5 files, ")
    assert shelf.volumes() == ()


def test_of_two_revisions_with_the_same_bytes_one_may_go(tmp_path: Path, shelf: Shelf) -> None:
    published(shelf)
    published(shelf, revision=OTHER)
    both = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes")
    assert both.returncode == 4
    assert len(shelf.volumes()) == 2
    one = holdfast(tmp_path, "store", "rm", f"{REPOSITORY}@{OTHER[:4]}", "--yes")
    assert one.returncode == 0
    assert [volume.revision for volume in shelf.volumes()] == [REVISION]


def test_with_a_copy_it_goes_and_with_a_rotten_one_it_stays(tmp_path: Path, shelf: Shelf) -> None:
    volume = published(shelf)
    flags = copies(tmp_path)
    marker = tmp_path / "copy" / "holdfast-copy.json"
    told = json.loads(marker.read_text())
    told["verified"] = {}
    marker.chmod(0o644)
    marker.write_text(json.dumps(told))
    copied = tmp_path / "copy" / REPOSITORY / REVISION / "README.md"
    copied.chmod(0o644)
    copied.write_bytes(b"# cars")
    rotten = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes", *flags)
    assert rotten.returncode == 4
    assert "README.md is damaged there" in rotten.stderr
    assert f"the last good copy of {volume.name}: 1 file, 6 B" in rotten.stderr
    copied.write_bytes(b"# card")
    assert holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes", *flags).returncode == 0
    assert shelf.volumes() == ()


def test_a_copy_out_of_reach_is_none(tmp_path: Path, shelf: Shelf) -> None:
    published(shelf)
    flags = copies(tmp_path)
    (tmp_path / "copy").rename(tmp_path / "unmounted")
    done = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes", *flags)
    assert done.returncode == 4
    assert "last good copy" in done.stderr
    assert len(shelf.volumes()) == 1


def test_what_has_no_receipt_is_removed_by_force_only(tmp_path: Path, shelf: Shelf) -> None:
    volume = published(shelf)
    (volume.folder / "holdfast.json").unlink()
    done = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes")
    assert done.returncode == 4
    assert "it has no receipt" in done.stderr
    assert holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes", "--force").returncode == 0


def test_without_a_terminal_nothing_is_removed_unasked(tmp_path: Path, shelf: Shelf) -> None:
    published(shelf)
    done = holdfast(tmp_path, "store", "rm", REPOSITORY, "--force")
    assert done.returncode == 4
    assert "nobody can be asked. Give --yes as well" in done.stderr
    assert len(shelf.volumes()) == 1


@pytest.mark.parametrize(
    ("answer", "status", "left"), [("n\n", 0, 1), ("y\n", 0, 0), ("\x03", 130, 1), ("\x04", 130, 1)]
)
def test_on_a_terminal_it_asks(
    tmp_path: Path, shelf: Shelf, answer: str, status: int, left: int
) -> None:
    published(shelf)
    environment = {"PATH": os.environ["PATH"], "HOLDFAST_HOME": str(tmp_path / "home")}
    command = [*HOLDFAST, "store", "rm", REPOSITORY, "--force"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment)
    shown = b""
    while b"Remove this?" not in shown:
        shown += os.read(terminal, 4096)
    os.write(terminal, answer.encode())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    os.close(terminal)
    assert len(shelf.volumes()) == left


def test_a_second_writer_is_told_and_readers_go_on(tmp_path: Path, shelf: Shelf) -> None:
    published(shelf)
    with store_lock(shelf.root, "holdfast pull"):
        done = holdfast(tmp_path, "store", "rm", REPOSITORY, "--yes", "--force")
        assert done.returncode == 4
        assert f"process {os.getpid()} (holdfast pull) is writing to" in done.stderr
        assert holdfast(tmp_path, "store", "ls").returncode == 0
