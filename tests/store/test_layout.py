from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.catalogue import Build, File
from server.settings import Settings
from server.store.layout import Installed, Missing, installed, locate
from server.store.receipt import Held, Receipt, write_receipt

REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GGUF = Build(
    model="qwen3.5-9b",
    id="q4_k_m",
    engine="llama-server",
    format="gguf",
    quant="Q4_K_M",
    repository="unsloth/Qwen3.5-9B-GGUF",
    revision=REVISION,
    files=(File("q4/w-00001-of-00002.gguf", 10), File("q4/w-00002-of-00002.gguf", 5)),
    mmproj=File("mmproj-F16.gguf", 3),
)
BF16 = Build(
    model="qwen3.5-9b",
    id="bf16",
    engine="vllm",
    format="safetensors",
    quant="BF16",
    repository="Qwen/Qwen3.5-9B",
    revision=REVISION,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, configs=())


def fill(folder: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


WHOLE = {"q4/w-00001-of-00002.gguf": 10, "q4/w-00002-of-00002.gguf": 5, "mmproj-F16.gguf": 3}


def gguf_folder(settings: Settings, revision: str = REVISION) -> Path:
    return settings.models / "unsloth" / "Qwen3.5-9B-GGUF" / revision


def test_a_build_that_is_all_there(settings: Settings) -> None:
    folder = gguf_folder(settings)
    fill(folder, WHOLE)
    files = (folder / "q4/w-00001-of-00002.gguf", folder / "q4/w-00002-of-00002.gguf")
    found = Installed(GGUF, files, files[0], folder / "mmproj-F16.gguf", 15, 3)
    assert locate(GGUF, settings) == installed(GGUF, settings) == found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"q4/w-00002-of-00002.gguf": None}, "w-00002-of-00002.gguf does not exist"),
        ({"q4/w-00002-of-00002.gguf": 4}, "has 4 bytes, and should have 5"),
        ({"mmproj-F16.gguf": None}, "mmproj-F16.gguf does not exist"),
        ({"mmproj-F16.gguf": 0}, "has 0 bytes, and should have 3"),
    ],
)
def test_a_build_that_is_not(
    settings: Settings, change: dict[str, int | None], problem: str
) -> None:
    sizes = {name: size for name, size in (WHOLE | change).items() if size is not None}
    fill(gguf_folder(settings), sizes)
    missing = locate(GGUF, settings)
    assert isinstance(missing, Missing)
    assert len(missing.problems) == 1
    assert problem in missing.problems[0]
    assert problem in missing.error().sentence
    assert "qwen3.5-9b:q4_k_m" in missing.error().what
    assert installed(GGUF, settings) is None


def test_an_error_stays_short(settings: Settings) -> None:
    many = replace(GGUF, files=tuple(File(f"{number}.gguf") for number in range(94)))
    missing = locate(many, settings)
    assert isinstance(missing, Missing)
    assert len(missing.problems) == 95
    assert "and 90 more" in missing.error().sentence


def test_without_a_pinned_revision_the_only_one_is_taken(settings: Settings) -> None:
    unpinned = replace(GGUF, revision=None)
    assert "no revision" in locate(unpinned, settings).problems[0]  # type: ignore[union-attr]
    fill(gguf_folder(settings), WHOLE)
    fill(gguf_folder(settings, "main"), WHOLE)
    assert isinstance(locate(unpinned, settings), Installed)
    fill(gguf_folder(settings, OTHER), WHOLE)
    assert "2 revisions" in locate(unpinned, settings).problems[0]  # type: ignore[union-attr]


def receive(folder: Path, sizes: dict[str, int], fetched: datetime = NOON) -> None:
    """A receipt that names files of these sizes, which need not be there."""
    repository = f"{folder.parent.parent.name}/{folder.parent.name}"
    held = tuple(Held(name, size, "0" * 64) for name, size in sorted(sizes.items()))
    write_receipt(folder, Receipt(repository, folder.name, "a test", fetched, held))


def test_of_several_revisions_with_receipts_the_one_fetched_last_is_taken(
    settings: Settings,
) -> None:
    unpinned = replace(GGUF, revision=None)
    for revision, fetched in ((REVISION, NOON), (OTHER, NOON - timedelta(days=1))):
        fill(gguf_folder(settings, revision), WHOLE)
        receive(gguf_folder(settings, revision), WHOLE, fetched)
    found = locate(unpinned, settings)
    assert isinstance(found, Installed)
    assert gguf_folder(settings) in found.main.parents
    part = {name: size for name, size in WHOLE.items() if "00001" not in name}
    receive(gguf_folder(settings), part, NOON)
    found = locate(unpinned, settings)
    assert isinstance(found, Installed)
    assert gguf_folder(settings, OTHER) in found.main.parents


@pytest.mark.parametrize(
    ("received", "problem"),
    [
        ({"q4/w-00002-of-00002.gguf": None}, "w-00002-of-00002.gguf has not arrived"),
        ({"q4/w-00002-of-00002.gguf": 6}, "has 5 bytes, and should have 6"),
        ({"mmproj-F16.gguf": None}, "mmproj-F16.gguf has not arrived"),
    ],
)
def test_what_is_still_arriving_is_not_there(
    settings: Settings, received: dict[str, int | None], problem: str
) -> None:
    folder = gguf_folder(settings)
    fill(folder, WHOLE)
    receive(folder, {name: size for name, size in (WHOLE | received).items() if size is not None})
    missing = locate(GGUF, settings)
    assert isinstance(missing, Missing)
    assert problem in missing.problems[0]
    assert "`holdfast pull qwen3.5-9b:q4_k_m` fetches them" in missing.error().next_step


def test_a_receipt_that_disagrees_with_the_catalogue_is_told(settings: Settings) -> None:
    folder = gguf_folder(settings)
    fill(folder, WHOLE | {"mmproj-F16.gguf": 4})
    receive(folder, WHOLE | {"mmproj-F16.gguf": 4})
    missing = locate(GGUF, settings)
    assert isinstance(missing, Missing)
    assert missing.problems[0].endswith("has 4 bytes, and the catalogue says 3")


def test_a_damaged_receipt_is_told(settings: Settings) -> None:
    fill(gguf_folder(settings), WHOLE)
    (gguf_folder(settings) / "holdfast.json").write_text("{")
    missing = locate(GGUF, settings)
    assert isinstance(missing, Missing)
    assert "holdfast.json is damaged" in missing.problems[0]


def test_of_an_unlisted_build_the_receipt_names_the_files(settings: Settings) -> None:
    folder = settings.models / "Qwen" / "Qwen3.5-9B" / REVISION
    fill(folder, {"a.safetensors": 7, "b.safetensors": 8, "config.json": 2})
    receive(folder, {"a.safetensors": 7, "config.json": 2})
    found = locate(BF16, settings)
    assert isinstance(found, Installed)
    assert found.files == (folder / "a.safetensors",)


def test_safetensors_are_served_as_a_folder(settings: Settings) -> None:
    folder = settings.models / "Qwen" / "Qwen3.5-9B" / REVISION
    assert isinstance(locate(BF16, settings), Missing)
    fill(folder, {"config.json": 2, "model-00001.safetensors": 7, "model-00002.safetensors": 8})
    found = locate(BF16, settings)
    assert isinstance(found, Installed)
    assert (found.main, found.bytes, found.mmproj) == (folder, 15, None)
    assert [path.name for path in found.files] == [
        "model-00001.safetensors",
        "model-00002.safetensors",
    ]


def test_a_build_at_a_path_of_its_own(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "own" / "m-00001-of-00002.gguf"
    own = replace(GGUF, repository=None, revision=None, files=(), path=path, mmproj=File("mm.gguf"))
    missing = locate(own, settings)
    assert isinstance(missing, Missing)
    assert "Correct its path" in missing.error().next_step
    fill(path.parent, {"m-00001-of-00002.gguf": 4, "m-00002-of-00002.gguf": 2})
    assert "mm.gguf does not exist" in locate(own, settings).problems[0]  # type: ignore[union-attr]
    fill(path.parent, {"mm.gguf": 1})
    found = locate(own, settings)
    assert isinstance(found, Installed)
    assert (found.main, found.bytes, found.mmproj) == (path, 6, path.parent / "mm.gguf")


def test_a_folder_of_one_gguf_model_is_enough_and_of_two_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    own = replace(GGUF, repository=None, revision=None, files=(), path=folder, mmproj=None)
    fill(folder, {"m-00001-of-00002.gguf": 4, "m-00002-of-00002.gguf": 2})
    found = locate(own, settings)
    assert isinstance(found, Installed)
    assert found.main.name == "m-00001-of-00002.gguf"
    fill(folder, {"other.gguf": 4})
    assert "more than one model" in locate(own, settings).problems[0]  # type: ignore[union-attr]


def test_a_build_from_nowhere(settings: Settings) -> None:
    missing = locate(replace(GGUF, repository=None, revision=None), settings)
    assert isinstance(missing, Missing)
    assert "Give it a repository" in missing.error().next_step
