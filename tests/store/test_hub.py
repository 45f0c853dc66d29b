"""What a hub says, against the fake hub, and against answers that cannot be true."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelInfo

from server.errors import HoldfastError, HubError, StoreError
from server.store import asking
from server.store.digest import git_blob_oid
from server.store.hub import Hub, Remote, read_listing
from server.store.modelscope import ModelScope, read_files
from tests.fakes.hub_running import FakeHub, running_hub

TOKEN = "hf_" + "t" * 30
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    for revision, text in ((COMMIT, "one"), ("f" * 40, "two")):
        folder = root / "org" / "model" / revision
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(text)
        (folder / "model.safetensors").write_bytes(text.encode() * 1000)
        (folder / ".hub.json").write_text('{"licence": "apache-2.0"}')
    gated = root / "org" / "gated"
    gated.mkdir()
    (gated / "config.json").write_text("{}")
    return root


@pytest.fixture(scope="module")
def fake(root: Path) -> Iterator[FakeHub]:
    with running_hub(root) as running:
        yield running


@pytest.fixture(autouse=True)
def mended(fake: FakeHub) -> Iterator[None]:
    yield
    fake.mend()
    fake.log(clear=True)


def test_a_pinned_revision_is_listed_whole(fake: FakeHub, root: Path) -> None:
    listing = Hub(fake.url).listing("org/model", COMMIT)
    folder = root / "org" / "model" / COMMIT
    config, weights = listing.files
    assert (listing.repository, listing.revision, listing.licence) == (
        "org/model",
        COMMIT,
        "apache-2.0",
    )
    assert config == Remote("config.json", 3, None, git_blob_oid(folder / "config.json"))
    assert (weights.path, weights.bytes) == ("model.safetensors", 3000)
    assert weights.sha256 == hashlib.sha256(b"one" * 1000).hexdigest()


def test_without_a_revision_it_is_that_of_main(fake: FakeHub) -> None:
    assert Hub(fake.url).listing("org/model", None).revision == "f" * 40


def test_several_threads_may_ask_at_once(fake: FakeHub) -> None:
    hub = Hub(fake.url, attempts=1)
    with ThreadPoolExecutor(8) as crew:
        asked = [crew.submit(hub.listing, "org/model", COMMIT) for _ in range(40)]
    assert {one.result() for one in asked} == {hub.listing("org/model", COMMIT)}


def test_modelscope_tells_of_the_same_files(fake: FakeHub) -> None:
    theirs = ModelScope(fake.url).listing("org/model", "f" * 40)
    ours = Hub(fake.url).listing("org/model", None)
    assert [(f.path, f.bytes) for f in theirs.files] == [(f.path, f.bytes) for f in ours.files]
    assert theirs.files[1].sha256 == ours.files[1].sha256


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_token_goes_to_the_hub_and_none_is_made_up(
    fake: FakeHub, token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)  # what the library would take by itself
    hub = Hub(fake.url, token)
    hub.listing("org/model", None)
    (request,) = fake.log()
    assert request["headers"].get("authorization") == (f"Bearer {token}" if token else None)
    assert request["headers"]["user-agent"].startswith("holdfast/")
    assert TOKEN not in repr(hub) + repr(hub.url("org/model", COMMIT, "a b.json"))
    assert hub.url("org/model", COMMIT, "a b#.json").url.endswith(f"{COMMIT}/a%20b%23.json")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("gone", "does not give org/model"),
        ("401", "does not give org/model"),
        ("garbage", "cannot be reached"),
        ("redirect", "cannot be reached"),
        ("418", "it answered 418"),
    ],
)
def test_a_refusal_is_told_with_the_next_step(fake: FakeHub, kind: str, what: str) -> None:
    fake.faults({"match": "org/model", "kind": kind, "times": None})
    for source in (Hub(fake.url, TOKEN, attempts=1), ModelScope(fake.url, attempts=1)):
        with pytest.raises(HubError) as caught:
            source.listing("org/model", COMMIT)
        assert TOKEN not in caught.value.sentence
    fake.mend()
    fake.faults({"match": "api/models/org/model", "kind": kind, "times": None})
    with pytest.raises(HubError, match=what):
        Hub(fake.url, attempts=1).listing("org/model", COMMIT)


def test_a_busy_hub_is_asked_again(fake: FakeHub) -> None:
    fake.faults({"match": "api/models/org/model", "kind": "429", "seconds": 1})
    fake.faults({"match": "api/v1/models/org/model", "kind": "503"})
    assert Hub(fake.url).listing("org/model", COMMIT).files
    assert ModelScope(fake.url).listing("org/model", COMMIT).files
    assert [one["status"] for one in fake.log()] == [429, 200, 503, 200]


def test_an_unknown_revision_is_told_as_such(fake: FakeHub) -> None:
    with pytest.raises(HubError, match=r"has no revision nope at http"):
        Hub(fake.url).listing("org/model", "nope")


def test_offline_nobody_is_asked(fake: FakeHub) -> None:
    for source in (Hub(fake.url, offline=True), ModelScope(fake.url, offline=True)):
        with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
            source.listing("org/model", COMMIT)
    assert fake.log() == []


def test_a_hub_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # not listening: refused, and nobody else takes the port
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        for source in (Hub(address, attempts=1), ModelScope(address, attempts=1)):
            with pytest.raises(HubError, match=f"{address} cannot be reached"):
                source.listing("org/model", COMMIT)


@pytest.mark.parametrize("name", ["org", "../x", "org/..", "org/a b", "a/b/c", "org/x?y", ""])
def test_what_is_no_repository_reaches_no_url(fake: FakeHub, name: str) -> None:
    for source in (Hub(fake.url), ModelScope(fake.url)):
        with pytest.raises(HubError, match="is no repository"):
            source.listing(name, COMMIT)
    assert fake.log() == []


# ---- Answers that cannot be true ----


def sibling(**changes: Any) -> dict[str, Any]:
    return {"rfilename": "a.gguf", "size": 5, "blobId": COMMIT} | changes


def info(*siblings: dict[str, Any], sha: Any = COMMIT, **more: Any) -> ModelInfo:
    return ModelInfo(id="org/model", sha=sha, siblings=list(siblings), **more)


LFS = {"size": 5, "sha256": SHA, "pointerSize": 130}


def test_a_sound_answer_is_taken() -> None:
    listing = read_listing(info(sibling(lfs=LFS)), "org/model", COMMIT, "http://hub")
    assert listing.files == (Remote("a.gguf", 5, SHA, COMMIT),)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (info(sibling(), sha=None), "names no commit"),
        (info(sibling(), sha="main"), "names no commit"),
        (info(sibling(), sha="f" * 40), "it describes ffff"),
        (info(), "lists no files"),
        (info(sibling(), sibling()), "tells of a.gguf twice"),
        (info(sibling(size=None)), "no size"),
        (info(sibling(size=-1)), "no size"),
        (info(sibling(size="5")), "no size"),
        (info(sibling(blobId=None)), "neither sha256 nor git id"),
        (info(sibling(blobId="../../x")), "git id that is none"),
        (info(sibling(lfs=LFS | {"sha256": "short"})), "sha256 that is none"),
        (info(sibling(rfilename=7)), "no name"),
    ],
)
def test_what_cannot_be_true_is_refused(answer: ModelInfo, what: str) -> None:
    with pytest.raises(HubError, match=what):
        read_listing(answer, "org/model", COMMIT, "http://hub")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", "a\nb", "x" * 256])
def test_a_path_that_leaves_its_folder_is_refused(path: str) -> None:
    with pytest.raises(StoreError, match="is refused"):
        read_listing(info(sibling(rfilename=path)), "org/model", COMMIT, "http://hub")


@pytest.mark.parametrize(
    ("asked", "name"), [("ORG/Model", "org/model"), ("org/model", "org/model"), ("a/b", "a/b")]
)
def test_a_name_is_written_as_the_hub_writes_it(asked: str, name: str) -> None:
    assert read_listing(info(sibling()), asked, COMMIT, "http://hub").repository == name


@pytest.mark.parametrize("licence", ["a b", ["mit"], "x" * 65, {"name": "mit"}, None])
def test_a_licence_that_is_no_identifier_is_not_believed(licence: Any) -> None:
    answer = info(sibling(), cardData={"license": licence})
    assert read_listing(answer, "org/model", COMMIT, "http://hub").licence is None


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"Data": None}, {"Data": {"Files": [1]}}, {"Data": {"Files": [{"Type": "x"}]}}],
)
def test_what_is_no_list_of_files_is_refused(answer: Any) -> None:
    with pytest.raises(HubError):
        read_files(answer, "org/model", "http://scope")


def test_folders_in_modelscopes_answer_are_no_files() -> None:
    row = {"Type": "blob", "Path": "a/b", "Size": 1, "Sha256": SHA}
    answer = {"Data": {"Files": [{"Type": "tree", "Path": "a"}, row]}}
    assert read_files(answer, "org/model", "http://scope") == (Remote("a/b", 1, SHA),)


def test_waiting_follows_retry_after_is_told_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise HubError("busy", retry_after=0)

    with pytest.raises(HubError):
        asking.persistently(ask, 2)
    assert len(asked) == 2
    (told,) = caplog.messages
    assert told.startswith("busy; it is asked again in ")


def test_what_no_wait_can_mend_is_not_asked_again() -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise HubError("gone")

    with pytest.raises(HoldfastError):
        asking.persistently(ask, 5)
    assert len(asked) == 1
