from __future__ import annotations

import pytest

from server.engines.fleet import fits

GIB = 1024**3


@pytest.mark.parametrize(("needs", "free"), [(0, 0), (10, 10), (10, 11)])
def test_what_fits(needs: int, free: int) -> None:
    assert fits("m", needs, free) is None


@pytest.mark.parametrize(
    ("needs", "free", "why"),
    [
        (11, 10, "it needs 11 B of memory (11 bytes), and 10 B (10 bytes) is free"),
        (16 * GIB, 11 * GIB, "it needs 16.0 GiB of memory (17179869184 bytes), and 11.0 GiB"),
        (1, -5, "and 0 B (0 bytes) is free"),
    ],
)
def test_what_does_not_is_told_with_both_figures(needs: int, free: int, why: str) -> None:
    refusal = fits("qwen3.5-27b:q4_k_m", needs, free)
    assert refusal is not None
    assert "qwen3.5-27b:q4_k_m" in refusal.what
    assert why in refusal.why
