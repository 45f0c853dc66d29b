"""Inspections of real programs, and the cache that saves starting them again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from server.engines.binary import find_llama_server
from server.engines.inspection import Inspection, InspectionCache, inspect, parse_version
from server.errors import EngineMissing
from server.settings import Settings
from tests.effort import cpu_seconds
from tests.waiting import alive, wait_for


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", configs=())


@pytest.fixture
def cache(home: Settings) -> InspectionCache:
    return InspectionCache(home)


def write_script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o755)
    return path


def runs(tmp_path: Path) -> int:
    """How often the counting script was asked for its version."""
    return len((tmp_path / "runs").read_text().splitlines())


def counting_script(tmp_path: Path, version: str = "version: 8000 (abc)") -> Path:
    return write_script(
        tmp_path / "llama-server", f"echo run >>'{tmp_path}/runs'", f"echo '{version}'"
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("version: 7990 (abc1234)\nbuilt with cc", ("7990 (abc1234)", 7990)),
        (
            "version: 0.5.0-dev (build 1, commit 0c1e570)\nbuilt with GNU 12.2.0",
            ("0.5.0-dev (build 1, commit 0c1e570)", 1),
        ),
        (
            "ggml_cuda_init: found 2 CUDA devices:\nversion: 9180 (f00)",
            ("9180 (f00)", 9180),
        ),
        ("version: 0 (unknown)", ("0 (unknown)", 0)),
        ("version: 1.2.3", None),
        ("usage: other-server version: 8000 (abc)", None),
        ("", None),
    ],
)
def test_versions(output: str, expected: tuple[str, int] | None) -> None:
    assert parse_version(output) == expected


def test_the_real_one_names_qwen35(cache: InspectionCache, home: Settings) -> None:
    inspection = inspect(find_llama_server(home).path, cache)
    assert inspection.names_qwen35 or inspection.build >= 7990


@pytest.mark.parametrize(("name", "known"), [("qwen35", True), ("qwen3", False)])
def test_the_name_is_found_in_the_library_that_the_program_loads(
    tmp_path: Path, cache: InspectionCache, name: str, known: bool
) -> None:
    (tmp_path / "lib.c").write_text(f'const char *llama_architecture(void) {{ return "{name}"; }}')
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\nconst char *llama_architecture(void);\n"
        'int main(void) { puts("version: 1 (unknown)"); return !llama_architecture(); }'
    )
    library, program = tmp_path / "libllama.so.0", tmp_path / "llama-server"
    compiler = shutil.which("cc")
    assert compiler, "set-up needs a compiler too"
    commands: tuple[list[str | Path], ...] = (
        [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "lib.c"],
        [compiler, "-o", program, tmp_path / "main.c", library, "-Wl,-rpath,$ORIGIN"],
    )
    for command in commands:
        subprocess.run(command, check=True)

    assert inspect(program, cache) == Inspection("1 (unknown)", 1, names_qwen35=known)

    # The program is the same file still; what it loads is not.
    replaced = library.read_bytes().replace(name.encode() + b"\0", b"other\0\0"[: len(name) + 1])
    library.write_bytes(replaced)
    assert not inspect(program, cache).names_qwen35


def test_the_name_is_found_in_a_static_program(tmp_path: Path, cache: InspectionCache) -> None:
    program = write_script(tmp_path / "llama-server", "echo 'version: 1 (abc)'", "exit 0", "qwen35")
    assert not inspect(program, cache).names_qwen35
    program.write_bytes(program.read_bytes().rstrip() + b"\0")  # now as a C string
    assert inspect(program, cache).names_qwen35


def test_one_that_hangs_is_given_up_with_all_that_it_started(
    tmp_path: Path, cache: InspectionCache
) -> None:
    program = write_script(
        tmp_path / "llama-server", f"sleep 60 & echo $! >'{tmp_path}/pid'", "wait"
    )
    with pytest.raises(EngineMissing, match=r"gave no answer within 2 s"):
        inspect(program, cache, timeout=2.0)
    child = (tmp_path / "pid").read_text().strip()
    wait_for(lambda: not alive(int(child)))


def test_one_that_lacks_a_library_says_which(tmp_path: Path, cache: InspectionCache) -> None:
    program = write_script(
        tmp_path / "llama-server",
        "echo 'error while loading shared libraries: libcudart.so.12' >&2; exit 127",
    )
    with pytest.raises(EngineMissing, match=r"status 127 and printed: .*libcudart\.so\.12"):
        inspect(program, cache)


def test_a_secret_of_ours_is_not_handed_on(
    tmp_path: Path, cache: InspectionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    program = write_script(
        tmp_path / "llama-server", f"env >'{tmp_path}/env'; echo 'version: 8000 (a)'"
    )
    inspect(program, cache)
    assert "secret" not in (tmp_path / "env").read_text()


def test_the_second_inspection_starts_nothing_and_is_fast(tmp_path: Path, home: Settings) -> None:
    program = counting_script(tmp_path)
    first = inspect(program, InspectionCache(home))
    asked = runs(tmp_path)
    assert inspect(program, InspectionCache(home)) == first  # as another process would
    assert cpu_seconds(lambda: inspect(program, InspectionCache(home))) < 0.05
    assert runs(tmp_path) == asked


def test_a_program_that_changed_is_asked_anew(tmp_path: Path, cache: InspectionCache) -> None:
    inspect(counting_script(tmp_path), cache)
    changed = counting_script(tmp_path, "version: 9000 (new)")
    assert inspect(changed, cache).build == 9000


def test_a_link_that_points_elsewhere_is_asked_anew(tmp_path: Path, cache: InspectionCache) -> None:
    link = tmp_path / "link"
    for build in (8000, 9000):
        script = write_script(tmp_path / f"server-{build}", f"echo 'version: {build} (a)'")
        link.unlink(missing_ok=True)
        link.symlink_to(script)
        assert inspect(link, cache).build == build


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b"[]", b'{"PATH": 1}', b'{"PATH": {"files": {}, "inspection": {"a": 1}}}'],
)
def test_a_damaged_cache_is_as_good_as_none(tmp_path: Path, home: Settings, content: bytes) -> None:
    program = counting_script(tmp_path)
    file = home.home / "cache" / "llama-server.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content.replace(b"PATH", str(program).encode()))
    assert inspect(program, InspectionCache(home)).build == 8000


def test_a_home_that_cannot_be_written_costs_the_cache_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = InspectionCache(Settings(home=tmp_path / "file", configs=()))
    assert inspect(counting_script(tmp_path), cache).build == 8000
