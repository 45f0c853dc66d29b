from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.attachments import Attachments
from server.chat.documents import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENTS,
    count_pages,
    data_of,
    document_part,
    file_name,
    read_document,
)
from server.errors import RequestError
from tests.chat.papers import pdf, url
from tests.effort import cpu_seconds

HEAD = "data:application/pdf;base64,"
TYPED = b"/Type /ObjStm >> "
PAGES = zlib.compress(b"/Type /Page /Type /Page")


TEDIOUS = {
    "no end": b"/Type/ObjStm stream\n",
    "no stream": b"/Type/ObjStm ",
    "empty": b"/Type/ObjStm stream\nendstream\n",
    "broken": b"/Type/ObjStm stream\n" + zlib.compress(bytes(2**20))[:-4] + b"nopeendstream\n",
    "more behind": b"/Type/ObjStm stream\n" + zlib.compress(b"") + bytes(2**22) + b"endstream\n",
    "pages": b"/Type/Page ",
    "blanks": b"/Type" + b" " * 100,
    "streams": b"stream\n",
}
"""What a file may consist of so that looking at it takes long, done carelessly."""


def packed(head: bytes) -> bytes:
    """Two pages, after a head as an object stream's or another's."""
    return head + b"stream\n" + PAGES + b"\nendstream\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("pages", [1, 2, 40, 700])
def test_pages_are_counted_in_the_open_and_packed(pages: int, packed: bool) -> None:
    data = pdf(pages, packed=packed)
    found = read_document(url(data), "p")
    assert (found.pages, found.size) == (pages, len(data))


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (b"%PDF-1.4 /Type/Page /Type\n/Page /Type /Pages /Type /PageLabel", 2),
        (b"%PDF-1.4", 1),  # nothing to be seen: by its size
        (b"%PDF-1.4" + bytes(10 * 2048), 11),
        (b"%PDF-1.4 /Type /ObjStm >> stream\nnot packed at all endstream", 1),
        (b"%PDF-1.4 /Type /ObjStm >> stream\n", 1),
        (b"%PDF-1.4 /Type /ObjStm >> stream\n" + PAGES, 1),  # without an end
        (b"%PDF-1.4" + packed(b"/Type /ObjStm" + bytes(600)) + packed(TYPED), 2),
        (b"%PDF-1.4" + packed(TYPED + bytes(500)), 2),
        (b"%PDF-1.4" + packed(TYPED + bytes(512)), 1),  # it may be anybody's
        (b"%PDF-1.4 /Type /ObjStm endstream\n" + packed(TYPED) + b"/Type /Page", 3),
        (b"%PDF-1.4" + packed(TYPED).replace(b"\nendstream", bytes(99_999) + b"endstream"), 2),
        (b"%PDF-1.4 /Type /ObjStm /Type /Page", 1),
        (pdf(3) + pdf(3), 6),  # as after an update that wrote every page anew
    ],
)
def test_a_count_is_from_above(data: bytes, pages: int) -> None:
    assert count_pages(data) == pages


def test_what_unpacks_without_end_is_counted_by_its_size() -> None:
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    data = b"%PDF-1.5 /Type /ObjStm >> stream\n" + bomb + b"\nendstream"
    assert count_pages(data) == 1 + len(data) // 2048
    assert cpu_seconds(lambda: count_pages(data)) < 1


@pytest.mark.parametrize("what", TEDIOUS)
def test_no_file_is_looked_at_for_long(what: str) -> None:
    unit = TEDIOUS[what]
    data = b"%PDF-1.5 " + unit * (16 * 2**20 // len(unit)) + b"/Type/Page"
    assert cpu_seconds(lambda: count_pages(data)) < 5


@given(st.binary(max_size=400))
def test_any_bytes_have_a_page(data: bytes) -> None:
    assert count_pages(b"%PDF-1.5 /Type /ObjStm stream\n" + data) >= 1


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://169.254.169.254/latest/meta-data", "http: URLs are not fetched"),
        ("https://example.org/a.pdf", "https: URLs are not fetched"),
        ("FILE:///etc/passwd", "file: URLs are not fetched"),
        ("//example.org/a.pdf", "not a base64 data: URL"),
        (f" {HEAD}AAAA", "not a base64 data: URL"),
        ("data:text/plain;base64,JVBERi0=", "not a base64 data: URL of a PDF"),
        ("data:application/pdf,JVBERi0=", "not a base64 data: URL"),
        ("JVBERi0=", "not a base64 data: URL"),
        ("", "not a base64 data: URL"),
        (HEAD, "those begin with '%PDF-'"),
        (f"{HEAD}AAAA", "those begin with '%PDF-'"),
        (f"{HEAD}JVBERi0", "base64 is malformed"),
        (f"{HEAD}JVBE Ri0=", "base64 is malformed"),
        (f"{HEAD}JVBERi0=JVBERi0=", "base64 is malformed"),
        (f"{HEAD}JVBERi0=\n", "base64 is malformed"),
        (f"{HEAD}JVBERi0-", "base64 is malformed"),
        (f"{HEAD}ÀÀÀÀ", "base64 is malformed"),
    ],
)
def test_anything_else_is_refused(address: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_document(address, "messages[0].content[1].file.file_data")
    assert says in caught.value.sentence
    assert caught.value.param == "messages[0].content[1].file.file_data"


@pytest.mark.parametrize("address", [None, 5, ["x"], {}])
def test_what_is_no_string(address: Any) -> None:
    with pytest.raises(RequestError, match="a string"):
        read_document(address, "p")


def test_a_size_beyond_the_bound_is_told_before_it_is_decoded() -> None:
    with pytest.raises(RequestError, match="more than the 32"):
        read_document(HEAD + "!" * (MAX_DOCUMENT_BYTES * 4 // 3 + 8), "p")


@pytest.mark.parametrize(
    ("title", "says"),
    [
        ("", "1 to 255 characters"),
        ("a" * 256, "1 to 255 characters"),
        (5, "a string"),
        ("a\nb.pdf", "control characters"),
        ("a\x00.pdf", "control characters"),
        ("\x7f", "control characters"),
    ],
)
def test_a_name_is_sane(title: Any, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        document_part(url(pdf()), title, "p.file_data", "p.filename")
    assert says in caught.value.sentence
    assert caught.value.param == "p.filename"


@pytest.mark.parametrize(
    ("title", "file"),
    [
        (None, "document.pdf"),
        ("report.pdf", "report.pdf"),
        ("Report.PDF", "Report.PDF"),
        ("Jahresbericht übers Jahr", "Jahresbericht übers Jahr.pdf"),
    ],
)
def test_a_name_as_a_files(title: str | None, file: str) -> None:
    address = url(pdf())
    part = document_part(address, title, "p", "p")
    named = {} if title is None else {"name": title}
    assert part == {"type": "document", "document": {**named, "url": address, "pages": 1}}
    assert file_name(part["document"]) == file
    assert base64.b64decode(data_of(part["document"])) == pdf()


def test_there_is_a_bound_to_their_number() -> None:
    attached, address = Attachments(), url(pdf(2))
    for _ in range(MAX_DOCUMENTS):
        attached.add_document(address, None, "p", "t")
    assert attached.pages == 2 * MAX_DOCUMENTS
    with pytest.raises(RequestError, match=f"at most {MAX_DOCUMENTS} documents"):
        attached.add_document(address, None, "p", "t")
