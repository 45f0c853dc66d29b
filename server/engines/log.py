"""What an engine says: the newest lines in memory, all of it in a file of bounded size."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

LONGEST_LINE = 8192  # bytes; an engine that never writes a newline must not fill the memory
_TAIL = 200  # lines
_FILE_LIMIT = 8 * 1024**2  # bytes, of each of the two files


class EngineLog:
    """Takes an engine's output as it comes.

    The file `path` is continued, readable by its owner only, and becomes `path.1` when it has
    grown to `file_limit` bytes. A disk that is full costs the file, never the engine.
    """

    def __init__(self, path: Path, *, tail: int = _TAIL, file_limit: int = _FILE_LIMIT) -> None:
        self.path = path
        self.on_line: Callable[[str], None] | None = None
        """Called with each line while an engine loads; None costs nothing."""
        self.edit: Callable[[str], str | None] | None = None
        """Says what is kept of each line, None of it being nothing; unset, all is kept."""
        self._tail: deque[str] = deque(maxlen=tail)
        self._rest = b""
        self._file: BinaryIO | None = None
        self._file_limit = file_limit

    def tail(self, lines: int | None = None) -> tuple[str, ...]:
        """The newest `lines` lines, oldest first; all that are kept if None."""
        kept = tuple(self._tail)
        return kept if lines is None else kept[-lines:] if lines else ()

    def begin(self) -> None:
        """A new process begins: its failure must not be read from the lines of the one before."""
        self._tail.clear()
        self._rest = b""
        self.edit = None

    def feed(self, data: bytes) -> None:
        """Output of the engine, split anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LONGEST_LINE:
            lines.append(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]
        self._take(lines)

    def end(self) -> None:
        """The engine's output is over."""
        if self._rest:
            self._take([self._rest])
            self._rest = b""
        self._close()

    def _take(self, raw: list[bytes]) -> None:
        kept = []
        for one in raw:
            line = one[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
            if self.on_line is not None:
                self.on_line(line)
            edited = line if self.edit is None else self.edit(line)
            if edited is not None:
                kept.append(edited)
        if kept:
            self._tail.extend(kept)
            self._write("\n".join(kept).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(data)
            if self._file.tell() >= self._file_limit:
                self._close()
                self.path.replace(self.path.with_name(self.path.name + ".1"))
        except OSError:
            self._close()

    def _open(self) -> BinaryIO:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
