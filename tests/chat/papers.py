"""PDFs made by hand: whole ones, which any reader opens, with as many pages as are wanted."""

from __future__ import annotations

import base64
import zlib


def pdf(pages: int = 1, *, packed: bool = False, text: str = "Hello") -> bytes:
    """`packed`: all but the text stands in a compressed object stream (PDF 1.5), as most programs
    write it; else in the open."""
    kids = " ".join(f"{4 + number} 0 R" for number in range(pages))
    page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents 3 0 R /Resources <<>>>>"
    plain = {
        1: b"<</Type /Catalog /Pages 2 0 R>>",
        2: f"<</Type /Pages /Count {pages} /Kids [{kids}]>>".encode(),
        **dict.fromkeys(range(4, 4 + pages), page),
    }
    said = f"BT ({text}) Tj ET".encode()
    content = _stream(b"", said)
    if not packed:
        return _written({**plain, 3: content}, len(plain) + 1, {})
    number = 4 + pages
    bodies, heads, at = b"", b"", 0
    for key, body in plain.items():
        heads += b"%d %d " % (key, at)
        bodies += body + b"\n"
        at = len(bodies)
    held = zlib.compress(heads + bodies)
    about = b"/Type /ObjStm /N %d /First %d /Filter /FlateDecode" % (len(plain), len(heads))
    inside = {key: (number, index) for index, key in enumerate(plain)}
    return _written({3: content, number: _stream(about, held)}, number, inside)


def url(data: bytes) -> str:
    return f"data:application/pdf;base64,{base64.b64encode(data).decode()}"


def _stream(about: bytes, data: bytes) -> bytes:
    return b"<<%b /Length %d>>\nstream\n%b\nendstream" % (about, len(data), data)


def _written(objects: dict[int, bytes], last: int, inside: dict[int, tuple[int, int]]) -> bytes:
    """With a cross-reference stream (ISO 32000-2, 7.5.8), which serves both kinds."""
    out, table = b"%PDF-1.5\n", last + 1
    places = {}
    for key, body in objects.items():
        places[key] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (key, body)
    start = places[table] = len(out)
    rows = b""
    for key in range(table + 1):
        kind, first, second = 0, 0, 0
        if key in places:
            kind, first = 1, places[key]
        elif key in inside:
            kind, (first, second) = 2, inside[key]
        rows += bytes([kind]) + first.to_bytes(4, "big") + second.to_bytes(2, "big")
    about = b"/Type /XRef /Size %d /W [1 4 2] /Root 1 0 R" % (table + 1)
    out += b"%d 0 obj\n%b\nendobj\n" % (table, _stream(about, rows))
    return out + b"startxref\n%d\n%%%%EOF\n" % start
