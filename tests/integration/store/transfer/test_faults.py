"""The transfer against the fake hub on a bad day."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.errors import HubError, StoreError
from server.store.transfer import FileDone, FileFailed, Progress, Retrying, Url
from tests.fakes.hub_running import running_hub
from tests.integration.store.transfer.fetching import (
    LARGE,
    NAME,
    SEGMENT,
    SMALL,
    TOKEN,
    Repository,
    write_repository,
)

pytestmark = pytest.mark.integration


def fault(kind: str, **more: Any) -> dict[str, Any]:
    return {"match": LARGE.replace(".", r"\."), "kind": kind, "times": 3} | more


OVERCOME = {
    "cut": (fault("cut"), "the connection was cut"),
    "cut-at-once": (fault("cut", after=0), "the connection was cut"),
    "cut-again-and-again": (fault("cut", after=SEGMENT + 99, times=12), "the connection was cut"),
    "stall": (fault("stall", after=1000), "no byte came for 0.4 s"),
    "slow": (fault("slow", rate=3_000_000), ""),
    "429": (fault("429", seconds=0.1), "HTTP 429"),
    "429-at-the-hub": (fault("429", where="hub", seconds=0.1), "HTTP 429"),
    "429-without-a-word": (fault("429"), "HTTP 429"),
    "500": (fault("500"), "HTTP 500"),
    "503": (fault("503", seconds=0), "HTTP 503"),
    "416": (fault("416"), "HTTP 416"),
    "wrong-bytes": (fault("wrong-bytes", times=1), "they are wrong"),
    "ignore-range": (fault("ignore-range", skip=1), "the whole file comes instead"),
    "ignore-range-always": (fault("ignore-range", times=None), "the whole file comes instead"),
    "truncated": (fault("truncated"), ""),
    "wrong-range": (fault("wrong-range"), "come instead of those"),
    "expired": (fault("expired", times=1, skip=2), ""),
    "expired-at-once": (fault("expired"), "HTTP 403 behind a redirect"),
    "retagged-at-the-cdn": (fault("retagged", where="cdn", skip=2), ""),
    "garbage": (fault("garbage"), "not proper HTTP"),
    "gone-at-the-cdn": (fault("404", where="cdn"), "HTTP 404 behind a redirect"),
}


@pytest.mark.parametrize("case", OVERCOME)
def test_what_is_overcome(repository: Repository, case: str) -> None:
    given, why = OVERCOME[case]
    repository.hub.faults(given)
    repository.fetch()
    repository.assert_right()
    assert why in repository.whys()
    met = [one["fault"] for one in repository.hub.log() if one["fault"]]
    assert met, "the fault was not met"
    assert not repository.of(FileFailed)


@pytest.mark.parametrize(
    "given",
    [
        {"match": ".", "kind": "cut", "times": 8},
        {"match": ".", "kind": "500", "times": 8},
        {"match": ".", "kind": "stall", "times": 4, "after": 0},
        {"match": ".", "kind": "truncated", "times": 8},
    ],
    ids=lambda given: given["kind"],
)
def test_faults_of_all_files_at_once(repository: Repository, given: dict[str, Any]) -> None:
    repository.hub.faults(given)
    repository.fetch()
    repository.assert_right()


def test_a_cut_connection_costs_what_was_on_its_way_only(repository: Repository) -> None:
    repository.hub.faults(fault("cut", after=SEGMENT // 2, times=4))
    repository.fetch(repository.want(LARGE), jobs=1)
    sent = sum(one["sent"] for one in repository.hub.log() if one["where"] == "cdn")
    # What the reset threw away was sent and did not come; nothing that came is asked for twice.
    assert sent <= repository.files[LARGE].bytes + 4 * (SEGMENT // 2)
    repository.assert_right(LARGE)


def test_retry_after_is_honoured(repository: Repository) -> None:
    repository.hub.faults(fault("429", where="hub", times=1, seconds=0.3))
    repository.fetch(repository.want(LARGE), jobs=1)
    [retrying] = repository.of(Retrying)
    assert retrying.seconds == 0.3
    assert retrying.path == LARGE


def test_a_host_that_asks_for_time_gets_it_from_all_connections(repository: Repository) -> None:
    jobs, seconds = 2, 1.5
    repository.hub.faults(fault("429", where="cdn", times=1, seconds=seconds))
    repository.fetch(repository.want(LARGE), jobs=jobs)
    repository.assert_right(LARGE)
    asked = [one for one in repository.hub.log() if one["where"] == "cdn"]
    (refused,) = [one["begun"] for one in asked if one["fault"]]
    others = [one["begun"] for one in asked if not one["fault"]]
    # One that another connection had sent by then is none of those that should have waited.
    early = sum(refused < begun < refused + seconds for begun in others)
    assert early <= jobs - 1
    assert sum(begun >= refused + seconds for begun in others) > jobs


REFUSED = {
    "gone": (fault("gone", times=None, where="hub"), HubError, "repository is not at the hub"),
    "404": (fault("404", times=None, where="hub"), HubError, f"{LARGE} is not at the hub"),
    "401": (fault("401", times=None, where="hub"), HubError, "set HF_TOKEN"),
    "403": (fault("403", times=None, where="hub"), HubError, "gated"),
    "500": (fault("500", times=None), HubError, "HTTP 500, 5 times in a row"),
    "changed": (fault("changed", times=None), StoreError, "changed upstream"),
    "retagged": (fault("retagged", times=None, where="hub"), StoreError, "changed upstream"),
    "changed-at-the-cdn": (
        fault("changed", times=None, where="cdn"), StoreError, "bytes instead of"
    ),
    "wrong-bytes": (fault("wrong-bytes", times=None), StoreError, "and should be"),
    "cut": (fault("cut", after=0, times=None), HubError, "was cut, 5 times in a row"),
    "redirect": (fault("redirect", times=None), HubError, "redirects more than 5 times"),
    "expired": (fault("expired", times=None), HubError, "HTTP 403 behind a redirect"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_given_up(repository: Repository, case: str) -> None:
    given, kind, text = REFUSED[case]
    repository.hub.faults(given)
    with pytest.raises(StoreError) as caught:
        repository.fetch()
    assert type(caught.value) is kind
    assert text in caught.value.sentence
    assert TOKEN not in caught.value.sentence
    assert "Signature" not in caught.value.sentence
    assert [one.path for one in repository.of(FileFailed)] == [LARGE]
    # The other files came nevertheless, and the next run has nothing but this one to do.
    assert {one.path for one in repository.of(FileDone)} == set(repository.files) - {LARGE}
    repository.hub.mend()
    repository.fetch()
    repository.assert_right()


def test_a_wrong_bit_is_named_by_both_digests_and_nothing_is_kept(repository: Repository) -> None:
    repository.hub.faults(fault("wrong-bytes", times=None, at=5 * SEGMENT + 3))
    with pytest.raises(StoreError) as caught:
        repository.fetch(repository.want(LARGE))
    right = repository.files[LARGE]
    assert right.sha256
    assert right.sha256 in caught.value.why
    data = bytearray(right.location.read_bytes())
    data[5 * SEGMENT + 3] ^= 0x10
    assert hashlib.sha256(data).hexdigest() in caught.value.why
    assert repository.hub.sent("safetensors") >= 2 * right.bytes  # asked for all of it once more
    assert repository.want(LARGE).part.stat().st_size == 0


def test_small_files_are_checked_by_their_git_oid(repository: Repository) -> None:
    repository.hub.faults({"match": SMALL, "kind": "wrong-bytes", "times": None})
    with pytest.raises(StoreError) as caught:
        repository.fetch(repository.want(SMALL))
    assert repository.files[SMALL].git_oid in caught.value.why


@pytest.mark.parametrize(
    "given",
    [
        fault("404", where="hub", times=None),
        fault("500", times=None),
        fault("changed", times=None),
        fault("wrong-bytes", times=None),
        fault("cut", after=3 * SEGMENT, times=None),
    ],
    ids=lambda given: given["kind"],
)
def test_the_next_source_is_asked(
    repository: Repository, tmp_path: Path, given: dict[str, Any]
) -> None:
    write_repository(tmp_path / "other")
    with running_hub(tmp_path / "other") as other:
        repository.hub.faults(given)
        urls = (repository.url(LARGE), repository.url(LARGE, other, "the other hub"))
        repository.fetch(repository.want(LARGE, *urls))
    repository.assert_right(LARGE)


def test_modelscope_is_such_a_source(repository: Repository) -> None:
    repository.hub.faults({"match": LARGE, "kind": "404", "where": "hub", "times": 1})
    repository.fetch(repository.want(LARGE, repository.url(LARGE), repository.scope(LARGE)), jobs=1)
    repository.assert_right(LARGE)
    served = [one for one in repository.hub.log() if one["path"].startswith("/models/")]
    assert served
    assert all("authorization" not in one["headers"] for one in served)


def test_every_source_that_failed_is_told(repository: Repository) -> None:
    repository.hub.faults(fault("404", where="hub", times=None))
    with pytest.raises(HubError) as caught:
        repository.fetch(repository.want(LARGE, repository.url(LARGE), repository.scope(LARGE)))
    assert "at the hub" in caught.value.why
    assert "at the scope" in caught.value.why


def test_when_nothing_answers_the_whole_transfer_ends(
    repository: Repository, tmp_path: Path
) -> None:
    with running_hub(tmp_path) as gone:
        pass
    wants = [repository.want(path, repository.url(path, gone)) for path in repository.files]
    with pytest.raises(HubError, match="connection was refused"):
        repository.fetch(*wants, jobs=1)
    assert len(repository.of(FileFailed)) == 1


def test_several_failures_are_one_error(repository: Repository) -> None:
    repository.hub.faults({"match": r"\.safetensors", "kind": "404", "where": "hub", "times": None})
    with pytest.raises(HubError, match="2 of 5 files could not be fetched"):
        repository.fetch()


def test_a_token_that_is_not_valid(repository: Repository, tmp_path: Path) -> None:
    write_repository(tmp_path / "private")
    with (
        running_hub(tmp_path / "private", token="another") as hub,
        pytest.raises(HubError, match="HF_TOKEN"),
    ):
        repository.fetch(repository.want(LARGE, repository.url(LARGE, hub)))
    with running_hub(tmp_path / "private", token=TOKEN) as hub:
        repository.fetch(repository.want(LARGE, repository.url(LARGE, hub)))
    repository.assert_right(LARGE)


def test_a_file_that_changes_between_two_requests(repository: Repository, tmp_path: Path) -> None:
    """Without digests from elsewhere only its ETag tells."""
    write_repository(tmp_path / "changing")
    location = tmp_path / "changing" / NAME / LARGE
    size = location.stat().st_size

    def change(event: object) -> None:
        if isinstance(event, Progress):
            location.write_bytes(bytes(size))

    with running_hub(tmp_path / "changing") as hub:
        source = Url(f"{hub.url}/models/{NAME}/resolve/master/{LARGE}", {}, "the scope")
        want = replace(repository.want(LARGE, source), sha256=None, git_oid=None)
        with pytest.raises(StoreError, match="changed upstream"):
            repository.fetch(want, jobs=2, limit_rate=1_000_000, on_event=change)
