"""The digests of a file whose bytes come one after the other."""

from __future__ import annotations

import hashlib


class RunningDigest:
    """sha256, and git's blob SHA-1 where that is what the file is checked by."""

    def __init__(self, size: int, *, with_git: bool) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if with_git else None

    def update(self, data: memoryview) -> None:
        self._sha256.update(data)
        if self._git is not None:
            self._git.update(data)

    def copy(self) -> RunningDigest:
        twin = RunningDigest.__new__(RunningDigest)
        twin._sha256 = self._sha256.copy()
        twin._git = None if self._git is None else self._git.copy()
        return twin

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def git_oid(self) -> str | None:
        return None if self._git is None else self._git.hexdigest()
