"""The LiteLLM proxy, as a reference: one worker, in a throwaway environment of its own.

It is never imported here, gets no key of ours and no way out: its only model is the upstream on
this machine.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.programs import BenchError, Program, free_port, running

log = logging.getLogger("bench")

VERSION = "1.109.1"
MODEL = "bench"
KEY = "sk-bench"
# It asks for the very newest of these, which mirrors may not have yet; neither is on a request's
# path (database migrations, and certificates for TLS).
_ANY_VERSION = ("litellm-proxy-extras", "certifi")
_INSTALL_TIMEOUT = 900.0
_START_TIMEOUT = 180.0
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}


@dataclass(frozen=True, slots=True)
class Proxy:
    program: Program
    port: int

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)


def install(cache: Path) -> Path:
    """The `litellm` command, installed in `cache` if it is not there. Raises BenchError."""
    folder = cache / f"litellm-{VERSION}"
    command = folder / "bin" / "litellm"
    if command.is_file():
        return command
    uv = shutil.which("uv")
    if uv is None:
        tools = sorted(cache.parent.glob("tools/uv-*/bin/uv"))
        if not tools:
            raise BenchError("LiteLLM cannot be installed: uv is not on PATH")
        uv = str(tools[-1])
    log.info("installing LiteLLM %s in the cache, once", VERSION)
    shutil.rmtree(folder, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    overrides = cache / "litellm-overrides.txt"
    overrides.write_text("\n".join(_ANY_VERSION) + "\n", encoding="utf-8")
    environment = {**os.environ}
    for theirs, ours in _PIP_TO_UV.items():
        if theirs in environment:
            environment.setdefault(ours, environment[theirs])
    python = str(folder / "bin" / "python")
    wanted = f"litellm[proxy]=={VERSION}"
    for arguments in (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        ["pip", "install", "-q", "--python", python, "--override", str(overrides), wanted],
    ):
        try:
            done = subprocess.run(
                [uv, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=_INSTALL_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(
                f"LiteLLM cannot be installed: uv took over {error.timeout} s"
            ) from None
        if done.returncode:
            raise BenchError(f"LiteLLM cannot be installed: {done.stderr.strip()[-500:]}")
    return command


@contextlib.contextmanager
def proxying(command: Path, upstream_port: int, work: Path, *, core: int) -> Iterator[Proxy]:
    """The proxy in front of the upstream on `upstream_port`. Raises BenchError."""
    port = free_port()
    upstream = {
        "model": "openai/static",
        "api_base": f"http://127.0.0.1:{upstream_port}/v1",
        "api_key": "none",
    }
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": upstream}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False},
    }
    file = work / "litellm.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    arguments = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--num_workers", "1", "--telemetry", "False"]
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched from the network
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
    }
    with running(
        [command, *arguments], work / "litellm.log", environment=environment, core=core
    ) as program:
        program.wait_for(f"http://127.0.0.1:{port}/health/liveliness", _START_TIMEOUT)
        yield Proxy(program, port)
