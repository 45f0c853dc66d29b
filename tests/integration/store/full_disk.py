"""A copy on a disk that is full and then grows; to be run in a mount namespace of its own.

    full_disk.py COPY SOURCE HOME CONFIG

Prints one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from server.errors import StoreError
from server.store.copies.copy import MARKER
from server.store.copies.folder import Folder

from tests.integration.store.stores import holdfast  # isort: skip

DISK = 20 * 1024 * 1024


def mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", *options, "holdfast-test", folder], check=True)


def put(folder: Path, source: Path) -> dict[str, Any]:
    """One try; what it said, and what lies there."""
    content = source.read_bytes()
    told: list[int] = []
    error = None
    try:
        digest = hashlib.sha256(content).hexdigest()
        Folder(folder).put("org/name/file", source, len(content), digest, told.append)
    except StoreError as caught:
        error = caught.sentence
    parts = [path.stat().st_size for path in folder.rglob("*.part")]
    whole = folder / "org/name/file"
    return {
        "error": error,
        "first_told": told[0],
        "part": sum(parts),
        "whole": whole.exists() and whole.read_bytes() == content,
    }


def main() -> None:
    copy, source, home = (Path(argument) for argument in sys.argv[1:4])
    mount(copy, "-o", f"size={DISK}")
    (copy / MARKER).write_text('{"format": 1, "created": "2026-11-21T00:00:00+00:00"}')
    done = holdfast("mirror", "sync", "--config", sys.argv[4], home=home)
    planned = {"code": done.returncode, "said": done.stderr, "there": len(list(copy.rglob("*")))}
    full, still_full = put(copy, source), put(copy, source)
    mount(copy, "-o", f"remount,size={4 * DISK}")
    print(json.dumps([planned, full, still_full, put(copy, source)]))


if __name__ == "__main__":
    main()
