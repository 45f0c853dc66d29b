"""Copies and bags whose process ends at random points, as by kill -9: nothing wrong ever shows.

The kernel ends a forked process by a timer that it can neither catch nor put off, so that every
point is hit, between two bytes as between two renames.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.store.bag import export
from server.store.bag.intake import find_bags, read_bag
from server.store.bag.unpacking import unpack
from server.store.copies import restore, sync
from server.store.copies.copy import Copy, open_copy
from server.store.lock import store_lock
from server.store.shelf import Shelf
from tests.integration.store.stores import fill, tree

pytestmark = pytest.mark.integration

DEATHS = 25
MOST_RUNS = 200


def synced(home: Path, copy: Copy) -> None:
    originals = [
        sync.original(one.receipt, one.folder)
        for one in Shelf(home / "models").volumes()
        if one.receipt is not None
    ]
    errands = [sync.plan(one, copy.inventory()) for one in originals]
    with copy.place.lock("test"):
        sync.carry_out(copy, errands, jobs=2, on_bytes=ignore, on_done=no_error)


def restored(home: Path, copy: Copy) -> None:
    shelf = Shelf(home / "models")
    comings = restore.plan(shelf, copy.inventory())
    with store_lock(shelf.root, "test"):
        restore.restore(shelf, copy, comings, jobs=2, on_bytes=ignore, on_done=no_error)


def exported(home: Path, directory: Path) -> None:
    originals = [
        sync.original(one.receipt, one.folder)
        for one in Shelf(home / "models").volumes()
        if one.receipt is not None
    ]
    for bag in export.plan(originals, 12_000_000):
        export.write_bag(bag, directory / bag.name, jobs=2, on_bytes=ignore, on_done=no_error)


def imported(home: Path, directory: Path) -> None:
    shelf = Shelf(home / "models")
    with store_lock(shelf.root, "test"):
        for root in find_bags(directory):
            for delivery in read_bag(root):
                unpack(shelf, delivery, jobs=2, on_bytes=ignore, on_done=no_error)


def ignore(count: int) -> None:
    pass


def no_error(*told: object) -> None:
    errors = [one for one in told if isinstance(one, Exception)]
    assert not errors, errors


def die_within(seconds: float, work: Callable[[], None]) -> bool:
    """Does the work in a process that is ended in the middle; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert not (os.WIFEXITED(status) and os.WEXITSTATUS(status)), "the work failed"
    return os.WIFSIGNALED(status)


def deaths(chance: random.Random, full: float, work: Callable[[], None]) -> Iterator[bool]:
    """Runs `work`, which takes about `full` seconds, until it has died often enough; after each
    run, whether it died."""
    count, most = 0, full
    for _ in range(MOST_RUNS):
        died = die_within(chance.uniform(0, full), work)
        count += died
        # It can take far less than the first time, on a machine that was busy then.
        full = min(most, full / 0.9) if died else 0.9 * full
        yield died
        if count == DEATHS:
            return
    raise AssertionError(f"it died {count} times only")


def timed(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.fixture
def home(tmp_path: Path) -> Path:
    fill(tmp_path / "home", large=3_000_000)
    return tmp_path / "home"


def copy_at(folder: Path) -> Copy:
    folder.mkdir()
    copy = open_copy(str(folder))
    copy.initialize()
    return copy


def test_sync(home: Path, tmp_path: Path) -> None:
    wanted = tree(home / "models")
    full = timed(lambda: synced(home, copy_at(tmp_path / "first")))
    copy, root = copy_at(tmp_path / "copy"), tmp_path / "copy"
    chance = random.Random(1)
    for died in deaths(chance, full, lambda: synced(home, copy)):
        assert tree(root).items() <= wanted.items()
        for receipt in copy.receipts():  # what a receipt names is there
            folder = f"{receipt.repository}/{receipt.revision}"
            assert {f"{folder}/{held.path}" for held in receipt.files} <= tree(root).keys()
        if not died or chance.random() < 0.2:
            shutil.rmtree(root / "holdfast", ignore_errors=True)
    synced(home, copy)
    assert tree(root) == wanted
    assert not list(root.glob(".incoming/**/*"))


def test_what_a_run_left_that_was_killed_at_its_end_goes_with_the_next(
    home: Path, tmp_path: Path
) -> None:
    copy, root = copy_at(tmp_path / "copy"), tmp_path / "copy"
    synced(home, copy)
    (receipt, *_) = copy.receipts()
    left = root / ".incoming" / receipt.repository / receipt.revision
    left.mkdir(parents=True)
    (left / "config.json.part").write_bytes(b"{}")
    synced(home, copy)
    assert not list(root.glob(".incoming/**/*"))


def test_restore(home: Path, tmp_path: Path) -> None:
    wanted = tree(home / "models")
    copy = copy_at(tmp_path / "copy")
    synced(home, copy)
    full = timed(lambda: restored(tmp_path / "first", copy))
    new = tmp_path / "new"
    visible_is_whole(new, wanted, full, lambda: restored(new, copy))


def test_import(home: Path, tmp_path: Path) -> None:
    wanted = tree(home / "models")
    exported(home, tmp_path / "bags")
    assert len(find_bags(tmp_path / "bags")) == 2
    full = timed(lambda: imported(tmp_path / "first", tmp_path / "bags"))
    new = tmp_path / "new"
    visible_is_whole(new, wanted, full, lambda: imported(new, tmp_path / "bags"))


def visible_is_whole(
    home: Path, wanted: dict[str, str], full: float, work: Callable[[], None]
) -> None:
    """Whenever the work into `home` is ended, each revision is absent or entire."""
    chance = random.Random(2)
    for died in deaths(chance, full, work):
        visible = tree(home / "models")
        assert visible.items() <= wanted.items()
        for folder in (home / "models").glob("holdfast/*/*"):
            name = folder.relative_to(home / "models").as_posix()
            assert {path for path in wanted if path.startswith(f"{name}/")} <= visible.keys()
            if not died or chance.random() < 0.5:
                shutil.rmtree(folder)
    work()
    assert tree(home / "models") == wanted


def test_export(home: Path, tmp_path: Path) -> None:
    full = timed(lambda: exported(home, tmp_path / "first"))
    expected = content(tmp_path / "first")
    bags = tmp_path / "bags"
    chance = random.Random(3)
    for died in deaths(chance, full, lambda: exported(home, bags)):
        there = content(bags)
        assert there.items() <= expected.items()
        for folder in bags.glob("*"):
            if (folder / "bagit.txt").exists():  # it counts as a bag: then it is a whole one
                assert read_bag(folder)
            if not died or chance.random() < 0.2:
                shutil.rmtree(folder)
    exported(home, bags)
    assert content(bags) == expected


def content(directory: Path) -> dict[str, bytes]:
    """Every file of the bags under its final name."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".incomplete" not in path.parts and ".writing-" not in path.name
    }
