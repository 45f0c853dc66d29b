"""PDFs in a request: whole, as base64 `data:` URLs. Which models read them, the catalogue says.

Nothing is ever fetched for a client, and no file is kept for one: see images.py. A document is
never read here, but for how many pages it has, by which it is priced: each page object counts,
whether it stands in the open or in a compressed object stream (ISO 32000-2, 7.5.7 and 7.7.3.3).
Pages that an incremental update has replaced count again, so that the count is one from above.
"""

from __future__ import annotations

import binascii
import contextlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.chat.checks import invalid, string, wrong_type
from server.errors import RequestError
from server.units import KIB, MIB, format_bytes

MAX_DOCUMENTS = 64
MAX_DOCUMENT_BYTES = 32 * MIB
"""As many as Anthropic takes, of all bytes of a request; `serve.max_body` is reached before."""

_HEAD = re.compile(r"data:application/pdf;base64,", re.IGNORECASE)
_MAGIC = b"%PDF-"
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])()")
"""Its group has nothing: of a file that consists of them, none is copied for the count."""
_OBJECTS = re.compile(rb"/Type\s*/ObjStm\b")
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_NEAR = 512
"""Bytes within which a stream begins after the type in its dictionary."""
_UNPACKED = 16 * MIB
"""Bytes of object streams that are looked at. They hold dictionaries, some 100 bytes a page."""
_EACH = 2 * KIB
"""Bytes that each counts for beside its own, be it empty or broken."""
_PIECE = 16 * KIB
"""Bytes that are unpacked at a time."""
_LEAST_PAGE = 2048
"""Bytes of a page, where none can be seen: few have less."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_name = string(255, shortest=1)


@dataclass(frozen=True, slots=True)
class Document:
    pages: int
    """At least one."""
    size: int
    """Bytes."""


def read_document(url: Any, name: str) -> Document:
    """What the document in `url` is. Raises RequestError for anything but a base64 `data:` URL of
    a PDF, and for one beyond the bound above."""
    if type(url) is not str:
        raise wrong_type(name, "a string", url)
    head = _HEAD.match(url)
    if head is None:
        raise _not_data(url, name)
    size = (len(url) - head.end()) // 4 * 3
    if size > MAX_DOCUMENT_BYTES:
        raise invalid(
            name,
            f"the document has {format_bytes(size)}, "
            f"more than the {format_bytes(MAX_DOCUMENT_BYTES)} that are accepted",
        )
    try:
        data = binascii.a2b_base64(url[head.end() :], strict_mode=True)
    except ValueError:  # a binascii.Error is one, and so is a character beyond ASCII
        raise invalid(name, "its base64 is malformed") from None
    if not data.startswith(_MAGIC):
        raise invalid(name, "it is not a PDF: those begin with '%PDF-'")
    return Document(count_pages(data), len(data))


def document_part(url: Any, title: Any, name: str, titled: str) -> dict[str, Any]:
    """The content part of a document, checked: its `url`, its `pages`, and its `name` where it has
    one. Who calls may add a `detail`: how closely it is to be looked at.

    `name` and `titled` are what the client knows the URL and the title by.
    """
    document: dict[str, Any] = {}
    if title is not None:
        document["name"] = _named(title, titled)
    document["url"] = url
    document["pages"] = read_document(url, name).pages
    return {"type": "document", "document": document}


def data_of(document: dict[str, Any]) -> str:
    """The base64 in the URL of a document, as some providers want it."""
    url: str = document["url"]
    return url[url.index(",") + 1 :]


def file_name(document: dict[str, Any]) -> str:
    """Its name as that of a file, which OpenAI tells its kind by."""
    name: str = document.get("name", "document")
    return name if name.lower().endswith(".pdf") else f"{name}.pdf"


def count_pages(data: bytes) -> int:
    """The pages of a PDF, from above; where none can be seen, as in one that is encrypted, as many
    as its size allows for."""
    pages, room = len(_PAGE.findall(data)), _UNPACKED
    most = 1 + len(data) // _LEAST_PAGE
    for packed in _object_streams(data):
        objects = _unpacked(packed, room)
        room -= len(objects) + _EACH
        pages += len(_PAGE.findall(objects))
        if room <= 0:
            return max(pages, most)
    return pages or most


def _object_streams(data: bytes) -> Iterator[memoryview]:
    """What each has packed. Every byte is passed over but once or twice, whatever they are."""
    view, at = memoryview(data), 0
    while (marked := _OBJECTS.search(data, at)) is not None:
        begins = _STREAM.search(data, marked.end())
        if begins is None:
            return
        if begins.start() - marked.end() > _NEAR:  # whoever it belongs to, it is not this one
            at = max(marked.end(), begins.start() - _NEAR)
            continue
        end = data.find(b"endstream", begins.end())
        if end < 0:
            return
        yield view[begins.end() : end]
        at = end


def _unpacked(packed: memoryview, room: int) -> bytearray:
    """What zlib makes of it, up to where it is broken or some more than `room` bytes have come."""
    unpacking, objects = zlib.decompressobj(), bytearray()
    with contextlib.suppress(zlib.error):
        for at in range(0, len(packed), _PIECE):
            piece: bytes | memoryview = packed[at : at + _PIECE]
            while piece:
                objects += unpacking.decompress(piece, _PIECE)
                if unpacking.eof or len(objects) >= room:
                    return objects
                piece = unpacking.unconsumed_tail
    return objects


def _named(title: Any, name: str) -> str:
    """A title goes to the model, and to nobody's disk."""
    title = _name(title, name)
    if _CONTROL.search(title):
        raise invalid(name, "it holds control characters", "Send a plain name, such as report.pdf")
    return str(title)


def _not_data(url: str, name: str) -> RequestError:
    scheme = url.split(":", 1)[0].lower()
    if scheme in ("http", "https", "file", "ftp"):
        why = f"{scheme}: URLs are not fetched, so that no request can reach into this network"
    else:
        why = "it is not a base64 data: URL of a PDF"
    return invalid(name, why, "Send the document itself as data:application/pdf;base64,...")
