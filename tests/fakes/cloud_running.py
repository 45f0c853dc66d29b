"""A fake provider as a process, for a test: `with running_cloud("openai_api") as cloud`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class FakeCloud:
    url: str
    """Of the API, without its version."""
    control: str
    process: subprocess.Popen[str]

    def faults(self, *lines: str) -> None:
        """Plans these faults for the next requests; see faults.py."""
        self._ask("POST", "/faults", list(lines))

    def mend(self) -> None:
        """No fault is planned any more, headers are the usual ones, and connections are taken."""
        self._ask("DELETE", "/faults")
        self._ask("POST", "/headers", {})
        self.listen(True)

    def headers(self, **fields: str) -> None:
        """What answers have beside their usual headers from now on, `_` being `-`."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        self._ask("POST", "/headers", named)

    def listen(self, wanted: bool) -> None:
        self._ask("POST", "/listener", {"open": wanted})

    def requests(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """Those so far, oldest first; see cloud_program.py."""
        entries: list[dict[str, Any]] = self._ask("GET", "/requests")
        if clear:
            self._ask("DELETE", "/requests")
        return entries

    def wait(self, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The requests, once `holds` is true of them."""
        ends = time.monotonic() + _PATIENCE
        while not holds(entries := self.requests()):
            assert time.monotonic() < ends, entries
            time.sleep(0.02)
        return entries

    def _ask(self, method: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.control + path, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_cloud(program: str, *arguments: str) -> Iterator[FakeCloud]:
    """`tests/fakes/PROGRAM.py`, until the block is left."""
    command = [sys.executable, "-m", f"tests.fakes.{program}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"{program} did not start"
        yield FakeCloud(**json.loads(said), process=process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
