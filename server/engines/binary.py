"""Which `llama-server` program to run, and whether it can run Qwen3.5.

Candidates, in this order: the one named in the settings, those on PATH, the one that set-up built.
A program qualifies if its build number is at least b7990 or if the name `qwen35` stands in it or in
the libllama that it loads. Most builds that were not made from a full git checkout, ours included,
say "build 0" or "build 1", so the number alone cannot decide.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.engines.inspection import Inspection, InspectionCache, inspect
from server.errors import EngineMissing
from server.settings import Settings

Source = Literal["settings", "PATH", "built"]

PROGRAM = "llama-server"
FIRST_QWEN35_BUILD = 7990  # llama.cpp pull request 19468 added the architecture qwen35
_NO_BUILD_NUMBER = 1  # or 0: what llama.cpp says where it was built without its git history


@dataclass(frozen=True, slots=True)
class Binary:
    path: Path
    version: str
    source: Source


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program that was considered; `problem` says why it cannot be used, None if it can."""

    path: Path
    source: Source
    version: str | None
    problem: str | None


def built_program(prefix: Path) -> Path:
    """Where set-up puts the program that it builds, in the environment at `prefix`."""
    return prefix / "llama.cpp" / "bin" / PROGRAM


def find_llama_server(
    settings: Settings, *, search_path: Sequence[str] | None = None, prefix: Path | None = None
) -> Binary:
    """The first usable candidate. Raises EngineMissing.

    A program that is named in the settings and unusable is an error, and not passed over: who
    names one means that one. `search_path` and `prefix` default to PATH and this environment.
    """
    rejected: list[Candidate] = []
    for candidate in _considered(settings, search_path, prefix):
        if candidate.problem is None and candidate.version is not None:
            return Binary(candidate.path, candidate.version, candidate.source)
        if candidate.source == "settings":
            raise EngineMissing(
                f"the llama-server named in the settings, {candidate.path}, cannot be used",
                why=candidate.problem or "",
                next_step="Correct or unset HOLDFAST_LLAMA_SERVER, then run scripts/setup",
            )
        rejected.append(candidate)
    raise EngineMissing(
        "no usable llama-server on this machine",
        why="; ".join(f"{one.path}: {one.problem}" for one in rejected),
        next_step="Run scripts/setup, which builds one, or name one in HOLDFAST_LLAMA_SERVER",
    )


def candidates(
    settings: Settings, *, search_path: Sequence[str] | None = None, prefix: Path | None = None
) -> tuple[Candidate, ...]:
    """Every candidate with its problem, in the order in which they are tried."""
    return tuple(_considered(settings, search_path, prefix))


def shortcoming(inspection: Inspection) -> str | None:
    """Why a program cannot run Qwen3.5, or None if it can."""
    if inspection.build >= FIRST_QWEN35_BUILD or inspection.names_qwen35:
        return None
    if inspection.build <= _NO_BUILD_NUMBER:
        return (
            f"cannot be told to know Qwen3.5: its version, {inspection.version}, gives no build "
            "number, and neither the file nor a library that it loads names qwen35; "
            "behind a wrapper script, name the program itself"
        )
    return (
        f"too old for Qwen3.5: found version {inspection.version}, "
        f"needs build {FIRST_QWEN35_BUILD} or newer"
    )


def _considered(
    settings: Settings, search_path: Sequence[str] | None, prefix: Path | None
) -> Iterator[Candidate]:
    cache = InspectionCache(settings)
    seen: set[Path] = set()
    for path, source in _places(
        settings,
        os.get_exec_path() if search_path is None else search_path,
        Path(sys.prefix) if prefix is None else prefix,
    ):
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield _judge(path, source, cache)


def _places(
    settings: Settings, search_path: Sequence[str], prefix: Path
) -> Iterator[tuple[Path, Source]]:
    if settings.llama_server is not None:
        yield settings.llama_server.absolute(), "settings"
    for folder in search_path:
        if (path := Path(folder).absolute() / PROGRAM).is_file():
            yield path, "PATH"
    if (path := built_program(prefix)).exists():
        yield path, "built"


def _judge(path: Path, source: Source, cache: InspectionCache) -> Candidate:
    try:
        inspection = inspect(path, cache)
    except EngineMissing as error:
        return Candidate(path, source, None, error.what)
    return Candidate(path, source, inspection.version, shortcoming(inspection))
