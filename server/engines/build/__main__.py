"""Sees to it that this environment has a usable llama-server: finds one, or builds one."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
import zipfile
from pathlib import Path
from types import FrameType

from server import settings
from server.engines.binary import built_program, candidates, find_llama_server, shortcoming
from server.engines.build import host
from server.engines.build.compilation import Workshop, compile_wheel, finished
from server.engines.build.installation import install, installed_key
from server.engines.build.progress import ProgressDisplay
from server.engines.build.recipe import Host, Recipe, recipe
from server.engines.inspection import InspectionCache, inspect
from server.errors import EngineMissing, HoldfastError
from server.settings import Settings
from server.units import format_duration


def main(arguments: list[str] | None = None) -> int:
    """Exit status; prints a line on what serves as llama-server, or the error."""
    options = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) has it ignored
            signal.signal(number, _interrupt)
    try:
        print(f"  {_ensure(options)}", flush=True)
    except HoldfastError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; scripts/setup starts the build again", file=sys.stderr)
        return 130
    return 0


def _ensure(options: argparse.Namespace) -> str:
    """A sentence on the program that will be used. Raises HoldfastError if there is none."""
    known = settings.load(os.environ)
    if known.llama_server is None:
        for candidate in candidates(known, prefix=options.into):
            if candidate.source == "PATH" and candidate.problem:
                print(f"  passing over {candidate.path}: {candidate.problem}", flush=True)
    try:
        binary = find_llama_server(known, prefix=options.into)
    except EngineMissing:
        if known.llama_server is not None:
            raise
    else:
        if binary.source != "built":
            return f"llama-server {binary.version}: {binary.path}"
    return _ensure_built(options, known)


def _ensure_built(options: argparse.Namespace, known: Settings) -> str:
    program = built_program(options.into)
    folder = program.parent.parent
    here = host.read()
    wanted = recipe(_locked_version(options.requirements), here, options.jobs)
    begun, how = time.monotonic(), "already there"
    if installed_key(folder) != wanted.key:
        how = _install(wanted, here, folder, options)
        how += f" in {format_duration(time.monotonic() - begun)}"
    inspection = inspect(program, InspectionCache(known))
    if problem := shortcoming(inspection):
        raise EngineMissing(f"the llama-server that was built cannot be used: {problem}")
    return f"llama-server {inspection.version}: {program}, {how}"


def _install(wanted: Recipe, here: Host, folder: Path, options: argparse.Namespace) -> str:
    if here.cuda is None and host.has_nvidia_gpu():
        print(
            "  Note: here is an NVIDIA GPU and no nvcc, so llama-server will use the CPU alone. "
            "To use the GPU, install the CUDA toolkit and run scripts/setup again.",
            flush=True,
        )
    workshop = Workshop(options.cache, options.requirements, options.uv)
    wheel = finished(workshop.cache / wanted.key)
    if wheel is not None:
        try:
            install(wheel, wanted.key, folder)
            return "from the cache"
        except zipfile.BadZipFile:
            print(f"  {wheel} is damaged; building it anew", flush=True)
            wheel.unlink()
    _require_compilers()
    kind = f"for the GPU with CUDA {here.cuda.release}" if here.cuda else "for the CPU"
    print(
        f"  building llama-server {kind} out of llama-cpp-python {wanted.version} "
        f"with {wanted.jobs} jobs; this takes minutes, once",
        flush=True,
    )
    install(compile_wheel(wanted, workshop, ProgressDisplay()), wanted.key, folder)
    return "built"


def _require_compilers() -> None:
    if not host.has_compilers():
        raise EngineMissing(
            "llama-server cannot be built",
            why="this machine has no C++ compiler",
            next_step="As root: apt-get install g++. Then run scripts/setup again, "
            "or name a llama-server of your own in HOLDFAST_LLAMA_SERVER",
        )


def _locked_version(requirements: Path) -> str:
    text = (requirements / "llama-cpp-python.txt").read_text()
    match = re.search(r"^llama-cpp-python==(\S+)", text, re.MULTILINE)
    assert match, "scripts/lock writes it so, and a test holds it"
    return match[1]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m server.engines.build", description=__doc__)
    parser.add_argument("--requirements", type=Path, required=True, help="folder of the locks")
    parser.add_argument("--cache", type=Path, required=True, help="folder of built wheels")
    parser.add_argument("--uv", required=True, help="the uv program")
    parser.add_argument("--into", type=Path, default=Path(sys.prefix), help="the environment")
    parser.add_argument("--jobs", type=int, help="compilers at work at once")
    return parser.parse_args(arguments)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
