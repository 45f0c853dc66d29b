"""A place in which a set-up of `server.engines.build` runs as a process, again and again, with only
the programs that the test puts there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class Workshop:
    def __init__(self, folder: Path, module: str, options: Sequence[str | Path]) -> None:
        """`module` is run; `options` are those that it gets each time."""
        self.folder = folder
        self.bin = folder / "bin"
        """The only folder of its PATH."""
        self.bin.mkdir()
        self.variables: dict[str, str] = {}
        self._command = (sys.executable, "-m", module, "--uv", self.bin / "uv",
                         "--requirements", ROOT / "requirements", *options)  # fmt: skip

    def program(self, name: str, *lines: str, folder: Path | None = None) -> Path:
        """A shell script, in `folder` or else on the PATH."""
        path = (folder or self.bin) / name
        path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
        path.chmod(0o755)
        return path

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *options],
            cwd=ROOT,
            env={
                "PATH": str(self.bin),
                "HOLDFAST_HOME": str(self.folder / "home"),
                **self.variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *options: str) -> tuple[int, str]:
        """Its exit status, and all that it told."""
        process = self.start(*options)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output
