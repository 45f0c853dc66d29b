"""Candidates are real programs here: small scripts, a compiled one, and the real llama-server."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.engines.binary import (
    Candidate,
    built_program,
    candidates,
    find_llama_server,
    shortcoming,
)
from server.engines.inspection import Inspection
from server.errors import EngineMissing
from server.settings import Settings

NEW = "version: 8000 (abc1234)"
OLD = "version: 6500 (abc1234)"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "environment"


def settings(tmp_path: Path, named: Path | None = None) -> Settings:
    return Settings(home=tmp_path / "home", configs=(), llama_server=named)


def write_program(path: Path, printed: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{printed}\nEND\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("build", "names_qwen35", "problem"),
    [
        (7990, False, None),
        (7989, False, "found version 7989 (abc), needs build 7990"),
        (7989, True, None),  # a fork with numbers of its own
        (1, True, None),  # built from a shallow checkout
        (1, False, "gives no build number"),
        (0, False, "gives no build number"),
    ],
)
def test_the_number_or_the_name_decides(
    build: int, names_qwen35: bool, problem: str | None
) -> None:
    found = shortcoming(Inspection(f"{build} (abc)", build, names_qwen35))
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


def test_settings_come_before_path_and_path_before_the_built_one(
    tmp_path: Path, prefix: Path
) -> None:
    named = write_program(tmp_path / "named", NEW)
    found = write_program(tmp_path / "bin" / "llama-server", NEW)
    built = write_program(built_program(prefix), NEW)
    search_path = [str(tmp_path / "empty"), str(found.parent)]

    def find(named: Path | None, search_path: list[str]) -> tuple[Path, str]:
        binary = find_llama_server(
            settings(tmp_path, named), search_path=search_path, prefix=prefix
        )
        return binary.path, binary.source

    assert find(named, search_path) == (named, "settings")
    assert find(None, search_path) == (found, "PATH")
    assert find(None, []) == (built, "built")


def test_one_on_path_that_is_too_old_is_passed_over_and_the_reason_kept(
    tmp_path: Path, prefix: Path
) -> None:
    old = write_program(tmp_path / "old" / "llama-server", OLD)
    new = write_program(tmp_path / "new" / "llama-server", NEW)
    search_path = [str(old.parent), str(new.parent)]
    here = settings(tmp_path)

    assert find_llama_server(here, search_path=search_path, prefix=prefix).path == new
    assert candidates(here, search_path=search_path, prefix=prefix) == (
        Candidate(
            old,
            "PATH",
            "6500 (abc1234)",
            "too old for Qwen3.5: found version 6500 (abc1234), needs build 7990 or newer",
        ),
        Candidate(new, "PATH", "8000 (abc1234)", None),
    )


def test_the_same_program_is_considered_once(tmp_path: Path, prefix: Path) -> None:
    program = write_program(tmp_path / "bin" / "llama-server", NEW)
    (tmp_path / "link").symlink_to(program.parent)
    search_path = [str(program.parent), str(tmp_path / "link"), str(program.parent)]
    found = candidates(settings(tmp_path, program), search_path=search_path, prefix=prefix)
    assert [candidate.source for candidate in found] == ["settings"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "there is no such file"),
        ("folder", "not a program but a folder"),
        ("plain file", "not executable; chmod +x"),
        ("not for this machine", "cannot be run: Exec format error"),
        ("another program", "printed: hello"),
        ("silent", "printed: nothing"),
        ("too old", "found version 6500 (abc1234), needs build 7990"),
        ("without a number", "0 (unknown), gives no build number"),
    ],
)
def test_a_named_one_that_is_unusable_is_an_error(
    tmp_path: Path, prefix: Path, kind: str, reason: str
) -> None:
    named = tmp_path / "llama-server"
    match kind:
        case "folder":
            named.mkdir()
        case "plain file":
            named.write_text("")
        case "not for this machine":
            named.write_bytes(b"\x7fELF\x00\x00\x00\x00")
            named.chmod(0o755)
        case "another program" | "silent" | "too old" | "without a number":
            says = {
                "another program": "hello",
                "silent": "",
                "too old": OLD,
                "without a number": "version: 0 (unknown)",
            }
            write_program(named, says[kind])
    fallback = write_program(tmp_path / "bin" / "llama-server", NEW)

    with pytest.raises(EngineMissing) as caught:
        find_llama_server(
            settings(tmp_path, named), search_path=[str(fallback.parent)], prefix=prefix
        )

    assert str(named) in caught.value.what
    assert reason in caught.value.why
    assert "HOLDFAST_LLAMA_SERVER" in caught.value.next_step
    assert caught.value.exit_code == 3


def test_without_any_the_error_tells_how_to_get_one_and_why_others_were_refused(
    tmp_path: Path, prefix: Path
) -> None:
    with pytest.raises(EngineMissing, match=r"no usable llama-server .*scripts/setup"):
        find_llama_server(settings(tmp_path), search_path=[], prefix=prefix)

    old = write_program(tmp_path / "bin" / "llama-server", OLD)
    with pytest.raises(EngineMissing, match=f"{old}: too old"):
        find_llama_server(settings(tmp_path), search_path=[str(old.parent)], prefix=prefix)


def test_the_one_that_set_up_provided_is_usable(tmp_path: Path) -> None:
    binary = find_llama_server(settings(tmp_path))
    assert binary.path.is_file()
    assert binary.version
