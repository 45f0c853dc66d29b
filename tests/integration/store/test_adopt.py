"""`holdfast store adopt` on what `hf download` really leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import demo
from server.store.receipt import read_receipt
from server.store.shelf import Shelf
from tests.fakes.hub_running import FakeHub, running_hub

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
NAME = "holdfast/demo"
CHECKPOINT = Path(demo.__file__).parent / "safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    root = tmp_path_factory.mktemp("hub")
    folder = root / "holdfast" / "demo"
    shutil.copytree(CHECKPOINT, folder)
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    (folder / "modeling.py").write_text("print('no')\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "notes.md").write_text("# Notes\n")
    with running_hub(root) as running:
        yield running


class Desk:
    """A home and a Hugging Face cache, with the programs that use them."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.home, self.cache, self.hub = folder / "home", folder / "hf" / "hub", hub
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_ENDPOINT": hub.url,
            "HOLDFAST_HOME": str(self.home),
        }

    def hf_download(self, *arguments: str) -> None:
        subprocess.run(
            [BIN / "hf", "download", NAME, *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            timeout=60,
        )

    def adopt(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "holdfast", "store", "adopt", *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.home / "models")

    @property
    def snapshot(self) -> Path:
        (found,) = (self.cache / "models--holdfast--demo" / "snapshots").iterdir()
        return found


@pytest.fixture
def desk(tmp_path: Path, hub: FakeHub) -> Desk:
    return Desk(tmp_path, hub)


OFFLINE = {"HF_HUB_OFFLINE": "1"}


def test_a_cache_is_adopted_without_a_network_and_without_copying(desk: Desk) -> None:
    desk.hf_download()
    done = desk.adopt(**OFFLINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 files adopted" in done.stdout
    assert "left out modeling.py: a .py file is code" in done.stdout
    (volume,) = desk.shelf.volumes()
    assert volume.revision == desk.snapshot.name
    receipt = volume.receipt
    assert receipt is not None
    assert {held.path for held in receipt.files} == {
        *(path.name for path in CHECKPOINT.iterdir()),
        "sub/notes.md",
    }
    weights = receipt.file("model.safetensors")
    assert weights is not None
    assert weights.lfs
    assert weights.sha256 == (desk.snapshot / "model.safetensors").resolve().name
    config = receipt.file("config.json")
    assert config is not None
    assert config.git_oid == (desk.snapshot / "config.json").resolve().name
    ours, theirs = volume.folder / "model.safetensors", desk.snapshot / "model.safetensors"
    assert ours.samefile(theirs) or "sharing blocks" in done.stdout
    assert not ours.is_symlink()
    sums = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=volume.folder)
    assert sums.returncode == 0
    assert not (desk.shelf.root / ".incoming").exists()


def test_the_cache_stays_usable_and_adopting_again_does_nothing(desk: Desk) -> None:
    desk.hf_download()
    assert desk.adopt().returncode == 0
    receipt = read_receipt(desk.shelf.volumes()[0].folder)
    done = desk.adopt("--json")
    (told,) = json.loads(done.stdout)
    assert (done.returncode, told["adopted"], len(told["held"])) == (0, {}, 7)
    assert read_receipt(desk.shelf.volumes()[0].folder) == receipt
    desk.environment |= OFFLINE
    desk.hf_download()


def test_a_damaged_file_of_the_cache_is_left_out(desk: Desk) -> None:
    desk.hf_download()
    blob = (desk.snapshot / "sub" / "notes.md").resolve()
    blob.chmod(0o644)
    blob.write_text("# Rotten")
    done = desk.adopt(**OFFLINE)
    assert done.returncode == 4
    assert "left out sub/notes.md: damaged: its git id is" in done.stdout
    (volume,) = desk.shelf.volumes()
    assert volume.receipt is not None
    assert volume.receipt.file("sub/notes.md") is None
    assert blob.read_text() == "# Rotten"


def test_what_is_less_than_whole_is_staged_for_a_pull(desk: Desk) -> None:
    desk.hf_download()
    blob = (desk.snapshot / "config.json").resolve()
    blob.chmod(0o644)
    blob.write_text('{"auto_map": {}}')
    weights = (desk.snapshot / "model.safetensors").resolve()
    # The name of the blob is what it must be: so this configuration looks sound by its name.
    oid = subprocess.run(["git", "hash-object", blob], capture_output=True, text=True, check=True)
    renamed = blob.with_name(oid.stdout.strip())
    blob.rename(renamed)
    (desk.snapshot / "config.json").unlink()
    (desk.snapshot / "config.json").symlink_to(renamed)
    done = desk.adopt(**OFFLINE)
    assert done.returncode == 4
    assert "has auto_map" in done.stdout
    assert desk.shelf.volumes() == ()
    staged = desk.shelf.incoming(NAME, desk.snapshot.name) / "model.safetensors.part"
    assert staged.read_bytes() == weights.read_bytes()


def test_a_local_folder_says_itself_what_its_files_must_be(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    desk.hf_download("--local-dir", str(folder))
    done = desk.adopt(str(folder))
    assert done.returncode == 4
    assert "Give --as org/name" in done.stderr
    done = desk.adopt(str(folder), "--as", NAME, "--dry-run", **OFFLINE)
    assert "7 files, " in done.stdout
    assert desk.shelf.volumes() == ()
    done = desk.adopt(str(folder), "--as", NAME, **OFFLINE)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(desk.shelf.volumes()) == 1


def test_files_put_there_by_hand_are_held_against_the_hub(desk: Desk, tmp_path: Path) -> None:
    desk.hf_download("--local-dir", str(tmp_path / "plain"))
    shutil.rmtree(tmp_path / "plain" / ".cache")
    folder = desk.shelf.folder(NAME, _commit(desk, tmp_path))
    shutil.copytree(tmp_path / "plain", folder)
    inode = (folder / "model.safetensors").stat().st_ino
    done = desk.adopt(str(folder), **OFFLINE)
    assert done.returncode == 4
    assert "left out config.json: nothing says what it must be" in done.stdout
    assert read_receipt(folder) is None
    done = desk.adopt(str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    receipt = read_receipt(folder)
    assert receipt is not None
    assert len(receipt.files) == 7
    assert (folder / "model.safetensors").stat().st_ino == inode
    assert not (desk.shelf.root / ".damaged").exists()


def test_what_nothing_vouches_for_can_be_trusted(desk: Desk, tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINT, tmp_path / "own")
    arguments = [str(tmp_path / "own"), "--as", "me/own", "--revision", "a" * 40]
    done = desk.adopt(*arguments)
    assert done.returncode == 4
    assert "The hub was asked in vain" in done.stderr
    done = desk.adopt(*arguments, "--trust", **OFFLINE)
    assert (done.returncode, done.stderr) == (0, "")
    (volume,) = desk.shelf.volumes("me/own")
    assert volume.receipt is not None
    assert len(volume.receipt.files) == 6


def _commit(desk: Desk, folder: Path) -> str:
    desk.hf_download("config.json", "--cache-dir", str(folder / "commit"))
    (snapshot,) = (folder / "commit" / "models--holdfast--demo" / "snapshots").iterdir()
    return snapshot.name
