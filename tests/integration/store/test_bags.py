"""`holdfast store export` and `import`, and the bags between them, which bagit.py must accept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bagit
import pytest

from tests.integration.store.stores import OTHER, REVISION, fill, flip, holdfast, killed, tree

pytestmark = pytest.mark.integration

LARGE = 2_000_000
MEDIUM = "8M"
GGUF = f"data/holdfast/Large-GGUF/{OTHER}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    fill(tmp_path / "home", LARGE)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of a store as one bag, of files of its own."""
    folder = tmp_path_factory.mktemp("whole")
    fill(folder / "home", LARGE)
    export(folder / "home", folder / "linked")
    return Path(shutil.copytree(folder / "linked", folder / "bag"))


@pytest.fixture
def bag(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bag"))


def export(home: Path, directory: Path, *arguments: str) -> list[Path]:
    done = holdfast("store", "export", str(directory), *arguments, home=home)
    assert done.returncode == 0, done.stderr
    return sorted(path.parent for path in directory.rglob("bagit.txt"))


def take(home: Path, directory: Path) -> tuple[int, str, str]:
    done = holdfast("store", "import", str(directory), home=home)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def validate(root: Path) -> bagit.Bag:
    """By the Library of Congress's own program, as an archive would."""
    command = [sys.executable, "-m", "bagit", "--validate", "--quiet", str(root)]
    subprocess.run(command, check=True, timeout=60)
    return bagit.Bag(str(root))


def test_one_bag_there_and_back(home: Path, tmp_path: Path) -> None:
    (root,) = export(home, tmp_path / "out")
    assert root == tmp_path / "out"
    found = validate(root)
    assert found.info["Bag-Count"] == "1 of 1"
    assert sorted(found.info["External-Identifier"]) == [
        f"holdfast/Large-GGUF@{OTHER}",
        f"holdfast/demo@{REVISION}",
    ]
    assert not list(root.rglob(".*"))
    sums = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(sums, cwd=root / GGUF, check=True)
    code, out, err = take(tmp_path / "new", root)
    assert (code, out.count("in the store")) == (0, 2), err
    assert tree(tmp_path / "new" / "models") == tree(home / "models")
    assert take(tmp_path / "new", root)[0] == 0


def test_media_that_come_back_in_another_order(home: Path, tmp_path: Path) -> None:
    roots = export(home, tmp_path / "out", "--media-size", MEDIUM)
    assert len(roots) == 2
    for root in roots:
        assert validate(root).info["Bag-Count"].endswith("of 2")
        used = subprocess.run(["du", "-sB1", root], capture_output=True, text=True, check=True)
        assert int(used.stdout.split()[0]) <= 8 * 1024**2
    new = tmp_path / "new"
    code, out, _ = take(new, roots[1])
    assert code == 0
    assert "still to come from other media (this was 2 of 2 of holdfast-" in out
    assert take(new, roots[0])[0] == 0
    assert tree(new / "models") == tree(home / "models")


def test_one_medium_at_a_time(home: Path, tmp_path: Path) -> None:
    together = export(home, tmp_path / "out", "--media-size", MEDIUM)
    for number, root in enumerate(together, 1):
        alone = tmp_path / f"medium-{number}"
        export(home, alone, "--media-size", MEDIUM, "--only", str(number))
        assert validate(alone).entries == validate(root).entries
    assert holdfast(
        "store", "export", str(tmp_path / "x"), "--media-size", MEDIUM, "--only", "3", home=home
    ).returncode


def test_one_model_of_several(home: Path, tmp_path: Path) -> None:
    (root,) = export(home, tmp_path / "out", "holdfast/demo")
    assert validate(root).info["External-Identifier"] == f"holdfast/demo@{REVISION}"
    assert take(tmp_path / "new", root)[0] == 0
    assert {path.split("/")[1] for path in tree(tmp_path / "new" / "models")} == {"demo"}


def test_a_medium_too_small_is_told_with_the_least_that_works(home: Path, tmp_path: Path) -> None:
    done = holdfast("store", "export", str(tmp_path / "x"), "--media-size", "2M", home=home)
    assert done.returncode == 4
    assert "fits on no such medium" in done.stderr
    least = done.stderr.split("Use media of ")[1].split()[0]
    export(home, tmp_path / "x", "--media-size", least)
    done = holdfast("store", "export", str(tmp_path / "x"), "--media-size", "many", home=home)
    assert done.returncode == 2


def test_a_folder_with_other_things_is_left_alone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"precious")
    done = holdfast("store", "export", str(tmp_path / "photos"), home=home)
    assert done.returncode == 4
    assert "me.jpg" in done.stderr
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["me.jpg"]


def test_what_rotted_in_the_store_is_not_exported(home: Path, tmp_path: Path) -> None:
    flip(home / "models" / "holdfast/Large-GGUF" / OTHER / "data/part 2.txt")
    done = holdfast("store", "export", str(tmp_path / "out"), home=home)
    assert done.returncode == 4
    assert "data/part 2.txt" in done.stderr
    assert "is not whole" in done.stderr
    assert not (tmp_path / "out" / "bagit.txt").exists()


def test_a_killed_export_goes_on(home: Path, tmp_path: Path) -> None:
    for after in (0.15, 0.2, 0.25, 0.3):
        killed("store", "export", str(tmp_path / "out"), home=home, after=after)
    (root,) = export(home, tmp_path / "out")
    validate(root)


# ---- Bags that something happened to, and bags that somebody made ----


def rewrite(name: str, edit: Callable[[str], str]) -> Callable[[Path], None]:
    def do(bag: Path) -> None:
        path = bag / name
        path.chmod(0o644)
        path.write_text(edit(path.read_text()))
        (bag / "tagmanifest-sha256.txt").unlink()

    return do


def linked(bag: Path) -> None:
    path = bag / GGUF / "README.md"
    content = path.rename(bag / "README.md")
    path.symlink_to(content)


def linked_payload(bag: Path) -> None:
    payload = (bag / "data").rename(bag / "elsewhere")
    (bag / "data").symlink_to(payload)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda bag: flip(bag / GGUF / "data/part 0.txt"), "what it is a copy of is damaged"),
        (lambda bag: flip(bag / GGUF / "holdfast.json"), "its sha256 is not the manifest's"),
        (lambda bag: flip(bag / "bag-info.txt"), "is not the one in tagmanifest-sha256.txt"),
        (lambda bag: (bag / GGUF / "README.md").unlink(), "README.md is missing"),
        (lambda bag: (bag / GGUF / "more").write_text("x"), "more is not in the manifest"),
        (lambda bag: (bag / "manifest-sha256.txt").unlink(), "manifest-sha256.txt is not as"),
        (lambda bag: (bag / "bagit.txt").unlink(), "no bag is in"),
        (lambda bag: (bag / "fetch.txt").write_text("http://x 1 data/x"), "not fetched"),
        (linked, "no ordinary file"),
        (linked_payload, "no ordinary folder"),
        (
            rewrite("manifest-sha256.txt", lambda text: text.replace("data/", "data/../../", 1)),
            "refused",
        ),
        (
            rewrite("manifest-sha256.txt", lambda text: text[0].replace(text[0], "g") + text[1:]),
            "line 1 is no sha256",
        ),
        (rewrite("bagit.txt", lambda text: text.replace("1.0", "9.9")), "only the versions"),
    ],
    ids=range(13),
)  # fmt: skip
def test_nothing_wrong_comes_in(
    bag: Path, tmp_path: Path, harm: Callable[[Path], object], told: str
) -> None:
    harm(bag)
    code, _, err = take(tmp_path / "new", bag)
    assert code == 4
    assert told in err
    assert not [path for path in tree(tmp_path / "new" / "models") if "Large" in path]


def test_a_repaired_medium_brings_only_what_was_missing(bag: Path, tmp_path: Path) -> None:
    damaged = bag / GGUF / "data/part 0.txt"
    flip(damaged)
    new = tmp_path / "new"
    code, out, err = take(new, bag)
    assert code == 4
    assert "Large-GGUF@76543210fedc: not taken in" in out
    assert "demo@0123456789ab: in the store" in out
    assert "part 0.txt" in err
    flip(damaged)
    assert take(new, bag)[0] == 0
    found = json.loads((new / "models/holdfast/Large-GGUF" / OTHER / "holdfast.json").read_bytes())
    assert len(found["files"]) == 6


def test_a_bag_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"me")
    bagit.make_bag(str(tmp_path / "photos"), checksums=["sha256"])
    code, _, err = take(tmp_path / "new", tmp_path / "photos")
    assert code == 4
    assert "no receipt in it names data/me.jpg" in err
