"""A Holdfast to measure: with a home, a configuration and a port of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmarks.programs import (
    BenchError,
    Program,
    free_port,
    holdfast_command,
    running,
)
from server.settings import Settings

BUILD = "bench"
_READY_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Holdfast:
    program: Program
    home: Path
    port: int

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def engine_socket(self) -> Path:
        """The UNIX socket on which the one engine listens."""
        own = Settings(self.home, ())
        sockets = [path for path in own.run.glob("*.sock") if path != own.admin_socket]
        if len(sockets) != 1:
            raise BenchError(f"expected one engine's socket in {own.run}, found {sockets}")
        return sockets[0]


@contextlib.contextmanager
def serving(
    home: Path,
    arguments: tuple[str, ...] = (),
    *,
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
    ready: bool = True,
) -> Iterator[Holdfast]:
    """`holdfast serve` in `home`; with `ready`, from when its engine answers."""
    port = free_port()
    command = [str(holdfast_command()), "serve", "--home", str(home), "--port", str(port)]
    home.mkdir(parents=True, exist_ok=True)
    with running(
        [*command, *arguments], home / "serve.log", environment=environment, core=core
    ) as program:
        if ready:
            program.wait_for(f"http://127.0.0.1:{port}/readyz", _READY_TIMEOUT)
        yield Holdfast(program, home, port)


def create_key(home: Path) -> str:
    """A new API key, from which on the Holdfast of this home asks for one."""
    command = [str(holdfast_command()), "keys", "create", "bench", "--home", str(home), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"holdfast keys create failed: {done.stderr.strip()}")
    key: str = json.loads(done.stdout)["key"]
    return key


def configuration(path: Path, model: str, gguf: Path, *, context: int, slots: int) -> Path:
    """Write an overlay at `path` that serves the file `gguf` as the build `model`:bench."""
    lines = [
        "[[build]]",
        f'model = "{model}"',
        f'id = "{BUILD}"',
        'engine = "llama-server"',
        'format = "gguf"',
        'quant = "random weights"',
        f"path = {json.dumps(str(gguf))}",
        "",
        "[serve]",
        f'models = ["{model}:{BUILD}"]',
        f"context = {context}",
        f"slots = {slots}",
        "queue = 4096",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
