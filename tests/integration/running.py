"""A Holdfast of the tests' own: the real command in a process, with a home of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from openai import OpenAI

from server import settings
from server.cli import admin
from tests.waiting import wait_for

COMMAND = Path(sys.executable).with_name("holdfast")
_URL = re.compile(r"http://\S+/v1")


class Holdfast:
    """A running `holdfast serve`; `url` ends in /v1."""

    def __init__(self, process: subprocess.Popen[str], home: Path, log: Path, url: str) -> None:
        self.process = process
        self.home = home
        self.log = log
        self.url = url
        self.root = url.removesuffix("/v1")

    def client(self, **options: Any) -> OpenAI:
        return OpenAI(base_url=self.url, **{"api_key": "none", "max_retries": 0, **options})

    def begin(self, body: dict[str, Any]) -> http.client.HTTPConnection:
        """Ask for a chat completion and read nothing yet; closing the connection is leaving."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        connection.request("POST", f"{address.path}/chat/completions", json.dumps(body))
        return connection

    def ps(self) -> list[dict[str, Any]]:
        """What `holdfast ps --json` prints, had from where it has it: a condition that is waited
        for is looked at often."""
        socket = settings.load(environment(self.home)).admin_socket
        engines: list[dict[str, Any]] = json.loads(admin.get(socket, "/admin/ps"))["engines"]
        return engines

    def engine(self) -> dict[str, Any]:
        (engine,) = self.ps()
        return engine

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_ready(self, timeout: float = 60) -> None:
        wait_for(lambda: self.engine()["state"] == "ready", timeout)


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
    if program := os.environ.get("HOLDFAST_LLAMA_SERVER"):
        kept["HOLDFAST_LLAMA_SERVER"] = program
    return kept | {"HOLDFAST_HOME": str(home)}


def run(*arguments: str, home: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the `holdfast` command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def holdfast(
    home: Path, *arguments: str, extra: dict[str, str] | None = None
) -> contextlib.AbstractContextManager[Holdfast]:
    """`holdfast serve ARGUMENTS --port 0`, until the block ends."""
    return serving([str(COMMAND), "serve", "--port", "0", *arguments], home, extra)


@contextlib.contextmanager
def serving(
    command: list[str], home: Path, extra: dict[str, str] | None = None
) -> Iterator[Holdfast]:
    """What `command` serves, until the block ends; it tells its URL as `holdfast serve` does."""
    log = home.parent / f"{home.name}.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            env=environment(home) | (extra or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        wait_for(lambda: _URL.search(log.read_text()) or process.poll() is not None, 60)
        found = _URL.search(log.read_text())
        assert found, log.read_text()
        yield Holdfast(process, home, log, found[0])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
