from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.web.ranges import Span, span

ETAG = b'"abc"'


@pytest.mark.parametrize(
    ("asked", "size", "found"),
    [
        (b"bytes=0-0", 10, Span(0, 1)),
        (b"bytes=0-9", 10, Span(0, 10)),
        (b"bytes=3-5", 10, Span(3, 3)),
        (b"bytes=3-", 10, Span(3, 7)),
        (b"bytes=9-", 10, Span(9, 1)),
        (b"bytes=3-99", 10, Span(3, 7)),
        (b"bytes=-3", 10, Span(7, 3)),
        (b"bytes=-99", 10, Span(0, 10)),
        (b"Bytes= 3-5 ", 10, Span(3, 3)),
        (b"bytes=0-9999999999999999999", 10, Span(0, 10)),
    ],
)
def test_a_range_within_the_file(asked: bytes, size: int, found: Span) -> None:
    assert span({b"range": asked}, size, ETAG) == found


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=a-b",
        b"bytes=5-3",
        b"bytes=1-2,4-5",
        b"bytes=--1",
        b"bytes=1-2-3",
        b"bytes=99999999999999999999999999-",
        b"items=1-2",
        b"bytes 1-2",
    ],
)
def test_what_cannot_be_read_is_answered_in_full(asked: bytes) -> None:
    assert span({b"range": asked}, 10, ETAG) is None


def test_without_a_range_it_is_the_whole_file() -> None:
    assert span({}, 10, ETAG) is None


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        (b"bytes=10-", 10),
        (b"bytes=10-20", 10),
        (b"bytes=-0", 10),
        (b"bytes=0-", 0),
        (b"bytes=-5", 0),
    ],
)
def test_a_range_without_a_byte_is_refused(asked: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="no byte"):
        span({b"range": asked}, size, ETAG)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (b'"abc"', True),
        (b'"abd"', False),
        (b'W/"abc"', False),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", False),
        (b"", False),
    ],
)
def test_if_range_must_name_the_file_as_it_is(condition: bytes, holds: bool) -> None:
    found = span({b"range": b"bytes=2-", b"if-range": condition}, 10, ETAG)
    assert found == (Span(2, 8) if holds else None)


def test_an_unsatisfiable_range_of_another_file_is_answered_in_full() -> None:
    assert span({b"range": b"bytes=20-", b"if-range": b'"old"'}, 10, ETAG) is None


@given(
    st.one_of(st.binary(max_size=40), st.from_regex(rb"bytes=\d{0,3}-\d{0,3}", fullmatch=True)),
    st.integers(0, 300),
)
def test_it_always_lies_within_the_file(asked: bytes, size: int) -> None:
    try:
        found = span({b"range": asked}, size, ETAG)
    except ValueError:
        return
    if found is not None:
        assert found.count > 0
        assert 0 <= found.offset < found.offset + found.count <= size
