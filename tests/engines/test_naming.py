from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.naming import LONGEST, file_stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("demo:f32", "demo@f32"),
        ("qwen3.5-9b:q4_k_m", "qwen3.5-9b@q4_k_m"),
        ("qwen3.5-397b-a17b:ud-q4_k_xl", "qwen3.5-397b-a17b@ud-q4_k_xl"),
    ],
)
def test_ordinary_names_stay_readable(name: str, stem: str) -> None:
    assert file_stem(name) == stem


@given(st.text(), st.text())
def test_any_name_is_one_short_file_of_its_own(one: str, other: str) -> None:
    stem = file_stem(one)
    assert re.fullmatch(rf"[A-Za-z0-9._@-]{{1,{LONGEST}}}", stem)
    assert stem not in (".", "..")
    if ":" in one + other and "@" in one + other:
        return  # "a:b" and "a@b" share a file; neither a model's nor a build's id holds an "@"
    assert one == other or stem != file_stem(other)
