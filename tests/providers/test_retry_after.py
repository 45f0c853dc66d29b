from __future__ import annotations

import pytest

from server.providers.retry_after import LONGEST, seconds_until, whole_seconds

DATE = {"date": "Sat, 21 Nov 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "1e9"}, LONGEST),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 2),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", **DATE}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:30 GMT", **DATE}, 0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", "date": "x"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: int | None) -> None:
    assert whole_seconds(headers) == seconds


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [("2026-11-21T10:00:09Z", 9), ("2026-11-21T10:00:09", None), (None, None), ("x", None)],
)
def test_until_a_moment(moment: str | None, seconds: int | None) -> None:
    assert seconds_until(moment, DATE) == seconds
    assert seconds_until(moment, {}) is None
