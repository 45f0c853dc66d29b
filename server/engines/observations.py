"""What every start taught, kept in one file of JSON lines: `<home>/state/observations.jsonl`.

Lines are only ever added. A file that has grown to its limit becomes `observations.jsonl.1`, in
place of the one before, so that neither the disk nor what is read is without bound. What cannot be
read as an observation is skipped: a line that was cut off by a power failure, or one that a later
version wrote, must never keep an engine from starting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import orjson

from server.catalogue import EngineName
from server.planning.calibration import Observation
from server.planning.footprint.component import COMPONENTS

_FILE = "state/observations.jsonl"
_LIMIT = 4 * 1024**2  # bytes: some 10,000 lines, more than a thousand starts


class Observations:
    """The file below `home`. One process writes, any number reads."""

    def __init__(self, home: Path, *, limit: int = _LIMIT) -> None:
        self.path = home / _FILE
        self._limit = limit

    def add(self, observations: Iterable[Observation]) -> None:
        """Keep `observations`. Raises OSError where the disk does not take them."""
        lines = b"".join(orjson.dumps(asdict(one)) + b"\n" for one in observations)
        if not lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._size() + len(lines) > self._limit:
            self.path.replace(self._older)
        with self.path.open("ab") as file:
            if self._cut_off():
                file.write(b"\n")
            file.write(lines)

    def read(self) -> tuple[Observation, ...]:
        """All that are kept, oldest first; none where there is no file that can be read."""
        return tuple(one for path in (self._older, self.path) for one in _read(path))

    @property
    def _older(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _cut_off(self) -> bool:
        """Whether the last line was not written to its end."""
        if self._size() == 0:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) != b"\n"


def _read(path: Path) -> Iterator[Observation]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        if (found := _observation(line)) is not None:
            yield found


def _observation(line: bytes) -> Observation | None:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return Observation(**values) if _is_sound(values) else None


def _is_sound(values: Any) -> bool:
    """Whether `values` are those of an observation, each of its type."""
    if not isinstance(values, dict) or values.keys() != {f.name for f in fields(Observation)}:
        return False
    types = {f.name: int if f.type == "int" else str for f in fields(Observation)}
    return (
        all(type(value) is types[name] for name, value in values.items())
        and all(0 <= value < 1 << 50 for value in values.values() if isinstance(value, int))
        and values["engine"] in get_args(EngineName)
        and values["component"] in COMPONENTS
    )
