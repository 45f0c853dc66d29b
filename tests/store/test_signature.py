"""Signatures, made and checked by the real ssh-keygen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from server.errors import ConfigError, StoreError
from server.store.manifest import SIGNATURE
from server.store.naming import RECEIPT, SUMS
from server.store.receipt import read_receipt
from server.store.shelf import Volume
from server.store.signature import check, sign
from server.store.verify import inspect
from tests.store.volumes import flip, make_volume


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys `mine` and `other`, and `allowed`, which names the first one."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    public = (folder / "mine.pub").read_text()
    (folder / "allowed").write_text(f'me@example.org namespaces="holdfast" {public}')
    return folder


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return make_volume(tmp_path, {"model.gguf": b"x" * 1000, "config.json": b"{}"})


def test_signed_and_checked(volume: Volume, keys: Path) -> None:
    path = sign(volume, keys / "mine")
    assert path == volume.folder / SIGNATURE
    assert path.stat().st_mode & 0o777 == 0o444
    signed = check(volume, keys / "allowed")
    assert signed.by == "me@example.org"
    assert "ED25519 key SHA256:" in signed.why
    assert inspect([volume]).findings == ()  # the signature is no extra file


def test_ssh_keygen_alone_accepts_it(volume: Volume, keys: Path) -> None:
    sign(volume, keys / "mine")
    command = ["ssh-keygen", "-Y", "verify", "-f", str(keys / "allowed"), "-I", "me@example.org"]
    command += ["-n", "holdfast", "-s", SIGNATURE]
    with (volume.folder / SUMS).open("rb") as listed:
        subprocess.run(command, cwd=volume.folder, stdin=listed, check=True, capture_output=True)


def test_signing_again_replaces_the_signature(volume: Volume, keys: Path) -> None:
    sign(volume, keys / "other")
    assert check(volume, keys / "allowed").by is None
    sign(volume, keys / "mine")
    assert check(volume, keys / "allowed").by == "me@example.org"


def test_the_receipt_is_covered(volume: Volume, keys: Path) -> None:
    """Changed in a way that keeps it well-formed, it is no longer the one that was signed."""
    sign(volume, keys / "mine")
    path = volume.folder / RECEIPT
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"hub.example", b"evil.example"))
    assert read_receipt(volume.folder) is not None
    assert [one.path for one in inspect([volume]).findings] == [RECEIPT]


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        ("unsigned", "SHA256SUMS.sig: No such file"),
        ("another key", "no allowed signer signed it"),
        ("changed sums", "incorrect signature"),
        ("flipped signature", ""),
        ("no sums", "SHA256SUMS: No such file"),
        ("a huge file", "is no signature"),
    ],
)
def test_what_is_not_to_be_trusted(happens: str, why: str, volume: Volume, keys: Path) -> None:
    if happens != "unsigned":
        sign(volume, keys / ("other" if happens == "another key" else "mine"))
    if happens == "changed sums":
        flip(volume.folder / SUMS, 0)
    elif happens == "flipped signature":
        flip(volume.folder / SIGNATURE, 8 * 120)
    elif happens == "no sums":
        (volume.folder / SUMS).unlink()
    elif happens == "a huge file":
        (volume.folder / SIGNATURE).unlink()
        (volume.folder / SIGNATURE).write_bytes(b"x" * 100_000)
    signed = check(volume, keys / "allowed")
    assert signed.by is None
    assert why.lower() in signed.why.lower()
    assert signed.why


def test_damage_is_not_signed(volume: Volume, keys: Path) -> None:
    flip(volume.folder / SUMS, 0)
    with pytest.raises(StoreError, match=r"is not signed: SHA256SUMS.*Repair it first"):
        sign(volume, keys / "mine")
    assert not (volume.folder / SIGNATURE).exists()


def test_a_folder_without_receipt_is_not_signed(volume: Volume, keys: Path) -> None:
    for name in (RECEIPT, SUMS):
        (volume.folder / name).unlink()
    with pytest.raises(StoreError, match="is not signed"):
        sign(volume, keys / "mine")


def test_what_is_no_key_says_so(volume: Volume, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key"):
        sign(volume, tmp_path / "none")
    (tmp_path / "text").write_text("not a key\n")
    with pytest.raises(StoreError, match="could not be signed with"):
        sign(volume, tmp_path / "text")
    with pytest.raises(ConfigError, match="there is no file"):
        check(volume, tmp_path / "none")


def test_without_ssh_keygen_it_says_what_to_install(
    volume: Volume, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(StoreError, match=r"ssh-keygen is not on this machine.*openssh-client"):
        sign(volume, keys / "mine")
