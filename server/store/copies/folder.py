"""A copy in a folder: another disk, a NAS, a USB drive."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from server.errors import HubError, StoreError, StoreLocked
from server.store.copies.delivery import deliver, open_at, settle, unwritable, write_whole
from server.store.copies.place import SMALL, OnBytes
from server.store.durable import sync_folder
from server.store.lock import store_lock

_INCOMING = ".incoming"


class Folder:
    """A Place. It keeps the order of the store: .part, fsync, read back, rename, fsync, 0444."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        return str(self._root)

    @property
    def root(self) -> Path:
        return self._root

    def is_in(self, other: Path) -> bool:
        """Whether it is the folder `other` or lies in it."""
        return self._root.resolve().is_relative_to(other.resolve())

    def shares_disk(self, other: Path) -> bool:
        """Whether one file system holds both, so that one broken disk takes both away."""
        try:
            return self._root.stat().st_dev == other.stat().st_dev
        except OSError:
            return False

    def reach(self) -> None:
        with self._told():
            os.listdir(self._root)

    def free(self) -> int | None:
        with self._told():
            return shutil.disk_usage(self._root).free

    def find(self, folder: str = "") -> Mapping[str, int]:
        found: dict[str, int] = {}
        with self._told():
            for parent, folders, files in os.walk(self._root / folder, onerror=_unless_absent):
                at = Path(parent)
                if at == self._root:
                    folders[:] = [name for name in folders if not name.startswith(".")]
                for name in files:
                    status = os.lstat(at / name)
                    if stat.S_ISREG(status.st_mode):
                        found[(at / name).relative_to(self._root).as_posix()] = status.st_size
        return found

    def read(self, path: str) -> bytes | None:
        with self._told():
            try:
                with (self._root / path).open("rb") as file:
                    return file.read(SMALL)
            except FileNotFoundError:
                return None

    def write(self, path: str, data: bytes) -> None:
        write_whole(self._root / _INCOMING / f"{path}.part", self._root / path, data)

    def remove(self, path: str) -> None:
        target = self._root / path
        try:
            target.unlink(missing_ok=True)
            sync_folder(target.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise unwritable(target, error) from error

    def open(self, path: str, offset: int = 0) -> io.RawIOBase:
        with self._told():
            return open_at(self._root / path, offset)

    def put(self, path: str, source: Path, size: int, sha256: str, on_bytes: OnBytes) -> None:
        part = self._root / _INCOMING / f"{path}.part"
        deliver(partial(open_at, source), part, size, sha256, on_bytes)
        settle(part, self._root / path)

    @contextlib.contextmanager
    def lock(self, command: str) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(store_lock(self._root, command))
            except StoreLocked:
                raise
            except StoreError:  # a network file system without locks: what two runs at once
                pass  # would do to each other is found when it is read back
            yield

    def tidy(self, folder: str) -> None:
        incoming = self._root / _INCOMING
        emptied = incoming / folder
        with contextlib.suppress(OSError):  # the next one will
            if emptied.is_dir():
                shutil.rmtree(emptied)
            while emptied != incoming:
                emptied = emptied.parent
                emptied.rmdir()  # fails where uploads to other folders are under way

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HubError(
                f"the copy {self._root} cannot be reached",
                why=error.strerror or str(error),
                next_step="Mount its disk, or correct [store] copies in the configuration",
            ) from error


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
