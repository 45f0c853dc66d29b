"""A ledger whose disk becomes full and then has room again; a process of its own.

    full_disk.py FOLDER tmpfs|limit

`tmpfs`: FOLDER becomes a small file system, for which a mount namespace is needed. `limit`: no file
of this process may grow beyond a size. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from server.errors import LedgerUnavailable
from server.ledger import schema
from server.ledger.book import Book
from tests.ledger.money import account, entry, reservation

SMALL, LARGE = 2 * 1024**2, 64 * 1024**2


class Disk:
    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        if kind == "tmpfs":
            self._mount(f"size={SMALL}")

    def shrink(self) -> None:
        if self.kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL // 2, resource.RLIM_INFINITY))

    def grow(self) -> None:
        if self.kind == "tmpfs":
            self._mount(f"remount,size={LARGE}")
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, resource.RLIM_INFINITY))

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "holdfast-test", str(self.folder)]
        subprocess.run(command, check=True)


async def run(disk: Disk) -> dict[str, Any]:
    who = account()
    path = disk.folder / "book.db"
    book = Book(path)
    await book.start()
    disk.shrink()
    sent = tried = 0
    while book.health.open and tried < 5000:
        tried += 1
        try:
            hold = await book.reserve(who, reservation(10, name=f"r{tried}"))
        except LedgerUnavailable:
            break
        sent += 1
        book.settle(hold, entry(7, 1, f"r{tried}"))
        book.record(entry(0, 1, f"l{tried}", route="local"))
    full = book.health
    before = book.spent(who.parties[0])
    for number in range(100):
        book.record(entry(0, 1, f"meanwhile{number}", route="local"))
    still = 0
    for _ in range(3):
        try:
            await book.reserve(who, reservation(10, name="refused"))
        except LedgerUnavailable:
            still += 1
    disk.grow()
    while not book.health.open:
        await asyncio.sleep(0.02)
    book.settle(await book.reserve(who, reservation(10, name="again")), entry(7, 1, "again"))
    await book.close()
    return {
        "sent": sent,
        "alarm": full.alarm,
        "refused": still,
        "held": before.held,
        **look(path),
    }


def look(path: Path) -> dict[str, Any]:
    with contextlib.closing(schema.connect(path, read_only=True)) as book:
        query = "SELECT COUNT(*), COUNT(DISTINCT request_id) FROM entry WHERE route = ?"
        return {
            "whole": book.execute("PRAGMA integrity_check").fetchall() == [("ok",)],
            "cloud": book.execute(query, ("cloud",)).fetchone(),
            "local": book.execute(query, ("local",)).fetchone(),
            "holds": book.execute("SELECT COUNT(*) FROM hold").fetchone()[0],
            "refused_left": book.execute(
                "SELECT COUNT(*) FROM egress WHERE request_id = 'refused'"
            ).fetchone()[0],
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Disk(Path(sys.argv[1]), sys.argv[2])))))
