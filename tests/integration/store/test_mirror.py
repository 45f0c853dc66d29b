"""`holdfast mirror` as people run it: over a folder and over a bucket of a real S3 server."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from server.store.copies.copy import MARKER
from server.store.lock import store_lock
from tests.fakes.s3_running import S3, running_s3
from tests.integration.store.stores import (
    OTHER,
    REVISION,
    config,
    fill,
    flip,
    holdfast,
    killed,
    publish,
    tree,
)

pytestmark = pytest.mark.integration

_prefixes = itertools.count()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("s3")) as running:
        running.make_bucket("holdfast")
        yield running


@dataclass(frozen=True, slots=True)
class Mirror:
    home: Path
    address: str
    config: str
    environment: Mapping[str, str]

    def run(self, verb: str, *arguments: str, home: Path | None = None) -> tuple[int, str, str]:
        done = holdfast(
            "mirror", verb, *arguments, "--config", self.config,
            home=home or self.home, environment=self.environment,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert "a-secret" not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr

    def kill(
        self, verb: str, *arguments: str, after: float, home: Path | None = None,
        by: signal.Signals = signal.SIGKILL,
    ) -> int:  # fmt: skip
        return killed(
            "mirror", verb, *arguments, "--config", self.config,
            home=home or self.home, after=after, environment=self.environment, by=by,
        )  # fmt: skip

    def seconds(self, verb: str, *arguments: str) -> float:
        begun = time.monotonic()
        assert self.run(verb, *arguments)[0] == 0
        return time.monotonic() - begun

    def other(self, folder: Path) -> Mirror:
        """Another, empty copy of the same home."""
        (folder / "other").mkdir()
        is_bucket = self.address.startswith("s3://")
        address = f"s3://holdfast/{next(_prefixes)}" if is_bucket else str(folder / "other")
        return replace(self, address=address, config=config(folder / "other", address))


@pytest.fixture(params=["folder", "bucket"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    home = tmp_path / "home"
    fill(home)
    if request.param == "folder":
        (tmp_path / "copy").mkdir()
        address, environment = str(tmp_path / "copy"), {}
    else:
        address = f"s3://holdfast/{next(_prefixes)}"
        environment = dict(request.getfixturevalue("s3").environment)
    return Mirror(home, address, config(tmp_path, address, min_copies=2), environment)


def test_a_copy_alone_gives_everything_back(mirror: Mirror, tmp_path: Path) -> None:
    assert mirror.run("status")[0] == 4  # in one place only, and not yet a copy
    assert mirror.run("sync")[0] == 4
    code, out, _ = mirror.run("sync", "--init")
    assert (code, out.count("sent and read back")) == (0, 2)
    assert mirror.run("status")[0] == 0
    code, out, _ = mirror.run("sync")
    assert (code, out.count("nothing to do")) == (0, 2)

    code, _, err = mirror.run("restore", "--from", mirror.address, home=tmp_path / "new")
    assert code == 0, err
    assert tree(tmp_path / "new" / "models") == tree(mirror.home / "models")
    for folder in (tmp_path / "new" / "models").glob("holdfast/*/*"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
        assert all(path.stat().st_mode & 0o222 == 0 for path in folder.rglob("*") if path.is_file())
    code, out, _ = mirror.run("restore", home=tmp_path / "new")
    assert (code, out.count("nothing to do")) == (0, 2)


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_names_choose_and_a_dry_run_changes_nothing(mirror: Mirror, tmp_path: Path) -> None:
    mirror.run("sync", "--init", "holdfast/demo")
    code, out, _ = mirror.run("sync", "--dry-run", "--json")
    plans = {one["repository"]: one for one in json.loads(out)[0]["revisions"]}
    assert code == 0
    assert plans["holdfast/demo"]["send"] == []
    assert len(plans["holdfast/Large-GGUF"]["send"]) == 6  # the licence was added
    code, out, _ = mirror.run("status", "--json")
    found = {one["repository"]: one for one in json.loads(out)["revisions"]}
    assert code == 4
    assert (found["holdfast/demo"]["places"], found["holdfast/Large-GGUF"]["places"]) == (2, 1)
    assert mirror.run("sync", "no-such-model")[0] == 4
    new = tmp_path / "new"
    assert mirror.run("restore", "--dry-run", home=new)[0] == 0
    assert not tree(new / "models")
    assert mirror.run("restore", "holdfast/DEMO@0123", home=new)[0] == 0
    assert {path.split("/")[1] for path in tree(new / "models")} == {"demo"}
    code, _, err = mirror.run("restore", "no-such-model", home=new)
    assert code == 4
    assert "holdfast/demo" in err


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_what_rotted_in_the_store_is_never_copied(mirror: Mirror, tmp_path: Path) -> None:
    damaged = mirror.home / "models" / "holdfast/Large-GGUF" / OTHER / "data/part 1.txt"
    flip(damaged)
    code, out, err = mirror.run("sync", "--init")
    assert code == 4
    assert "data/part 1.txt" in err
    assert "holdfast verify --repair" in err
    assert "1 failed" in out
    found = json.loads(mirror.run("status", "--json")[1])["revisions"]
    assert {one["repository"]: one["holdings"][1]["state"] for one in found} == {
        "holdfast/Large-GGUF": "absent",
        "holdfast/demo": "whole",
    }
    flip(damaged)  # the same bit: whole again
    assert mirror.run("sync")[0] == 0
    assert mirror.run("restore", home=tmp_path / "new")[0] == 0
    assert tree(tmp_path / "new" / "models") == tree(mirror.home / "models")


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_what_rotted_in_a_copy_is_found_and_sent_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.run("sync", "--init")
    copy = Path(mirror.address)
    model = copy / "holdfast/demo" / REVISION / "model.safetensors"
    flip(model)
    (copy / "holdfast/Large-GGUF" / OTHER / "data/part 0.txt").unlink()
    assert mirror.run("status")[0] == 4  # by its size alone: the flipped bit is not seen
    code, _, err = mirror.run("restore", home=tmp_path / "new")
    assert code == 4
    assert "what it is a copy of is damaged" in err
    assert not tree(tmp_path / "new" / "models")
    code, out, err = mirror.run("sync", "--verify")
    assert code == 0
    assert "model.safetensors was damaged" in err
    assert "1 of them damaged and sent again" in out
    assert tree(copy) == tree(mirror.home / "models")
    assert mirror.run("restore", home=tmp_path / "new")[0] == 0
    assert tree(tmp_path / "new" / "models") == tree(copy)


@pytest.mark.parametrize("mirror", ["bucket"], indirect=True)
def test_what_rotted_in_a_bucket_is_found_and_sent_again(
    mirror: Mirror, s3: S3, tmp_path: Path
) -> None:
    mirror.run("sync", "--init")
    key = f"{mirror.address.removeprefix('s3:/')}/holdfast/demo/{REVISION}/config.json"
    good = s3.request("GET", key)
    s3.request("PUT", key, good.replace(b"1", b"2", 1))
    code, out, _ = mirror.run("sync")
    assert (code, out.count("nothing to do")) == (0, 2)  # names and sizes are as they were
    code, _, err = mirror.run("restore", home=tmp_path / "new")
    assert code == 4
    assert "config.json" in err
    code, out, _ = mirror.run("sync", "--verify", "--json")
    revisions = {one["repository"]: one for one in json.loads(out)[0]["revisions"]}
    assert code == 0
    assert revisions["holdfast/demo"]["mended"] == ["config.json"]
    assert s3.request("GET", key) == good
    assert mirror.run("restore", home=tmp_path / "new")[0] == 0


def test_a_signature_goes_with_what_it_signs(mirror: Mirror, tmp_path: Path) -> None:
    mirror.run("sync", "--init")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    done = holdfast("store", "sign", "--key", str(key), home=mirror.home)
    assert done.returncode == 0, done.stderr
    assert mirror.run("sync")[0] == 0
    new = tmp_path / "new"
    assert mirror.run("restore", home=new)[0] == 0
    signed = tree(mirror.home / "models")
    assert sum(path.endswith("SHA256SUMS.sig") for path in signed) == 2
    assert tree(new / "models") == signed
    (new / "models" / "holdfast/demo" / REVISION / "SHA256SUMS.sig").unlink()
    assert mirror.run("restore", home=new)[0] == 0
    assert tree(new / "models") == signed


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_a_models_name_is_understood_as_everywhere(mirror: Mirror, tmp_path: Path) -> None:
    revision = "2fc06364715b967f1860aea9cf38778875588b17"
    files = (mirror.home / "models" / "holdfast/demo" / REVISION).iterdir()
    hub_files = {
        path.name: path.read_bytes() for path in files if path.suffix in (".json", ".safetensors")
    }
    hub_files.pop("holdfast.json")
    publish(mirror.home, "Qwen/Qwen3.5-0.8B", revision, hub_files)
    code, out, _ = mirror.run("sync", "--init", "qwen3.5-0.8b")
    assert (code, out.count("@")) == (0, 1)
    new = tmp_path / "new"
    assert mirror.run("restore", "qwen3.5-0.8b", home=new)[0] == 0
    assert {path.split("/")[1] for path in tree(new / "models")} == {"Qwen3.5-0.8B"}
    assert mirror.run("restore", "qwen3.5-9b", home=new)[0] == 4


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_without_the_extra_a_bucket_is_refused_with_what_to_install(
    mirror: Mirror, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "s3fs.py").write_text("raise ModuleNotFoundError('No module', name='s3fs')\n")
    done = holdfast(
        "mirror", "sync", "--to", "s3://bucket/prefix",
        home=mirror.home, environment={"PYTHONPATH": str(absent)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "holdfast[s3]" in done.stderr
    assert "scripts/setup --s3" in done.stderr


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_a_copy_shares_no_byte_with_the_store(mirror: Mirror) -> None:
    mirror.run("sync", "--init")
    files = [path for path in Path(mirror.address).rglob("*") if path.is_file()]
    assert len(files) > 10
    assert all(path.stat().st_nlink == 1 for path in files)


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_a_mount_point_without_its_disk_is_not_filled(mirror: Mirror) -> None:
    mirror.run("sync", "--init")
    copy = Path(mirror.address)
    disk = copy.rename(copy.with_name("disk"))
    assert mirror.run("sync")[0] == 6
    copy.mkdir()
    code, _, err = mirror.run("sync")
    assert code == 4
    assert "--init" in err
    assert not list(copy.iterdir())
    assert (disk / MARKER).exists()


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_a_second_writer_is_told_of_the_first(mirror: Mirror) -> None:
    mirror.run("sync", "--init", "holdfast/demo")
    with store_lock(Path(mirror.address), "the first"):
        code, _, err = mirror.run("sync")
        assert code == 4
        assert f"process {os.getpid()} (the first)" in err
        assert mirror.run("status")[0] == 4  # readers go on
    assert mirror.run("sync")[0] == 0


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_a_lost_receipt_in_a_copy_is_written_anew(mirror: Mirror) -> None:
    mirror.run("sync", "--init")
    before = tree(Path(mirror.address))
    receipt = Path(mirror.address) / "holdfast/demo" / REVISION / "holdfast.json"
    receipt.chmod(0o644)
    receipt.write_text("{")
    assert mirror.run("status")[0] == 4
    code, out, _ = mirror.run("sync")
    assert code == 0
    assert "7 files read back" in out
    assert tree(Path(mirror.address)) == before


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_what_the_store_gave_up_stays_in_the_copy(mirror: Mirror) -> None:
    mirror.run("sync", "--init")
    before = tree(Path(mirror.address))
    shutil.rmtree(mirror.home / "models" / "holdfast" / "Large-GGUF")
    assert mirror.run("sync")[0] == 0
    assert tree(Path(mirror.address)) == before
    assert mirror.run("restore")[0] == 0
    assert tree(mirror.home / "models") == before


def test_killed_at_any_point_it_goes_on_and_shows_nothing_wrong(
    mirror: Mirror, tmp_path: Path
) -> None:
    """kill -9 of the command itself; test_killed.py does it at many more points."""
    wanted = tree(mirror.home / "models")
    is_folder = not mirror.address.startswith("s3://")
    chance = random.Random(11)
    full = mirror.other(tmp_path).seconds("sync", "--init")
    for _ in range(5):
        mirror.kill("sync", "--init", after=chance.uniform(0.4 * full, full))
        if is_folder:
            assert tree(Path(mirror.address)).items() <= wanted.items()
            if chance.random() < 0.3:  # go on from somewhere else
                shutil.rmtree(Path(mirror.address) / "holdfast", ignore_errors=True)
    assert mirror.run("sync", "--init")[0] == 0

    new = tmp_path / "new"
    for _ in range(5):
        mirror.kill("restore", after=chance.uniform(0.4 * full, full), home=new)
        visible = tree(new / "models")
        assert visible.items() <= wanted.items()
        for folder in (new / "models").glob("holdfast/*/*"):
            name = folder.relative_to(new / "models").as_posix()
            assert {path for path in wanted if path.startswith(f"{name}/")} <= visible.keys()
            if chance.random() < 0.5:
                shutil.rmtree(folder)
    code, _, err = mirror.run("restore", home=new)
    assert code == 0, err
    assert tree(new / "models") == wanted


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_interrupted_it_goes_on_too(mirror: Mirror) -> None:
    ends = (0, 130, -signal.SIGINT)  # the last: before Python has come to run any of it
    assert mirror.kill("sync", "--init", after=0.35, by=signal.SIGINT) in ends
    assert mirror.run("sync", "--init")[0] == 0


@pytest.mark.parametrize("mirror", ["folder"], indirect=True)
def test_a_file_called_like_anothers_part_is_itself(mirror: Mirror, tmp_path: Path) -> None:
    files = {"notes": b"n" * 5_000_000, "notes.part": b"p" * 4_000_000, "notes.part.part": b"q"}
    publish(mirror.home, "org/parts", REVISION, files)
    assert mirror.run("sync", "--init")[0] == 0
    new = tmp_path / "new"
    assert mirror.run("restore", "--jobs", "4", home=new)[0] == 0
    assert tree(new / "models") == tree(mirror.home / "models")
    assert not list((new / "models" / ".incoming").glob("*"))
