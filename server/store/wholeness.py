"""Whether files make up a whole: every shard of an index, every part of a split, sound headers.

What is checked here needs the first bytes of each file only. That the bytes are the right ones is
for digests to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import orjson

from server.catalogue.catalogue import shorten
from server.errors import StoreError
from server.store.gguf import read_header
from server.store.gguf_header import GgufHeader
from server.store.safetensors import SafetensorsHeader, read_safetensors_header
from server.units import MIB

_PART = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf|\.safetensors)"
)
_INDEX = ".safetensors.index.json"
_LARGEST_JSON = 64 * MIB  # bytes; the index of the largest model has a few
_SHOWN = 3


def problems(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """What is not whole about these files of `folder`, one line each; empty if all is well."""
    return problems_of({name: folder / name for name in names})


def problems_of(files: Mapping[str, Path]) -> tuple[str, ...]:
    """The same for files that lie anywhere, by the names that they are to have."""
    seen = _Seen(files)
    found = [
        *seen.headers_read(),
        *_splits(files),
        *_split_headers(seen),
        *_indexes(seen),
        *_code(files),
    ]
    return tuple(found)


@dataclass(slots=True)
class _Seen:
    files: Mapping[str, Path]
    safetensors: dict[str, SafetensorsHeader] = field(default_factory=dict)
    gguf: dict[str, GgufHeader] = field(default_factory=dict)

    def headers_read(self) -> Iterator[str]:
        for name, path in sorted(self.files.items()):
            try:
                if name.lower().endswith(".safetensors"):
                    self.safetensors[name] = read_safetensors_header(path)
                elif name.lower().endswith(".gguf"):
                    self.gguf[name] = read_header(path)
                elif not path.is_file():
                    yield f"{name} does not exist"
            except StoreError as error:
                yield f"{name}: {error.why or error.what}"


def _splits(names: Iterable[str]) -> Iterator[str]:
    """Sets of files in parts of which some are not there."""
    for (stem, count, suffix), numbers in sorted(_parts(names).items()):
        absent = [number for number in range(1, int(count) + 1) if number not in numbers]
        if absent or max(numbers) > int(count) or 0 in numbers:
            shown = ", ".join(f"{number:05}" for number in absent[:_SHOWN]) or "numbers beyond it"
            more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
            yield f"{stem}-#####-of-{count}{suffix}: missing {shown}{more}"


def _split_headers(seen: _Seen) -> Iterator[str]:
    """Sets of GGUF parts that do not belong together, by what they say of themselves."""
    for (stem, count, suffix), numbers in sorted(_parts(seen.gguf).items()):
        total = None
        tensors = 0
        for number in sorted(numbers):
            name = f"{stem}-{number:05}-of-{count}{suffix}"
            header = seen.gguf[name]
            tensors += header.tensor_count
            metadata = header.metadata
            total = metadata.get("split.tensors.count", total)
            if int(count) == 1:
                continue  # llama.cpp takes it for an ordinary file, whatever it says
            if (metadata.get("split.no"), metadata.get("split.count")) != (number - 1, int(count)):
                yield f"{name} says that it is another part"
        if len(numbers) == int(count) and total not in (None, tensors):
            yield f"{stem}-#####-of-{count}{suffix}: {tensors} tensors, and {total} are announced"


def _parts(names: Iterable[str]) -> dict[tuple[str, str, str], set[int]]:
    found: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        if match := _PART.fullmatch(name):
            key = (match["stem"], match["count"], match["suffix"])
            found.setdefault(key, set()).add(int(match["number"]))
    return found


def _indexes(seen: _Seen) -> Iterator[str]:
    """Indexes that name files which are not there, or tensors which are not in them."""
    for name in sorted(seen.files):
        if not name.endswith(_INDEX):
            continue
        raw = _json(seen.files[name])
        weight_map = raw.get("weight_map") if isinstance(raw, dict) else None
        if not isinstance(weight_map, dict) or not weight_map:
            yield f"{name} is no index: it has no weight_map"
            continue
        wanted: dict[str, set[str]] = {}
        for tensor, shard in weight_map.items():
            wanted.setdefault(str(shard), set()).add(tensor)
        folder = PurePosixPath(name).parent
        for shard, tensors in sorted(wanted.items()):
            path = (folder / shard).as_posix()
            if path not in seen.files:
                yield f"{name} names {shorten(ascii(shard))}, which is missing"
            elif path in seen.safetensors:
                yield from _disagreement(name, path, tensors, seen.safetensors[path])


def _disagreement(
    index: str, shard: str, wanted: set[str], header: SafetensorsHeader
) -> Iterator[str]:
    there = {tensor.name for tensor in header.tensors}
    if absent := sorted(wanted - there):
        yield f"{shard} lacks {len(absent)} tensors of {index}, such as {shorten(absent[0])}"
    if extra := sorted(there - wanted):
        yield f"{shard} has {len(extra)} tensors beyond {index}, such as {shorten(extra[0])}"


def _code(files: Mapping[str, Path]) -> Iterator[str]:
    """Configurations that name code for their readers to run (`trust_remote_code`)."""
    for name, path in sorted(files.items()):
        if not PurePosixPath(name).name.endswith("config.json") or not path.is_file():
            continue
        raw = _json(path)
        if not isinstance(raw, dict):
            yield f"{name} is no JSON table"
        elif "auto_map" in raw:
            yield f"{name} has auto_map: it names code to be run, which is refused"


def _json(path: Path) -> object:
    """The file's content; None where it cannot be read as JSON."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_JSON + 1)
        return None if len(data) > _LARGEST_JSON else orjson.loads(data)
    except (OSError, ValueError):
        return None
