"""The programs under test: started in a session of their own, and ended whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1  # prctl(2)
_STOP_GRACE = 15.0
"""Seconds from SIGTERM to SIGKILL."""
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
"""The limits with which the benchmark was started, and with which its programs are."""
_FORGOTTEN = ("PYTHON", "HOLDFAST_", "LLAMA_ARG_", "LITELLM_", "OPENAI_", "ANTHROPIC_")
"""Beginnings of variables that would change how the programs run: they are as a user has them."""


class BenchError(Exception):
    """Something that a measurement needs is missing or broken; says what and what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    begun: float
    """`time.perf_counter` just before it was executed."""

    def check(self) -> None:
        """Raises BenchError, with the end of its log, if it has ended."""
        if self.process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise BenchError(
                f"{self.name} ended with status {self.process.returncode} and said:\n{tail}"
            )

    def wait_for(self, url: str, timeout: float) -> None:
        """Return when GET `url` is answered with 200. Raises BenchError."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
                return
            time.sleep(0.05)
        raise BenchError(f"{url} was not ready after {timeout:.0f} s; see {self.log}")


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
) -> Iterator[Program]:
    """`command`, until the block is left; with the benchmark itself it ends too.

    `environment` is added to this process's, from which settings of the programs are taken out.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_FORGOTTEN)}
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        resource.setrlimit(resource.RLIMIT_NOFILE, _OPEN_FILES)
        if core is not None:
            os.sched_setaffinity(0, {core})

    with log.open("ab") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **(environment or {})},
            start_new_session=True,
            preexec_fn=prepare,
        )
    try:
        yield Program(Path(command[0]).name, process, log, begun)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_GRACE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing uses now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def holdfast_command() -> Path:
    """The command as a user has it, else that of the environment that runs the benchmark."""
    for candidate in (ROOT / ".venv/bin/holdfast", Path(sys.executable).with_name("holdfast")):
        if candidate.is_file():
            return candidate
    raise BenchError("there is no holdfast command here; run scripts/setup")


def allow_many_files() -> None:
    """Let this process, but no program that it starts, have as many connections as it may."""
    _, most = _OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
