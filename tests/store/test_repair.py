"""Damaged stores mended: from copies in real folders, from a hub and a ModelScope that run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from server.store.copies.folder import Folder
from server.store.donors import Places, Upstream
from server.store.hub import Hub
from server.store.manifest import read_manifest
from server.store.mending import mend
from server.store.modelscope import ModelScope
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import read_receipt
from server.store.repair import Means, Result
from server.store.shelf import Shelf, Volume
from server.store.verify import Finding, check, inspect
from tests.fakes.hub_running import FakeHub, running_hub
from tests.store.volumes import REVISION, flip, make_volume

FILES = {
    "model-00001-of-00002.safetensors": bytes(range(256)) * 400,
    "model-00002-of-00002.safetensors": bytes(reversed(range(256))) * 300,
    "config.json": b'{"model_type": "qwen3_5"}',
    "sub/readme.md": b"read me",
}
WEIGHTS = "model-00001-of-00002.safetensors"


def _verified(root: Path) -> list[Finding]:
    return _recheck(*Shelf(root).volumes())


def _recheck(*volumes: Volume) -> list[Finding]:
    seen = inspect(volumes)
    checked = check(seen.readings, jobs=2, on_bytes=lambda count: None)
    return [*seen.findings, *(finding for one in checked for finding in one.findings)]


def _mend(
    root: Path, *copies: Path, upstream: Upstream | None = None
) -> tuple[dict[str, Result], tuple[Finding, ...]]:
    """Results by path, and what stays damaged."""
    told: list[Result] = []
    means = Means(
        places=Places([(str(place), Folder(place)) for place in (root, *copies)]),
        upstream=upstream,
        jobs=4,
        limit_rate=None,
        on_bytes=lambda count: None,
        on_result=told.append,
    )
    mended = mend(Shelf(root), _verified(root), means, _recheck)
    assert sorted(told, key=str) == sorted(mended.results, key=str)
    return {one.key.split("/", 3)[3]: one for one in mended.results}, mended.damage


def _is_whole(root: Path, files: Mapping[str, bytes] = FILES) -> bool:
    folder = root / "acme" / "tiny" / REVISION
    bytes_agree = all((folder / path).read_bytes() == data for path, data in files.items())
    return _verified(root) == [] and bytes_agree and not (root / ".incoming").exists()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_volume(tmp_path / "store", FILES)
    return tmp_path / "store"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    make_volume(tmp_path / "copy", FILES)
    return tmp_path / "copy"


def _folder(root: Path) -> Path:
    return root / "acme" / "tiny" / REVISION


# ---- From copies ----


def test_what_is_damaged_comes_from_a_copy_and_is_kept_aside(store: Path, copy: Path) -> None:
    folder = _folder(store)
    flip(folder / WEIGHTS, 77)
    (folder / "config.json").unlink()
    shutil.rmtree(folder / "sub")
    damaged = (folder / WEIGHTS).read_bytes()
    results, damage = _mend(store, copy)
    assert damage == ()
    assert set(results) == {WEIGHTS, "config.json", "sub/readme.md"}
    assert {one.source for one in results.values()} == {str(copy)}
    aside = results[WEIGHTS].aside
    assert aside is not None
    assert aside.is_relative_to(store / ".damaged")
    assert aside.read_bytes() == damaged
    assert results["config.json"].aside is None
    assert _is_whole(store)
    assert (folder / WEIGHTS).stat().st_mode & 0o777 == 0o444


def test_another_revision_in_the_same_store_gives_back_what_it_shares(store: Path) -> None:
    make_volume(store, {"renamed.safetensors": FILES[WEIGHTS]}, "acme/other", "cd" * 20)
    flip(_folder(store) / WEIGHTS, 5)
    results, damage = _mend(store)
    assert damage == ()
    source = results[WEIGHTS].source
    assert source is not None
    assert source.endswith(f"(acme/other/{'cd' * 20}/renamed.safetensors)")
    assert _is_whole(store)


def test_a_copy_that_rotted_too_is_passed_over(store: Path, copy: Path, tmp_path: Path) -> None:
    make_volume(tmp_path / "third", FILES)
    for root in (store, copy):
        flip(_folder(root) / WEIGHTS, 9)
    results, damage = _mend(store, copy, tmp_path / "third")
    assert (damage, results[WEIGHTS].source) == ((), str(tmp_path / "third"))
    assert _is_whole(store)


def test_nobody_has_it(store: Path, copy: Path, tmp_path: Path) -> None:
    for root in (store, copy):
        flip(_folder(root) / WEIGHTS, 9)
    before = (_folder(store) / WEIGHTS).read_bytes()
    results, damage = _mend(store, copy, tmp_path / "not mounted")
    assert [one.path for one in damage] == [WEIGHTS]
    assert results[WEIGHTS].source is None
    assert "damaged" in results[WEIGHTS].why
    assert "not mounted" in results[WEIGHTS].why
    assert (_folder(store) / WEIGHTS).read_bytes() == before
    assert not (store / ".damaged").exists()


def test_the_licence_that_holdfast_added_needs_no_copy(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "server/store/licences/Apache-2.0.txt").read_bytes()
    folder = make_volume(tmp_path, {"LICENSE": text}).folder
    flip(folder / "LICENSE", 1000)
    _, damage = _mend(tmp_path)
    assert damage == ()
    assert (folder / "LICENSE").read_bytes() == text


def test_a_link_in_place_of_a_file_is_replaced_and_its_target_left_alone(
    store: Path, copy: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (_folder(store) / "config.json").unlink()
    (_folder(store) / "config.json").symlink_to(victim)
    _, damage = _mend(store, copy)
    assert damage == ()
    assert victim.read_bytes() == b"untouched"
    assert _is_whole(store)


# ---- Receipts ----


def test_a_receipt_comes_from_a_copy(store: Path, copy: Path) -> None:
    folder = _folder(store)
    good = (folder / RECEIPT).read_bytes()
    flip(folder / RECEIPT, 8 * good.index(b"hub.example") + 1)
    results, damage = _mend(store, copy)
    assert (damage, results[RECEIPT].source) == ((), str(copy))
    assert (folder / RECEIPT).read_bytes() == good
    assert _is_whole(store)


def test_the_sums_are_written_anew_from_the_receipt(store: Path) -> None:
    good = (_folder(store) / SUMS).read_bytes()
    flip(_folder(store) / SUMS, 33)
    results, damage = _mend(store)
    assert (damage, results[SUMS].source) == ((), RECEIPT)
    assert (_folder(store) / SUMS).read_bytes() == good


@pytest.mark.parametrize("receipt", ["flipped", "torn", "missing"])
def test_without_a_copy_a_receipt_is_made_anew(receipt: str, store: Path) -> None:
    folder = _folder(store)
    before = read_receipt(folder)
    assert before is not None
    if receipt == "flipped":
        flip(folder / RECEIPT, 8 * (folder / RECEIPT).read_bytes().index(b"hub.example") + 1)
    elif receipt == "torn":
        (folder / RECEIPT).chmod(0o644)
        (folder / RECEIPT).write_bytes((folder / RECEIPT).read_bytes()[:200])
    else:
        (folder / RECEIPT).unlink()
    results, damage = _mend(store)
    assert (damage, results[RECEIPT].source) == ((), SUMS)
    after = read_receipt(folder)
    assert after is not None
    assert after.files == before.files
    assert after.source.startswith("rebuilt from SHA256SUMS")
    assert _is_whole(store)


def test_a_receipt_is_not_made_anew_over_damaged_files(store: Path) -> None:
    (_folder(store) / RECEIPT).unlink()
    flip(_folder(store) / WEIGHTS, 3)
    results, damage = _mend(store)
    assert {one.path for one in damage} == {RECEIPT, WEIGHTS}
    assert "before all files are repaired" in results[RECEIPT].why


def test_a_flip_in_each_of_the_two_needs_a_copy(store: Path, copy: Path) -> None:
    """Which of them is right cannot be told then: what a copy says decides."""
    flip(_folder(store) / RECEIPT, 8 * (_folder(store) / RECEIPT).read_bytes().index(b"tiny"))
    for bit in (3, 8 * 66):  # the sha256 of a file, and the name of one
        flip(_folder(store) / SUMS, bit)
    _, damage = _mend(store, copy)
    assert damage == ()
    assert _is_whole(store)
    for name in (RECEIPT, SUMS):
        assert (_folder(store) / name).read_bytes() == (_folder(copy) / name).read_bytes()


def test_both_lost_with_damaged_files_too_all_comes_from_a_copy(store: Path, copy: Path) -> None:
    folder = _folder(store)
    flip(folder / WEIGHTS, 3)
    for name in (RECEIPT, SUMS):
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(b"\0" * 50)
    _, damage = _mend(store, copy)
    assert damage == ()
    assert _is_whole(store)


# ---- From the hubs ----


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    root = tmp_path_factory.mktemp("hub")
    for path, data in FILES.items():
        at = root / "acme" / "tiny" / REVISION / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
    other = root / "elsewhere" / "tiny" / ("ef" * 20) / WEIGHTS
    other.parent.mkdir(parents=True)
    other.write_bytes(FILES[WEIGHTS])
    with running_hub(root) as running:
        yield running


@pytest.fixture(autouse=True)
def calm(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "hub" in request.fixturenames:
        running = request.getfixturevalue("hub")
        running.mend()
        running.log(clear=True)


def _sources(hub: FakeHub, modelscope: str = "acme/tiny") -> Upstream:
    sources = (ModelScope(hub.url, attempts=1), Hub(hub.url, attempts=1))
    return Upstream(sources, {"acme/tiny": modelscope})


def _asked(hub: FakeHub, part: str) -> list[str]:
    return [one["path"] for one in hub.log() if part in one["path"] and one["sent"]]


def test_modelscope_is_asked_before_the_hub_and_only_for_what_is_damaged(
    store: Path, hub: FakeHub
) -> None:
    flip(_folder(store) / WEIGHTS, 1)
    results, damage = _mend(store, upstream=_sources(hub))
    assert (damage, _is_whole(store)) == ((), True)
    assert results[WEIGHTS].source == hub.url
    assert hub.sent("model-00002") == 0
    assert _asked(hub, "/resolve/master/")
    assert not _asked(hub, f"/resolve/{REVISION}/")


def test_the_hub_gives_what_modelscope_lacks(store: Path, hub: FakeHub) -> None:
    flip(_folder(store) / WEIGHTS, 1)
    (_folder(store) / "config.json").unlink()
    results, damage = _mend(store, upstream=_sources(hub, modelscope="elsewhere/none"))
    assert (damage, _is_whole(store)) == ((), True)
    assert set(results) == {WEIGHTS, "config.json"}
    assert not _asked(hub, "/resolve/master/")


def test_another_name_at_modelscope(store: Path, hub: FakeHub) -> None:
    flip(_folder(store) / WEIGHTS, 1)
    _, damage = _mend(store, upstream=_sources(hub, modelscope="elsewhere/tiny"))
    assert (damage, _is_whole(store)) == ((), True)
    assert all("elsewhere" in path for path in _asked(hub, "/resolve/"))


def test_wrong_bytes_from_one_source_are_had_from_the_next(store: Path, hub: FakeHub) -> None:
    flip(_folder(store) / WEIGHTS, 1)
    hub.faults({"match": "resolve/master", "kind": "wrong-bytes", "times": None, "where": "hub"})
    hub.faults({"match": "tiny/.*safetensors", "kind": "wrong-bytes", "times": 1, "where": "cdn"})
    _, damage = _mend(store, upstream=_sources(hub))
    assert (damage, _is_whole(store)) == ((), True)


def test_other_files_under_the_same_name_are_not_fetched(tmp_path: Path, hub: FakeHub) -> None:
    ours = {WEIGHTS: b"not what the hub has", "config.json": b"neither"}
    folder = make_volume(tmp_path, ours).folder
    for path in ours:
        flip(folder / path, 1)
    results, damage = _mend(tmp_path, upstream=_sources(hub))
    assert {one.path for one in damage} == set(ours)
    assert all("has another file of this name" in one.why for one in results.values())
    assert not _asked(hub, "/resolve/")


def test_what_vanished_from_the_hubs_is_told(store: Path, hub: FakeHub) -> None:
    flip(_folder(store) / WEIGHTS, 1)
    hub.faults({"match": "tiny", "kind": "gone", "times": None})
    results, damage = _mend(store, upstream=_sources(hub))
    assert [one.path for one in damage] == [WEIGHTS]
    assert "it answered 404; " in results[WEIGHTS].why
    assert "not there any more" in results[WEIGHTS].why


def test_one_file_that_cannot_be_had_does_not_keep_the_others_away(
    store: Path, hub: FakeHub
) -> None:
    for path in (WEIGHTS, "model-00002-of-00002.safetensors"):
        flip(_folder(store) / path, 1)
    hub.faults({"match": "model-00002", "kind": "404", "times": None})
    results, damage = _mend(store, upstream=_sources(hub))
    assert [one.path for one in damage] == ["model-00002-of-00002.safetensors"]
    assert results[WEIGHTS].source is not None
    assert results["model-00002-of-00002.safetensors"].why


def test_a_store_that_lost_its_folders_files_is_refilled_from_its_receipt(
    store: Path, hub: FakeHub
) -> None:
    for path in FILES:
        (_folder(store) / path).unlink()
    _, damage = _mend(store, upstream=_sources(hub))
    assert (damage, _is_whole(store)) == ((), True)


def test_only_the_sums_are_left_and_the_hub_fills_in_the_sizes(store: Path, hub: FakeHub) -> None:
    for path in (*FILES, RECEIPT):
        (_folder(store) / path).unlink()
    _, damage = _mend(store, upstream=_sources(hub))
    assert (damage, _is_whole(store)) == ((), True)
    assert read_manifest(_folder(store)).damage == {}
