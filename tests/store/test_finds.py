"""What lies in a cache or a folder, and what its place says of each file."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import StoreError
from server.store.finds import Find, look

COMMIT, OTHER = "a" * 40, "b" * 40
SHA256, OID = "c" * 64, "d" * 40


def cached(
    cache: Path, files: dict[str, str], name: str = "models--org--a--b", commit: str = COMMIT
) -> Path:
    """A repository as huggingface_hub keeps it: `files` says which blob each path is."""
    blobs, snapshot = cache / name / "blobs", cache / name / "snapshots" / commit
    blobs.mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True, exist_ok=True)
    for path, blob in files.items():
        (blobs / blob).write_text(path)
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to(blobs / blob)
    return snapshot


def noted(folder: Path, path: str, commit: str, etag: str) -> None:
    """A file that `hf download --local-dir` left there."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(path)
    note = folder / ".cache" / "huggingface" / "download" / f"{path}.metadata"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{commit}\n{etag}\n1700000000.0\n")


def test_a_cache(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, {"w.safetensors": SHA256, "sub/config.json": OID, "x.py": "e" * 40})
    (finds,) = look(tmp_path, None, None)
    blobs = tmp_path / "models--org--a--b" / "blobs"
    assert (finds.repository, finds.revision, finds.origin) == ("org/a--b", COMMIT, snapshot)
    assert finds.files == (
        Find("w.safetensors", blobs / SHA256, sha256=SHA256),
        Find("sub/config.json", blobs / OID, git_oid=OID),
    )
    assert list(finds.refused) == ["x.py"]
    assert look(tmp_path / "models--org--a--b", None, None) == (finds,)


def test_of_a_cache_what_is_asked_for(tmp_path: Path) -> None:
    cached(tmp_path, {"a": OID})
    cached(tmp_path, {"a": OID}, commit=OTHER)
    cached(tmp_path, {"a": OID}, name="models--org--c")
    cached(tmp_path, {"a": OID}, name="datasets--org--d")
    cached(tmp_path, {"a": OID}, name="models--org--e", commit="main")
    assert len(look(tmp_path, None, None)) == 3
    assert len(look(tmp_path, "org/a--b", None)) == 2
    assert [one.revision for one in look(tmp_path, "org/a--b", OTHER)] == [OTHER]
    with pytest.raises(StoreError, match="holds no snapshot of org/none"):
        look(tmp_path, "org/none", None)


def test_a_file_outside_the_blobs_proves_nothing(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, {"a": OID})
    stranger = tmp_path / SHA256
    stranger.write_text("x")
    (snapshot / "b").symlink_to(stranger)
    (snapshot / "c").symlink_to(tmp_path / "nowhere")
    (snapshot / "d").write_text("no link at all")
    (finds,) = look(tmp_path, None, None)
    assert [(f.path, bool(f.sha256 or f.git_oid)) for f in finds.files] == [
        ("a", True),
        ("b", False),
        ("d", False),
    ]


def test_a_local_folder(tmp_path: Path) -> None:
    noted(tmp_path, "w.safetensors", COMMIT, SHA256)
    noted(tmp_path, "sub/config.json", COMMIT, OID)
    (tmp_path / "mine.txt").write_text("no note")
    (tmp_path / "SHA256SUMS").write_text("of the store")
    (finds,) = look(tmp_path, "org/a", None)
    assert finds.revision == COMMIT
    assert [(find.path, find.sha256, find.git_oid) for find in finds.files] == [
        ("mine.txt", None, None),
        ("w.safetensors", SHA256, None),
        ("sub/config.json", None, OID),
    ]
    (other,) = look(tmp_path, "org/a", OTHER)
    assert all(find.sha256 is None and find.git_oid is None for find in other.files)


@pytest.mark.parametrize(
    ("commits", "why"), [([], "names no commit"), ([COMMIT, OTHER], "names several commits")]
)
def test_a_folder_that_does_not_tell_its_commit(
    tmp_path: Path, commits: list[str], why: str
) -> None:
    for number, commit in enumerate(commits):
        noted(tmp_path, f"file-{number}", commit, OID)
    with pytest.raises(StoreError, match=why):
        look(tmp_path, "org/a", None)


@pytest.mark.parametrize("note", [b"", b"main\nx\n", b"\xff\xfe", b"a" * 100_000])
def test_a_damaged_note_says_nothing(tmp_path: Path, note: bytes) -> None:
    noted(tmp_path, "a", COMMIT, OID)
    (tmp_path / ".cache" / "huggingface" / "download" / "a.metadata").write_bytes(note)
    (finds,) = look(tmp_path, "org/a", COMMIT)
    assert finds.files[0].git_oid is None


def test_names_that_cannot_be_held_are_told(tmp_path: Path) -> None:
    for name in ("good", "bad\nname", "back\\slash", "model.bin", ".hidden"):
        (tmp_path / name).write_text("x")
    (finds,) = look(tmp_path, "org/a", COMMIT)
    assert [find.path for find in finds.files] == ["good"]
    assert sorted(finds.refused) == ["'back\\\\slash'", "'bad\\nname'", "model.bin"]


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no folder"):
        look(tmp_path / "none", None, None)
