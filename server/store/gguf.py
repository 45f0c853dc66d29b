"""GGUF headers, read with suspicion.

llama.cpp's own parser has had overflows, so no engine is given a file that was not read here
first: every length is held against what is left of the file before it is believed, and every
tensor must lie inside the file, right behind its neighbour, as llama.cpp requires too.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from server.errors import StoreError
from server.store.gguf_header import Array, GgufHeader, TensorInfo
from server.store.gguf_parser import MoreWanted, parse
from server.units import MIB

__all__ = ["Array", "GgufHeader", "TensorInfo", "read_header", "read_parts"]

_FIRST_READ = 16 * MIB  # a vocabulary of 250,000 tokens and its merges take about 10 MiB
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def read_header(path: Path) -> GgufHeader:
    """The header of one GGUF file, checked in full. Raises StoreError, naming byte and fault."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            wanted = _FIRST_READ
            while True:
                # Read, not mapped: a mapped file that is cut short meanwhile would end us (SIGBUS).
                head = file.read(wanted)
                try:
                    return parse(path, head, size)
                except MoreWanted:
                    wanted *= 4
                    file.seek(0)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read",
            why=error.strerror or str(error),
            next_step="Check the path and its permissions",
        ) from error


def read_parts(path: Path) -> tuple[GgufHeader, ...]:
    """The headers of `path` and, where it is the first part of a split file, of every part.

    Raises StoreError if one of them is malformed or missing, or belongs to another split.
    """
    first = read_header(path)
    count = first.metadata.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return (first,)
    name = _PART.fullmatch(path.name)
    if name is None or int(name["number"]) != 1 or int(name["count"]) != count:
        raise StoreError(
            f"{path} is one of {count} parts, and is not named like the first",
            next_step=f"Give the file whose name ends in -00001-of-{count:05d}.gguf",
        )
    paths = [
        path.with_name(f"{name['stem']}-{number:05d}-of-{count:05d}.gguf")
        for number in range(1, count + 1)
    ]
    absent = [part.name for part in paths if not part.is_file()]
    if absent:
        raise StoreError(
            f"{path} has {count} parts, and {len(absent)} of them are absent",
            why=", ".join(absent[:5]),
            next_step="Fetch the missing parts into the same folder",
        )
    headers = (first, *(read_header(part) for part in paths[1:]))
    for number, (part, header) in enumerate(zip(paths, headers, strict=True)):
        if header.metadata.get("split.no") != number or header.metadata.get("split.count") != count:
            raise StoreError(f"{part} is not part {number + 1} of {count} of this model")
    total = first.metadata.get("split.tensors.count")
    found = sum(header.tensor_count for header in headers)
    if total is not None and total != found:
        raise StoreError(f"the parts of {path} hold {found} tensors, and {total} are announced")
    return headers
