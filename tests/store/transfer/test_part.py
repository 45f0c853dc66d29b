"""A file under way: what survives, what is found out, and that its digest is that of its bytes."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import StoreError
from server.store.transfer.part import Part, Stretch
from server.store.transfer.want import Want

SEGMENT = 64


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def want(folder: Path, data: bytes) -> Want:
    digest = hashlib.sha256(data).hexdigest()
    return Want("model", folder / "sub" / "model.part", len(data), digest, None, ())


def yes(_: int = 0) -> bool:
    return True


def opened(wanted: Want) -> tuple[Part, int]:
    part = Part(wanted, SEGMENT)
    return part, part.open(yes)


def write(part: Part, stretch: Stretch, data: bytes, count: int) -> None:
    """The next `count` bytes of a stretch, as they would come over the network."""
    end = min(stretch.at + count, stretch.end)
    part.write(stretch, memoryview(data)[stretch.at : end])


def fill(part: Part, data: bytes) -> None:
    while stretch := part.take(3):
        write(part, stretch, data, len(data))


def whole(part: Part, data: bytes) -> None:
    assert part.catch_up(lambda: True)
    assert part.digests() == (hashlib.sha256(data).hexdigest(), None)
    part.keep()
    assert part.want.part.read_bytes() == data
    assert [one.name for one in part.want.part.parent.iterdir()] == ["model.part"]
    part.close()


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 10 * SEGMENT + 7])
def test_a_file_is_fetched(tmp_path: Path, size: int) -> None:
    data = content(size)
    part, resumed = opened(want(tmp_path, data))
    assert resumed == 0
    fill(part, data)
    whole(part, data)


def test_git_oids_are_computed_where_there_is_no_sha256(tmp_path: Path) -> None:
    part, _ = opened(Want("x", tmp_path / "x.part", 5, None, "b6fc4c62" + "0" * 32, ()))
    fill(part, b"hello")
    assert part.catch_up(lambda: True)
    # git hash-object of "hello" without a newline
    assert part.digests()[1] == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"
    part.close()


@settings(max_examples=150)
@given(
    size=st.integers(0, 12 * SEGMENT),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["take", "write", "write", "write", "leave", "hash", "kill", "damage"]),
            st.integers(0, 7),
            st.integers(1, 3 * SEGMENT),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_the_bytes_are_right(
    tmp_path_factory: pytest.TempPathFactory, size: int, steps: list[tuple[str, int, int]]
) -> None:
    data = content(size)
    wanted = want(tmp_path_factory.mktemp("part"), data)
    part, _ = opened(wanted)
    held: list[Stretch] = []
    complete = False
    for what, which, count in steps:
        if what == "kill":  # nothing is written any more, and the next run finds what there is
            part.close()
            part, resumed = opened(wanted)
            assert resumed <= size
            held, complete = [], False
        elif what == "damage" and size:
            flip(wanted.part, count % size)
            part.close()
            part, _ = opened(wanted)
            held, complete = [], False
        elif what == "take" and (taken := part.take(1 + which % 3)):
            held.append(taken)
        elif what == "hash" and not complete:
            complete = part.catch_up(lambda: True)
        elif held and what in ("write", "leave"):
            stretch = held[which % len(held)]
            if what == "write":
                write(part, stretch, data, count)
            if what == "leave" or stretch.at == stretch.end:
                part.give_back(stretch)
                held.remove(stretch)
    for stretch in held:
        part.give_back(stretch)
    fill(part, data)
    assert part.present == size
    assert complete or part.catch_up(lambda: True)
    if size <= SEGMENT and part.digests()[0] != wanted.sha256:
        # Without a journal a file of the right size is judged by its digest alone.
        part.start_over()
        fill(part, data)
        assert part.catch_up(lambda: True)
    assert part.digests()[0] == wanted.sha256
    part.keep()
    part.close()
    assert wanted.part.read_bytes() == data


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([(old[0] if old else 0) ^ 1]))


def half_done(tmp_path: Path, data: bytes) -> Want:
    wanted = want(tmp_path, data)
    part, _ = opened(wanted)
    for _ in range(3):
        stretch = part.take(2)
        assert stretch
        write(part, stretch, data, 2 * SEGMENT)
    stretch = part.take(2)
    assert stretch
    write(part, stretch, data, SEGMENT + 10)
    part.close()
    return wanted


def test_whole_segments_are_kept(tmp_path: Path) -> None:
    data = content(20 * SEGMENT)
    part, resumed = opened(half_done(tmp_path, data))
    assert resumed == 7 * SEGMENT
    fill(part, data)
    whole(part, data)


def test_a_run_with_other_segments_goes_on_with_those_there_are(tmp_path: Path) -> None:
    data = content(20 * SEGMENT)
    part = Part(half_done(tmp_path, data), SEGMENT * 2)
    assert part.open(yes) == 7 * SEGMENT
    fill(part, data)
    whole(part, data)


def cut_short(path: Path) -> None:
    os.truncate(path, 2 * SEGMENT + 3)


def zeroed(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(b"\0" * size)


def made_longer(path: Path) -> None:
    os.truncate(path, 100 * SEGMENT)


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (cut_short, 2),
        (zeroed, 0),
        (lambda path: flip(path, 0), 6),
        (lambda path: flip(path, 7 * SEGMENT - 1), 6),
        (lambda path: path.unlink(), 0),
        (made_longer, 7),
    ],
)
def test_what_a_power_cut_may_leave_is_found(
    tmp_path: Path, damage: Callable[[Path], None], left: int
) -> None:
    data = content(20 * SEGMENT)
    wanted = half_done(tmp_path, data)
    damage(wanted.part)
    part, resumed = opened(wanted)
    assert resumed == left * SEGMENT
    fill(part, data)
    whole(part, data)


def test_without_its_journal_an_unfinished_file_is_begun_again(tmp_path: Path) -> None:
    data = content(20 * SEGMENT)
    wanted = half_done(tmp_path, data)
    wanted.part.with_name("model.part.journal").unlink()
    part, resumed = opened(wanted)
    assert resumed == 0
    fill(part, data)
    whole(part, data)


def test_a_finished_file_is_taken_as_it_is(tmp_path: Path) -> None:
    data = content(5 * SEGMENT)
    wanted = want(tmp_path, data)
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(data)
    part, resumed = opened(wanted)
    assert resumed == len(data)
    whole(part, data)


def test_checking_what_is_there_can_be_stopped_and_forgets_nothing(tmp_path: Path) -> None:
    data = content(20 * SEGMENT)
    wanted = half_done(tmp_path, data)
    flip(wanted.part, 0)  # so that there is something to be forgotten
    part = Part(wanted, SEGMENT)
    part.open(lambda read: read < 2 * SEGMENT)
    part.close()
    part, resumed = opened(wanted)
    assert resumed == 6 * SEGMENT
    part.close()


def test_only_one_is_told_that_the_file_is_whole(tmp_path: Path) -> None:
    data = content(5 * SEGMENT)
    part, _ = opened(want(tmp_path, data))
    fill(part, data)
    assert [part.catch_up(lambda: True) for _ in range(3)] == [True, False, False]
    part.close()


def test_a_file_sent_from_its_beginning_passes_over_what_is_there(tmp_path: Path) -> None:
    data = content(10 * SEGMENT)
    part, _ = opened(half_done(tmp_path, data))
    others = part.take(1)
    assert part.take(10, alone=True) is None
    assert others
    part.give_back(others)
    stretch = part.take(10, alone=True)
    assert stretch
    write(part, stretch, data, 10)
    part.rewind(stretch)
    wrong = bytearray(data)
    wrong[3 * SEGMENT] ^= 1  # of what is there already
    write(part, stretch, bytes(wrong), len(data))
    part.give_back(stretch)
    assert part.present == len(data)
    whole(part, data)


def test_what_is_present_is_counted_once(tmp_path: Path) -> None:
    data = content(10 * SEGMENT)
    part, _ = opened(want(tmp_path, data))
    first, second = part.take(2), part.take(2)
    assert first
    assert second
    write(part, first, data, SEGMENT + 10)
    write(part, second, data, 20)
    assert part.present == SEGMENT + 30
    part.give_back(second)
    assert part.present == SEGMENT + 10
    part.give_back(first)
    assert part.present == SEGMENT
    alone = part.take(10, alone=True)
    assert alone
    write(part, alone, data, 7)
    part.rewind(alone)
    assert part.present == SEGMENT
    write(part, alone, data, len(data))
    part.give_back(alone)
    assert part.present == len(data)
    part.close()


def test_starting_over_forgets_everything(tmp_path: Path) -> None:
    data = content(5 * SEGMENT)
    wanted = want(tmp_path, data)
    part, _ = opened(wanted)
    fill(part, content(5 * SEGMENT + 1)[:-1])
    assert part.catch_up(lambda: True)
    assert part.digests()[0] != wanted.sha256
    part.start_over()
    assert (part.present, part.free) == (0, 5)
    fill(part, data)
    whole(part, data)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_ordinary_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    wanted = want(tmp_path, b"x" * 100)
    wanted.part.parent.mkdir()
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    if kind == "link":
        wanted.part.symlink_to(outside)
    elif kind == "folder":
        wanted.part.mkdir()
    else:
        os.mkfifo(wanted.part)
    part = Part(wanted, SEGMENT)
    with pytest.raises(StoreError, match=r"model\.part"):
        part.open(yes)
    part.close()
    assert outside.read_bytes() == b"precious"
