"""The record beside a .part file: which of its segments are there, each with its crc32.

It is appended to and not fsynced. After a kill the kernel still has what was written; after a power
cut either file may be behind the other or hold zeros, which the crc32 shows: a segment counts only
if what is on the disk agrees. So nothing that was verified is fetched again, and nothing that is
wrong is kept.

    {"bytes": 16777216, "sha256": "…", "git_oid": null}
    segments of 8388608
    0 9a0b1c2d
    1 00ff13e4
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_RECORD = re.compile(rb"(\d{1,12}) ([0-9a-f]{8})")
_SEGMENTS = re.compile(rb"segments of (\d{1,12})")
_LARGEST = 64 * 1024 * 1024
"""Bytes of a journal: 3 million segments. A larger one is not ours."""


@dataclass(frozen=True, slots=True)
class Recorded:
    segment: int
    """Bytes of each, but for the last."""
    crcs: Mapping[int, int]
    """crc32 of those that were there, by number."""
    clean: bool
    """It was written to its end; records can follow."""


class Journal:
    """Of one part file; `about` says what it is a part of."""

    def __init__(self, part: Path, about: Mapping[str, int | str | None]) -> None:
        self.path = part.with_name(part.name + ".journal")
        self._head = json.dumps(dict(about)).encode()
        self._descriptor: int | None = None

    def read(self) -> Recorded | None:
        """None: there is no journal, or it is one of another file."""
        try:
            with self.path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
        head, _, rest = content.partition(b"\n")
        size, *lines = rest.split(b"\n")
        segments = _SEGMENTS.fullmatch(size)
        if head != self._head or len(content) > _LARGEST or segments is None or not lines:
            return None
        # What follows the last newline was not written to its end.
        found = [_RECORD.fullmatch(line) for line in lines[:-1]]
        crcs = {int(match[1]): int(match[2], 16) for match in found if match}
        clean = all(found) and lines[-1] == b""
        return Recorded(int(segments[1]), crcs, clean) if int(segments[1]) else None

    def begin(self, segment: int, kept: Mapping[int, int]) -> None:
        """Write it anew: segments of so many bytes, and the records `kept`. Raises OSError."""
        self.close()
        size = b"segments of %d" % segment
        lines = [self._head, size, *(_line(index, crc) for index, crc in sorted(kept.items()))]
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            fresh.write_bytes(b"\n".join(lines) + b"\n")
            fresh.replace(self.path)
        except OSError:
            fresh.unlink(missing_ok=True)  # the old one stays, for when there is room
            raise
        self.go_on()

    def go_on(self) -> None:
        """Let records follow those that are there. Raises OSError."""
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def add(self, index: int, crc: int) -> None:
        """Raises OSError."""
        assert self._descriptor is not None, "begin comes first"
        os.write(self._descriptor, _line(index, crc) + b"\n")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        self.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _line(index: int, crc: int) -> bytes:
    return b"%d %08x" % (index, crc)
