"""Where a copy lies: what every kind of place must do. `Folder` and `Bucket` are the two."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

OnBytes = Callable[[int], None]
"""Told of bytes as they are handled, in the thread that handles them. What it raises ends the work,
and leaves what is done so far for the next run."""

SMALL = 64 * 1024 * 1024
"""Bytes that `Place.read` reads at most: receipts and the like."""


class Place(Protocol):
    """Files under a root, named by relative paths with forward slashes.

    Every method raises HubError where the place cannot be reached or refuses, and StoreError where
    it is full or gives back other bytes than it was given. One place may be used by many threads.
    """

    @property
    def address(self) -> str:
        """As the configuration names it."""

    def reach(self) -> None:
        """Raises HubError unless the root is there."""

    def free(self) -> int | None:
        """Bytes that it can still take; None where it does not say."""

    def find(self, folder: str = "") -> Mapping[str, int]:
        """The files under `folder`, at any depth: path from the root -> bytes.

        Not those under a root's folder whose name begins with a dot: uploads under way, and what
        was set aside.
        """

    def read(self, path: str) -> bytes | None:
        """A small file whole; None if there is none."""

    def write(self, path: str, data: bytes) -> None:
        """A small file: whole under its name or not at all, and safe when this returns."""

    def remove(self, path: str) -> None:
        """A file taken away; nothing where there is none."""

    def open(self, path: str, offset: int = 0) -> io.RawIOBase:
        """A file for reading from `offset` on, from where it really lies and not from a cache."""

    def put(self, path: str, source: Path, size: int, sha256: str, on_bytes: OnBytes) -> None:
        """`source` under the name `path`, read back from there and found to have `sha256`.

        Goes on where a killed run stopped. `on_bytes` is told of each byte twice: when it is
        sent and when it is read back. Raises StoreError, and leaves nothing new under the name, if
        what comes back differs; the error says whether `source` or the place is at fault.
        """

    def lock(self, command: str) -> AbstractContextManager[None]:
        """Held while `command` writes there. Raises StoreLocked where another program does."""

    def tidy(self, folder: str) -> None:
        """Remove what uploads to `folder` left unfinished. Only while none to it is under way."""
