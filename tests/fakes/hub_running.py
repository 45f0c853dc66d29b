"""The fake hub as a process, for a test or a benchmark: `with running_hub(root) as hub`."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("hub.py")


@dataclass(frozen=True, slots=True)
class FakeHub:
    url: str
    """Of the hub; ModelScope's API is at the same one."""
    cdn: str
    process: subprocess.Popen[str]

    def faults(self, *faults: dict[str, Any]) -> None:
        """Set these faults (see hub_faults.py) besides those that are set."""
        self._ask("POST", "/_faults", list(faults))

    def mend(self) -> None:
        """End all faults."""
        self._ask("DELETE", "/_faults")

    def log(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """Every request so far, oldest first: where ("hub", "cdn"), method, path, headers (lower
        case), status, sent (bytes of the body), begun (seconds of the monotonic clock), fault. A
        request is in it once it is answered."""
        entries: list[dict[str, Any]] = self._ask("DELETE" if clear else "GET", "/_log")
        return entries

    def sent(self, part: str = "") -> int:
        """Bytes of bodies sent so far for URLs with `part` in them."""
        return sum(int(one["sent"]) for one in self.log() if part in one["path"])

    def _ask(self, method: str, path: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(self.url + path, body, method=method)
        trusting = ssl._create_unverified_context()
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
        )
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_hub(
    root: Path, *arguments: str, token: str | None = None, port: int = 0
) -> Iterator[FakeHub]:
    """A hub that serves the repositories under `root` until the block is left."""
    command = [sys.executable, str(_PROGRAM), "--root", str(root), "--port", str(port), *arguments]
    command += ["--token", token] if token else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, "the fake hub did not start"
        yield FakeHub(**json.loads(said), process=process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
