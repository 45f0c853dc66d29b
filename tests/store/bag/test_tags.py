"""Tag files of bags, as RFC 8493 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import StoreError
from server.store.bag import tags

DIGEST = "0123456789abcdef" * 4
PATHS = st.text(
    st.characters(categories=("L", "N", "P", "S"), exclude_characters="/\\%"), min_size=1
)


@given(st.dictionaries(PATHS.map("data/~{}".format), st.just(DIGEST)))
def test_a_manifest_is_read_as_it_was_written(files: dict[str, str]) -> None:
    assert tags.parse_manifest(tags.manifest(files), "manifest") == files


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (f"{DIGEST}  data/a", "data/a"),
        (f"{DIGEST} data/a b", "data/a b"),
        (f"{DIGEST}\tdata/a", "data/a"),
        (f"{DIGEST} *data/a", "data/a"),
        (f"{DIGEST.upper()}  ./data/a", "data/a"),
        (f"{DIGEST}  data/100%25", "data/100%"),
    ],
)
def test_lines_that_others_write(line: str, path: str) -> None:
    for end in ("", "\n", "\r\n", "\r"):
        assert tags.parse_manifest((line + end).encode(), "manifest") == {path: DIGEST}


@pytest.mark.parametrize(
    "line",
    [
        f"{DIGEST}  ../etc/passwd",
        f"{DIGEST}  /etc/passwd",
        f"{DIGEST}  data//a",
        f"{DIGEST}  data/a%0Ab",
        f"{DIGEST}  data\\a",
        f"{DIGEST[:-1]}  data/a",
        f"{DIGEST}",
        f"{DIGEST}  data/a\n{DIGEST}  data/a",
        "\xff\xfe",
    ],
)
def test_lines_that_are_refused(line: str) -> None:
    with pytest.raises(StoreError):
        tags.parse_manifest(line.encode("latin-1"), "manifest")


def test_a_percent_sign_cannot_be_written() -> None:
    with pytest.raises(StoreError, match="do not agree"):
        tags.manifest({"data/100%": DIGEST})


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Z][A-Za-z-]{0,30}", fullmatch=True),
            st.from_regex(r"([!-~]([ -~]{0,40}[!-~])?)?", fullmatch=True),
        )
    )
)
def test_info_is_read_as_it_was_written(fields: list[tuple[str, str]]) -> None:
    assert tags.parse_info(tags.info(fields), "info") == fields


def test_a_folded_value_is_one_value() -> None:
    text = b"External-Description: two\n  lines\r\nBag-Count : 1 of 2\n"
    assert tags.parse_info(text, "info") == [
        ("External-Description", "two lines"),
        ("Bag-Count", "1 of 2"),
    ]
