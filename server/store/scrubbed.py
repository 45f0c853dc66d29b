"""When each file was last verified: `<home>/state/scrub.json`, for the store and for its copies.

Nothing but the order of the next scrub depends on it, so a file that cannot be read counts as
empty. Several runs may write it; each adds what it knows.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from server.errors import StoreError
from server.store.durable import write_whole

_FORMAT = 1


class Scrubbed:
    """What is known of the files below one root, by their `org/name/revision/path`."""

    def __init__(self, state: Path, root: Path) -> None:
        self._path = state / "scrub.json"
        self._root = os.path.realpath(root)
        self._times: dict[str, datetime.datetime] = {}
        self._new: dict[str, datetime.datetime] = {}
        for key, text in _stores(self._path).get(self._root, {}).items():
            with contextlib.suppress(TypeError, ValueError):
                time = datetime.datetime.fromisoformat(text)
                self._times[key] = time.astimezone(datetime.UTC)

    @property
    def times(self) -> Mapping[str, datetime.datetime]:
        return self._times

    def note(self, keys: Iterable[str], when: datetime.datetime) -> None:
        """These files were found to be good; remembered by the next `save`."""
        for key in keys:
            self._times[key] = self._new[key] = when

    def save(self, present: Collection[str] | None = None) -> None:
        """Write what is new; of `present`, if given, and nothing else. Raises StoreError."""
        if not self._new and (present is None or self._times.keys() <= set(present)):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._path.with_suffix(".lock")):
                self._write(present)
        except OSError as error:
            raise StoreError(
                f"what was verified cannot be remembered in {self._path}",
                why=error.strerror or str(error),
                next_step="Check its permissions; the next run begins with the same files",
            ) from error

    def _write(self, present: Collection[str] | None) -> None:
        stores = _stores(self._path)
        times = stores.get(self._root, {})
        times |= {key: when.isoformat(timespec="seconds") for key, when in self._new.items()}
        if present is not None:
            times = {key: text for key, text in times.items() if key in present}
        stores[self._root] = dict(sorted(times.items()))
        document = {"format": _FORMAT, "stores": stores}
        write_whole(self._path, orjson.dumps(document, option=orjson.OPT_INDENT_2), mode=0o644)
        self._new.clear()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _stores(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = orjson.loads(path.read_bytes())
        stores = document["stores"] if document["format"] == _FORMAT else {}
        return {str(root): dict(times) for root, times in stores.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
