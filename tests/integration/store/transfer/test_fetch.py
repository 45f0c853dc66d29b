"""The transfer against the fake hub on a good day: what is asked, sent, told and left behind."""

from __future__ import annotations

import hashlib
import time

import pytest

from server.store.transfer import FileDone, FileStarted, Progress, fetch
from tests.integration.store.transfer.fetching import (
    LARGE,
    SEGMENT,
    TOKEN,
    Repository,
)

pytestmark = pytest.mark.integration


def test_every_file_comes_whole(repository: Repository) -> None:
    fetched = repository.fetch()
    repository.assert_right()
    assert [one.want.path for one in fetched] == list(repository.files)
    for one in fetched:
        file = repository.files[one.want.path]
        assert one.sha256 == hashlib.sha256(file.location.read_bytes()).hexdigest()
        assert one.git_oid == file.git_oid


def test_what_is_told_meanwhile(repository: Repository) -> None:
    repository.fetch()
    for path, file in repository.files.items():
        mine = [one for one in repository.events if one.path == path]
        assert isinstance(mine[0], FileStarted)
        assert isinstance(mine[-1], FileDone)
        told = [one.bytes for one in mine if isinstance(one, Progress)]
        assert all(count <= file.bytes for count in told)
    assert len(repository.of(FileDone)) == len(repository.files)


def test_one_large_file_is_fetched_by_several_connections(repository: Repository) -> None:
    repository.fetch(repository.want(LARGE))
    repository.assert_right(LARGE)
    asked = [one for one in repository.hub.log() if one["where"] == "cdn"]
    assert len({one["headers"].get("range") for one in asked}) == len(asked) > 4
    assert sum(one["sent"] for one in asked) == repository.files[LARGE].bytes


def test_the_hub_is_asked_once_for_the_place_of_a_file(repository: Repository) -> None:
    repository.fetch(repository.want(LARGE), jobs=1)
    where = [one["where"] for one in repository.hub.log()]
    assert where.count("hub") == 1
    assert where.count("cdn") >= 1


def test_the_token_goes_to_the_hub_alone(repository: Repository) -> None:
    repository.fetch()
    log = repository.hub.log()
    for one in log:
        sent = one["headers"].get("authorization")
        assert sent == (f"Bearer {TOKEN}" if one["where"] == "hub" else None), one
        assert one["headers"]["user-agent"] == "holdfast/test"
        assert one["headers"]["accept-encoding"] == "identity"
    assert {one["where"] for one in log} == {"hub", "cdn"}


def test_a_second_run_asks_for_nothing(repository: Repository) -> None:
    repository.fetch()
    repository.hub.log(clear=True)
    repository.events.clear()
    fetched = repository.fetch()
    assert len(fetched) == len(repository.files)
    assert repository.hub.log() == []
    started = {one.path: one.resumed_bytes for one in repository.of(FileStarted)}
    assert started == {path: file.bytes for path, file in repository.files.items()}
    repository.assert_right()


def test_garbage_of_the_right_size_is_replaced(repository: Repository) -> None:
    part = repository.want(LARGE).part
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * repository.files[LARGE].bytes)
    repository.fetch(repository.want(LARGE))
    repository.assert_right(LARGE)


def test_the_rate_is_limited_over_all_connections(repository: Repository) -> None:
    begun = time.monotonic()
    repository.fetch(limit_rate=2_000_000)
    taken = time.monotonic() - begun
    total = sum(file.bytes for file in repository.files.values())
    assert taken > total / 2_000_000 * 0.8  # slower is a busy machine; faster is no limit
    repository.assert_right()


def test_stopping_keeps_what_came(repository: Repository) -> None:
    repository.hub.faults({"match": LARGE, "kind": "slow", "rate": 400_000, "times": None})

    def watch(event: object) -> None:
        if isinstance(event, Progress) and event.bytes > 6 * SEGMENT:
            repository.stop.set()

    assert repository.fetch(repository.want(LARGE), on_event=watch, jobs=2) == ()
    repository.hub.mend()
    repository.hub.log(clear=True)
    repository.stop.clear()
    repository.fetch(repository.want(LARGE))
    repository.assert_right(LARGE)
    [started] = repository.of(FileStarted)
    assert started.resumed_bytes >= 4 * SEGMENT
    sent = sum(one["sent"] for one in repository.hub.log() if one["where"] == "cdn")
    assert sent == repository.files[LARGE].bytes - started.resumed_bytes


def test_stopping_does_not_wait_for_a_silent_source(repository: Repository) -> None:
    repository.hub.faults({"match": ".", "kind": "stall", "after": 10, "times": None})

    def watch(event: object) -> None:
        if isinstance(event, FileStarted):
            repository.stop.set()

    begun = time.monotonic()
    repository.fetch(on_event=watch, stall=60.0)
    assert time.monotonic() - begun < 30


def test_an_error_of_the_listener_ends_the_transfer(repository: Repository) -> None:
    class GoneError(Exception):
        pass

    def gone(event: object) -> None:
        raise GoneError

    with pytest.raises(GoneError):
        repository.fetch(on_event=gone)


def test_nothing_wanted_is_nothing_done(repository: Repository) -> None:
    fetched = fetch(
        (), jobs=4, limit_rate=None, on_event=repository.events.append, stop=repository.stop,
        user_agent="x",
    )  # fmt: skip
    assert fetched == ()
    assert repository.events == []
