"""How long a provider asks us to wait, from the headers of its answer.

No clock is read: a moment that it names is held against the `date` of the same answer.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 24 * 3600
"""Seconds; more is taken for this."""


def whole_seconds(headers: Mapping[str, str]) -> int | None:
    """`retry-after-ms`, or `retry-after` as seconds or as a date (RFC 9110, 10.2.3), rounded up.

    `headers` have their names in lower case.
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return _bounded(float(headers[name]) / unit)
        except (KeyError, ValueError):
            pass
    try:
        moment = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return _since(moment, headers)


def seconds_until(moment: str | None, headers: Mapping[str, str]) -> int | None:
    """Until an RFC 3339 moment; None where that cannot be said."""
    try:
        return _since(datetime.datetime.fromisoformat(moment or ""), headers)
    except ValueError:
        return None


def _since(moment: datetime.datetime, headers: Mapping[str, str]) -> int | None:
    try:
        now = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    return _bounded((moment - now).total_seconds()) if moment.tzinfo else None


def _bounded(seconds: float) -> int | None:
    """None for what is no number of seconds."""
    if not math.isfinite(seconds):
        return None
    return min(max(0, math.ceil(seconds)), LONGEST)
