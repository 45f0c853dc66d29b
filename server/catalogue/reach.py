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


def overlap(one: Match, other: Match) -> bool:
    """Whether a request may meet both; two patterns are taken to agree where nobody can tell."""
    return (
        _share(one.models, other.models)
        and _share(one.tasks, other.tasks)
        and _share(one.keys, other.keys)
        and _share(one.teams, other.teams)
        and all(
            "*" in (value, wanted) or value == wanted
            for header, value in one.headers.items()
            if (wanted := other.headers.get(header)) is not None
        )
        and (None in (one.images, other.images) or one.images == other.images)
        and (None in (one.documents, other.documents) or one.documents == other.documents)
        and _in_reach(one, other)
        and _in_reach(other, one)
        and (one.hours is None or other.hours is None or _meet(one.hours, other.hours))
    )


def _share(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a name may be among what both stand for; an empty list stands for everything."""
    if not one or not other:
        return True
    return any(fits(a, b) or fits(b, a) or ("*" in a and "*" in b) for a in one for b in other)


def _in_reach(one: Match, other: Match) -> bool:
    return one.max_tokens is None or (other.min_tokens or 0) <= one.max_tokens


def _names(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    """Whether each of the narrow names or patterns is among what the wide ones fit."""
    if not wide or "*" in wide:
        return True
    return bool(narrow) and all(any(fits(one, name) for one in wide) for name in narrow)


Hours = tuple[datetime.time, datetime.time]


def _within(narrow: Hours, wide: Hours) -> bool:
    offset = (_minute(narrow[0]) - _minute(wide[0])) % _DAY
    return offset + _length(narrow) <= _length(wide)


def _meet(one: Hours, other: Hours) -> bool:
    """Whether either begins within the other."""
    apart = (_minute(other[0]) - _minute(one[0])) % _DAY
    return apart < _length(one) or (-apart) % _DAY < _length(other)


def _length(hours: Hours) -> int:
    """Minutes; hours that end where they begin are none."""
    return (_minute(hours[1]) - _minute(hours[0])) % _DAY


def _minute(time: datetime.time) -> int:
    return time.hour * 60 + time.minute
