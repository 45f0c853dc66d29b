from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from server.store.pull.rate import ENOUGH, Rate, read_rate, record_rate

TODAY = datetime.date(2026, 11, 21)


def test_the_last_rate_is_remembered(tmp_path: Path) -> None:
    assert read_rate(tmp_path) is None
    record_rate(tmp_path / "state", ENOUGH, 0.5, TODAY)
    assert read_rate(tmp_path / "state") == Rate(ENOUGH * 2, TODAY)
    # Too little to tell a rate: the last one stays.
    record_rate(tmp_path / "state", ENOUGH - 1, 0.1, TODAY)
    assert read_rate(tmp_path / "state") == Rate(ENOUGH * 2, TODAY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"bytes_per_second": "fast", "measured": "2026-11-21"}',
        '{"bytes_per_second": 0, "measured": "2026-11-21"}',
        '{"bytes_per_second": 5, "measured": "yesterday"}',
    ],
)
def test_what_is_no_rate_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "rate.json").write_text(text)
    assert read_rate(tmp_path) is None
