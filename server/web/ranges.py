"""Which bytes of a file a request is for: Range and If-Range of RFC 9110, single ranges only."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(rb"bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    offset: int
    count: int


def span(headers: dict[bytes, bytes], size: int, etag: bytes) -> Span | None:
    """The bytes that a GET asks for, of a file with `size` bytes and the quoted `etag`.

    None: the whole file. So it is without a Range, with one that cannot be read or names several
    ranges (which a server may answer in full), and where If-Range names another state of the file.
    Raises ValueError when there is no such byte, which is a 416.
    """
    asked = _RANGE.fullmatch(headers.get(b"range", b"").strip())
    if asked is None or headers.get(b"if-range", etag).strip() != etag:
        return None
    first, last = asked[1], asked[2]
    if first and last and int(first) > int(last):
        return None
    if not first and not last:
        return None
    if not first:
        count = min(int(last), size)
        offset = size - count
    else:
        offset = int(first)
        count = min(int(last) + 1 if last else size, size) - offset
    if count <= 0:
        raise ValueError(f"no byte from {offset}")
    return Span(offset, count)
