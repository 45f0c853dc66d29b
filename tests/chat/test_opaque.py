from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.opaque import is_ours, unwrapped, wrapped

DETAIL = {"type": "reasoning.text", "format": "gemini", "signature": "s", "index": 3}


@given(text=st.text(max_size=20), at=st.integers(0, 9))
def test_what_is_wrapped_comes_out_again(text: str, at: int) -> None:
    detail = {**DETAIL, "text": text, "at": at}
    carried = wrapped(detail)
    assert carried.isascii()
    assert is_ours(carried)
    assert unwrapped(carried) == detail


@pytest.mark.parametrize("said", ["", "gAAAAABo", "holdfas", "Holdfast.e30="])
def test_what_is_a_providers_own(said: str) -> None:
    assert not is_ours(said)
    assert unwrapped(said) is None


@pytest.mark.parametrize(
    "inside", [b"", b"{", b"[]", b"1", b"{}", b'{"type":"reasoning.text","format":"other"}']
)
def test_what_is_damaged_is_nothing(inside: bytes) -> None:
    assert unwrapped("holdfast." + base64.urlsafe_b64encode(inside).decode()) is None
    assert unwrapped("holdfast.!!!") is None
    assert unwrapped("holdfast.é") is None
