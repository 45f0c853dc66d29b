"""A transfer in a process of its own, to be killed, or to run where the disk is small.

    fetch_program.py kill WANTS       reads lines `SECONDS`; for each one forks a child that fetches
                                      and kills it (SIGKILL) after so long; answers with a line of
                                      JSON: {"resumed", "progress", "done", "error"}
    fetch_program.py full WANTS SIZE  on a file system of SIZE bytes of its own, which then grows

WANTS is a file: {"path", "part", "bytes", "sha256", "git_oid", "url", "segment", "jobs"}.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from server.errors import StoreError
from server.store.transfer import (
    Event,
    FileDone,
    FileStarted,
    Progress,
    Url,
    Want,
    fetch,
)


def run(given: dict[str, Any], limit_rate: int | None = None) -> dict[str, Any]:
    """Fetch once in this process; what happened goes to descriptor 3, if that is open."""
    report: dict[str, Any] = {"resumed": None, "progress": 0, "done": False, "error": None}

    def on_event(event: Event) -> None:
        if isinstance(event, FileStarted):
            report["resumed"] = event.resumed_bytes
        elif isinstance(event, Progress):
            report["progress"] = event.bytes
        elif isinstance(event, FileDone):
            report["done"] = True
        note(report)

    url = Url(given["url"], {}, "the hub")
    want = Want(
        given["path"], Path(given["part"]), given["bytes"], given["sha256"], given["git_oid"],
        (url,),
    )  # fmt: skip
    try:
        fetch(
            [want], jobs=given["jobs"], limit_rate=limit_rate, on_event=on_event,
            stop=threading.Event(), user_agent="x", segment=given["segment"], environment={},
        )  # fmt: skip
    except StoreError as error:
        report["error"] = error.sentence
    return report


_pipe: int | None = None


def note(report: dict[str, Any]) -> None:
    if _pipe is not None:
        os.write(_pipe, json.dumps(report).encode() + b"\n")


def killed_after(given: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What the child had told when it was killed, or in all if it came to its end."""
    global _pipe
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _pipe = writing
        note(run(given, given.get("limit_rate")))
        os._exit(0)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as told:
        lines = told.read().splitlines()
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {"resumed": None, "done": False}
    return last


def on_a_small_disk(given: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """Three runs: the disk is full, is full still, and has grown. For a mount namespace."""
    folder = Path(given["part"]).parent
    folder.mkdir(parents=True, exist_ok=True)

    def mount(*options: str) -> None:
        command = ["mount", "-t", "tmpfs", *options, "holdfast-test", str(folder)]
        subprocess.run(command, check=True)

    mount("-o", f"size={size}")
    reports = []
    for grown in (False, False, True):
        if grown:
            mount("-o", f"remount,size={given['bytes'] * 2}")
        report = run(given)
        part = Path(given["part"])
        report["files"] = sorted(one.name for one in folder.iterdir())
        report["sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
        reports.append(report)
    return reports


def main() -> None:
    how, wants, *more = sys.argv[1:]
    given = json.loads(Path(wants).read_text(encoding="utf-8"))
    if how == "full":
        print(json.dumps(on_a_small_disk(given, int(more[0]))))
        return
    for line in sys.stdin:
        print(json.dumps(killed_after(given, float(line))), flush=True)


if __name__ == "__main__":
    main()
