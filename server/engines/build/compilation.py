"""Runs the build: pip makes the wheel, its output is the log and the progress."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.engines.build.progress import ProgressDisplay
from server.engines.build.recipe import Recipe
from server.engines.build.step import steps
from server.errors import EngineMissing
from server.units import format_bytes


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a build needs besides its recipe."""

    cache: Path
    """Folder of the built wheels, one folder for each recipe."""
    requirements: Path
    """Folder of the locks."""
    uv: str


def compile_wheel(recipe: Recipe, workshop: Workshop, display: ProgressDisplay) -> Path:
    """The wheel at `<cache>/<recipe.key>/`, built there if it is absent. Raises EngineMissing.

    Everything that is fetched has its hash checked. Nothing but the log remains of a build that
    fails or is interrupted.
    """
    cache, folder = workshop.cache, workshop.cache / recipe.key
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(cache):
        if wheel := finished(folder):  # another set-up built it while this one waited
            return wheel
        for left_over in cache.glob("*.work"):  # of a build that was killed; no other one runs
            shutil.rmtree(left_over, ignore_errors=True)
        _require_disk(cache, recipe)
        with tempfile.TemporaryDirectory(dir=cache, suffix=".work") as work:
            made = _run(recipe, workshop, Path(work), folder / "build.log", display)
            return made.replace(folder / made.name)


def finished(folder: Path) -> Path | None:
    """The wheel that an earlier build left in `folder`."""
    return next(iter(sorted(folder.glob("*.whl"))), None)


@contextmanager
def _exclusive(cache: Path) -> Iterator[None]:
    """One build at a time in a cache; the lock goes with its owner, however that ends."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require_disk(cache: Path, recipe: Recipe) -> None:
    free = shutil.disk_usage(cache).free
    if free < recipe.disk:
        raise EngineMissing(
            "llama-server cannot be built: the disk is too full",
            why=f"the build needs {format_bytes(recipe.disk)} at {cache}, "
            f"which has {format_bytes(free)}",
            next_step="Free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
        )


def _run(
    recipe: Recipe, workshop: Workshop, work: Path, log_file: Path, display: ProgressDisplay
) -> Path:
    undone = "llama-server could not be built"
    with steps(log_file, _environment(recipe, work), display, undone) as run:
        for command in _steps(workshop, work):
            run(command)
    wheel = finished(work / "wheel")
    assert wheel is not None, "pip succeeded without making the wheel"
    return wheel


def _steps(workshop: Workshop, work: Path) -> tuple[list[str], ...]:
    tools, locks = work / "tools", workshop.requirements
    python = str(tools / "bin" / "python")
    install = [workshop.uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes"]
    wheel = [python, "-m", "pip", "wheel", "--verbose", "--no-deps", "--require-hashes"]
    # pip's cache could hold a wheel that was built with other flags.
    wheel += ["--no-cache-dir", "--no-build-isolation", "--no-binary", "llama-cpp-python"]
    return (
        [workshop.uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(tools)],
        [*install, str(locks / "build.txt")],
        [*wheel, "-r", str(locks / "llama-cpp-python.txt"), "-w", str(work / "wheel")],
    )


def _environment(recipe: Recipe, work: Path) -> dict[str, str]:
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    environment |= {
        "CMAKE_ARGS": " ".join(recipe.flags),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(recipe.jobs),
        "PATH": f"{work / 'tools' / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "TMPDIR": str(work),  # /tmp may be a small memory file system
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",  # the causes of failures are read from the log
    }
    if recipe.cuda_compiler:
        environment["CUDACXX"] = recipe.cuda_compiler
    return environment
