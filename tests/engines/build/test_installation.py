from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from server.engines.build.installation import install, installed_key


def write_wheel(path: Path, text: str = "one") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("bin/llama-server", f"#!/bin/sh\necho {text}\n")
        wheel.writestr("lib/libllama.so.0", b"\x7fELF")
        wheel.writestr("lib/cmake/llama/llama-config.cmake", "set(A 1)")
        wheel.writestr("include/llama.h", "#pragma once")
        wheel.writestr("llama_cpp/__init__.py", "")
    return path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_programs_and_libraries_are_unpacked_and_run(tmp_path: Path) -> None:
    folder = tmp_path / "environment" / "llama.cpp"
    install(write_wheel(tmp_path / "a.whl"), "key-1", folder)
    assert files(folder) == {"bin/llama-server", "lib/libllama.so.0", "key"}
    assert installed_key(folder) == "key-1"
    assert subprocess.check_output([folder / "bin" / "llama-server"]) == b"one\n"


@pytest.mark.parametrize("link", [False, True])
def test_an_older_one_is_replaced(tmp_path: Path, link: bool) -> None:
    folder = tmp_path / "llama.cpp"
    elsewhere = tmp_path / "elsewhere"
    install(write_wheel(tmp_path / "a.whl"), "key-1", elsewhere if link else folder)
    if link:
        folder.symlink_to(elsewhere)
    install(write_wheel(tmp_path / "b.whl", "two"), "key-2", folder)
    assert installed_key(folder) == "key-2"
    assert subprocess.check_output([folder / "bin" / "llama-server"]) == b"two\n"
    assert not link or installed_key(elsewhere) == "key-1"


def test_a_damaged_wheel_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "llama.cpp"
    install(write_wheel(tmp_path / "a.whl"), "key-1", folder)
    damaged = write_wheel(tmp_path / "b.whl", "two")
    damaged.write_bytes(damaged.read_bytes().replace(b"echo two", b"echo bad"))

    with pytest.raises(zipfile.BadZipFile):
        install(damaged, "key-2", folder)

    assert installed_key(folder) == "key-1"
    assert subprocess.check_output([folder / "bin" / "llama-server"]) == b"one\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a.whl", "b.whl", "llama.cpp"}


def test_nothing_installed_has_no_key(tmp_path: Path) -> None:
    assert installed_key(tmp_path / "llama.cpp") is None
