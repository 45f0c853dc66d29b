"""Which requests the conditions of a route can meet at all. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from server.catalogue.naming import fits
from server.catalogue.router import Match

_DAY = 24 * 60


def covers(wide: Match, narrow: Match) -> bool:
    """Whether every request that meets `narrow` meets `wide` as well.

    A route whose conditions an earlier one covers is never reached.
    """
    least, most = wide.min_tokens or 0, wide.max_tokens
    return (
        _names(wide.models, narrow.models)
        and _names(wide.tasks, narrow.tasks)
        and _names(wide.keys, narrow.keys)
        and _names(wide.teams, narrow.teams)
        and all(
            header in narrow.headers and value in ("*", narrow.headers[header])
            for header, value in wide.headers.items()
        )
        and least <= (narrow.min_tokens or 0)
        and (most is None or (narrow.max_tokens is not None and narrow.max_tokens <= most))
        and wide.images in (None, narrow.images)
        and wide.documents in (None, narrow.documents)
        and (wide.hours is None or (narrow.hours is not None and _within(narrow.hours, wide.hours)))
    )


def _names(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """Whether each of the narrow names or patterns is among what the wide ones fit."""
    if not wide or "*" in wide:
        return True
    return bool(narrow) and all(any(fits(one, name) for one in wide) for name in narrow)


Hours = tuple[datetime.time, datetime.time]


def _within(narrow: Hours, wide: Hours) -> bool:
    offset = (_minute(narrow[0]) - _minute(wide[0])) % _DAY
    return offset + _length(narrow) <= _length(wide)


def _length(hours: Hours) -> int:
    """Minutes; hours that end where they begin are none."""
    return (_minute(hours[1]) - _minute(hours[0])) % _DAY


def _minute(time: datetime.time) -> int:
    return time.hour * 60 + time.minute
