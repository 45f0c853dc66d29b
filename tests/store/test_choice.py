"""Names of models, builds and repositories, and what is held of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.catalogue import Build, Catalogue, File, Model, Serve
from server.errors import StoreError
from server.store.choice import Choice, builds_in, choose
from server.store.shelf import Shelf, Volume
from tests.store.shelves import OTHER, REVISION, published

GGUFS = "org/Tiny-GGUF"
HEADERLESS = b"\x02\0\0\0\0\0\0\0{}"


def build(name: str, **fields: object) -> Build:
    common = {"model": "tiny", "id": name, "engine": "llama-server", "format": "gguf", "quant": "Q"}
    return Build(**{**common, "repository": GGUFS, **fields})  # type: ignore[arg-type]


BUILDS = (
    build("q4", revision=REVISION, files=(File("q4.gguf"),), mmproj=File("mmproj.gguf")),
    build("q8", revision=REVISION, files=(File("q8.gguf"),), mmproj=File("mmproj.gguf")),
    build("q2", revision=REVISION, files=(File("q2.gguf"),)),
    build("bf16", format="safetensors", engine="vllm", repository="org/Tiny", files=()),
    build("own", repository=None, path=Path("/nowhere")),
)


@pytest.fixture
def catalogue() -> Catalogue:
    model = Model(
        id="tiny",
        title="Tiny",
        architecture=None,  # type: ignore[arg-type]
        context=1,
        thinking_default=False,
        sampling={},
        scores={},
        licence="mit",
        builds=BUILDS,
    )
    return Catalogue({"tiny": model}, Serve(), ())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def gguf(write: object, name: str) -> bytes:
    return write(name).read_bytes()  # type: ignore[operator,no-any-return]


@pytest.fixture
def volume(shelf: Shelf, write_gguf: object) -> Volume:
    content = gguf(write_gguf, "choice.gguf")
    names = ("q4.gguf", "q8.gguf", "mmproj.gguf")
    return published(shelf, dict.fromkeys(names, content) | {"README.md": b""}, GGUFS)


def test_one_build_of_several_is_its_files_alone(
    shelf: Shelf, catalogue: Catalogue, volume: Volume
) -> None:
    assert choose("tiny:q4", shelf, catalogue) == (Choice(volume, ("q4.gguf",)),)
    assert choose("Tiny:Q8", shelf, catalogue) == (Choice(volume, ("q8.gguf",)),)
    assert choose("tiny", shelf, catalogue) == (Choice(volume),)
    assert choose(GGUFS, shelf, catalogue) == (Choice(volume),)


def test_the_last_build_is_the_whole_volume(
    shelf: Shelf, catalogue: Catalogue, volume: Volume
) -> None:
    shelf.remove(volume, ["q8.gguf"])
    (choice,) = choose("tiny:q4", shelf, catalogue)
    assert choice.paths is None


def test_a_model_in_several_repositories(
    shelf: Shelf, catalogue: Catalogue, volume: Volume
) -> None:
    weights = published(shelf, {"model.safetensors": HEADERLESS}, "org/Tiny", OTHER)
    assert set(choose("tiny", shelf, catalogue)) == {Choice(volume), Choice(weights)}
    assert choose("tiny:bf16", shelf, catalogue) == (Choice(weights),)
    assert [build.id for build in builds_in(volume, catalogue)] == ["q4", "q8"]
    assert [build.id for build in builds_in(weights, catalogue)] == ["bf16"]


def test_another_revision_is_not_the_catalogues(shelf: Shelf, catalogue: Catalogue) -> None:
    other = published(shelf, {"README.md": b""}, GGUFS, OTHER)
    assert builds_in(other, catalogue) == ()
    with pytest.raises(StoreError, match="`holdfast pull tiny:q4` fetches it"):
        choose("tiny:q4", shelf, catalogue)


@pytest.mark.parametrize("name", ["tiny:q2", "tiny:own", "tiny"])
def test_what_is_not_held(shelf: Shelf, catalogue: Catalogue, name: str) -> None:
    with pytest.raises(StoreError, match=f"nothing of {name} is in the store"):
        choose(name, shelf, catalogue)


@pytest.mark.parametrize("name", ["no/such", "tiny:none", "none"])
def test_a_name_that_means_nothing(
    shelf: Shelf, catalogue: Catalogue, volume: Volume, name: str
) -> None:
    with pytest.raises(StoreError, match="is not in the store"):
        choose(name, shelf, catalogue)
