"""Makes the environment that vLLM runs in; `python -m server.engines.build.vllm`.

It is apart from Holdfast's own, whose packages never meet vLLM's hundreds. What is fetched stays in
uv's cache, so that another checkout takes seconds, and an interrupted set-up keeps what it had.
`scripts/setup --vllm` is who runs this.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from server import settings
from server.engines.build import host
from server.engines.build.progress import ProgressDisplay
from server.engines.build.step import steps
from server.engines.build.vllm_recipe import VllmHost, VllmRecipe, vllm_recipe
from server.engines.vllm import MODULE
from server.engines.vllm_binary import find_vllm
from server.errors import EngineMissing, HoldfastError
from server.hardware import adapters, cpu
from server.settings import Settings
from server.units import format_bytes, format_duration

_FINISHED = "set-up"  # scripts/setup writes it into the environment, last of all
_SHIM = "torchvision_without_operators.pth"
# Registries have torchvision for Linux with CUDA alone, whose compiled part does not load beside a
# torch without. The one module that needs that part then ends every import of torchvision with
# "operator torchvision::nms does not exist". What vLLM takes from it, resizing images, is plain
# torch, so that module is left empty.
_SHIM_LINE = (
    "import sys, types; sys.modules.setdefault('torchvision._meta_registrations', "
    "types.ModuleType('torchvision._meta_registrations'))\n"
)
_TRY = f"import {MODULE}; from vllm.platforms import current_platform as p; p.import_kernels()"


def main(arguments: list[str] | None = None) -> int:
    """Exit status; prints a line on the vLLM that will be used, or the error."""
    options = _parse(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) has it ignored
            signal.signal(number, _interrupt)
    begun = time.monotonic()
    try:
        told = _ensure(options, settings.load(os.environ))
    except HoldfastError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; scripts/setup --vllm goes on where it stopped", file=sys.stderr)
        return 130
    print(f"  {told} ({format_duration(time.monotonic() - begun)})", flush=True)
    return 0


def _ensure(options: argparse.Namespace, known: Settings) -> str:
    """A sentence on the vLLM that will be used. Raises HoldfastError if there is none."""
    if known.vllm_python is not None:
        named = find_vllm(known)
        return f"vLLM {named.version}: {named.path}, named in the settings"
    into: Path = options.into.absolute()
    recipe = vllm_recipe(_read_host(options.python))
    fresh = not _is_sound(into)
    if fresh:
        require_disk(into.parent, recipe)
        shutil.rmtree(into, ignore_errors=True)
    else:
        (into / _FINISHED).unlink()
    if not recipe.cuda and adapters.read().nvidia:
        print("  Note: the driver offers no GPU of the NVIDIA card here; vLLM will use the CPU.")
    _fill(into, recipe, options, fresh)
    found = find_vllm(known, prefix=into)
    return f"vLLM {found.version} for {'the CPU' if found.cpu else 'NVIDIA GPUs'}: {found.path}"


def _fill(into: Path, recipe: VllmRecipe, options: argparse.Namespace, fresh: bool) -> None:
    """Installs what the recipe says, and imports it once. Raises EngineMissing."""
    python = str(into / "bin" / "python")
    locks = [str(options.requirements / name) for name in recipe.locks]
    sync = [options.uv, "pip", "sync", "--python", python]
    sync += ["--require-hashes"] if recipe.hashed else []
    if options.torch_backend and not recipe.cuda:
        sync += ["--torch-backend", options.torch_backend]
    options.cache.mkdir(parents=True, exist_ok=True)
    log_file = options.cache / "vllm-set-up.log"
    undone = "vLLM could not be set up"
    with steps(log_file, _environment(), ProgressDisplay(), undone) as run:
        if fresh:
            run([options.uv, "venv", "--no-project", "--python", str(options.python), str(into)])
        run([*sync, *locks])
        _place_shim(into)
        run([python, "-I", "-c", _TRY])


def _place_shim(into: Path) -> None:
    """Beside a torch for CPUs, unless torchvision is of that kind as well."""
    (packages,) = into.glob("lib/python*/site-packages")
    names = {path.name for path in packages.glob("torch*.dist-info")}
    mixed = any(re.match(r"torch-.*\+cpu", name) for name in names) and not any(
        re.match(r"torchvision-.*\+cpu", name) for name in names
    )
    if mixed:
        (packages / _SHIM).write_text(_SHIM_LINE)
    else:
        (packages / _SHIM).unlink(missing_ok=True)


def _is_sound(into: Path) -> bool:
    """Whether the environment was finished once, runs, and stands where it was made."""
    try:
        if not (into / _FINISHED).exists() or str(into) not in (into / "bin/activate").read_text():
            return False
        _version(into / "bin" / "python")
    except (OSError, EngineMissing):
        return False
    return True


def _read_host(python: Path) -> VllmHost:
    """Raises OSError where /proc cannot be read, EngineMissing for a Python that does not run."""
    processor = cpu.read()
    library, version = platform.libc_ver()
    numbers = re.match(r"(\d+)\.(\d+)", version) if library == "glibc" else None
    return VllmHost(
        architecture=processor.architecture,
        glibc=(int(numbers[1]), int(numbers[2])) if numbers else None,
        instructions=processor.instructions,
        python=_version(python),
        has_gpu=host.has_nvidia_gpu(),
        driver=adapters.read().kernel_driver,
    )


def _version(python: Path) -> tuple[int, int]:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        told = subprocess.check_output([python, "-I", "-c", code], text=True, timeout=20)
        major, minor = (int(word) for word in told.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        raise EngineMissing(f"the Python {python} does not run") from None
    return major, minor


def require_disk(folder: Path, recipe: VllmRecipe) -> None:
    """Raises EngineMissing where `folder` has not the room that the environment needs."""
    free = shutil.disk_usage(folder).free
    if free < recipe.disk:
        raise EngineMissing(
            "vLLM cannot be set up: the disk is too full",
            why=f"it needs {format_bytes(recipe.disk)} in {folder}, which has {format_bytes(free)}",
            next_step="Free some space and run scripts/setup --vllm again",
        )


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    return environment | {
        "UV_NO_PROGRESS": "1",  # bars; the lines on large files are what is read
        "NO_COLOR": "1",
        "LANG": "C.UTF-8",  # the causes of failures are read from the log
        "VLLM_NO_USAGE_STATS": "1",
    }


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m server.engines.build.vllm")
    parser.add_argument("--into", type=Path, required=True, help="the environment to make")
    parser.add_argument("--python", type=Path, required=True, help="the Python to make it with")
    parser.add_argument("--requirements", type=Path, required=True, help="folder of the locks")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the log")
    parser.add_argument("--uv", required=True, help="the uv program")
    parser.add_argument("--torch-backend", help="uv's option, where torch comes from its own index")
    return parser.parse_args(arguments)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
