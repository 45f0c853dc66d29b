"""What a request's headers say to the router; each is bounded and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from server.errors import RequestError

Headers = Mapping[bytes, bytes]
"""By lower-case name, as ASGI has them."""

TASK = "x-task-type"
SLO = "x-slo-ttft-ms"
LOCAL_ONLY = "x-holdfast-local-only"
SESSIONS = ("x-session-id", "x-claude-code-session-id")
"""The first that is there counts."""

_TASK, _SLO_TTFT, _LOCAL_ONLY = TASK.encode(), SLO.encode(), LOCAL_ONLY.encode()
_SESSIONS = tuple((name, name.encode()) for name in SESSIONS)

MOST_SLO = 3600.0
"""Seconds."""
_LONGEST = 256
_SLO = re.compile(rb"\d{1,9}(?:\.\d{1,6})?")
_SESSION = re.compile(rb"[\x21-\x7e]{1,%d}" % _LONGEST)
_YES, _NO = (b"1", b"true", b"yes", b"on"), (b"0", b"false", b"no", b"off")


def task(headers: Headers) -> str | None:
    """As the client wrote it, in lower case; whether it exists is not looked at."""
    value = headers.get(_TASK)
    return None if value is None else value[:_LONGEST].decode("latin-1").strip().lower()


def slo(headers: Headers) -> float | None:
    """Seconds to the first token. Raises RequestError."""
    value = headers.get(_SLO_TTFT)
    if value is None:
        return None
    seconds = float(value) / 1000 if _SLO.fullmatch(value) else 0.0
    if not 0 < seconds <= MOST_SLO:
        raise _invalid(SLO, value, f"milliseconds, above 0 and up to {MOST_SLO * 1000:.0f}")
    return seconds


def session(headers: Headers) -> str | None:
    """Raises RequestError."""
    for name, key in _SESSIONS:
        value = headers.get(key)
        if value is not None:
            if not _SESSION.fullmatch(value):
                raise _invalid(
                    name, value, f"1 to {_LONGEST} printable ASCII characters without spaces"
                )
            return value.decode("ascii")
    return None


def local_only(headers: Headers) -> bool:
    """Raises RequestError: what was meant to keep a request here is never taken for a no."""
    value = headers.get(_LOCAL_ONLY)
    if value is None:
        return False
    word = value.strip().lower()
    if word not in (*_YES, *_NO):
        raise _invalid(LOCAL_ONLY, value, "true or false")
    return word in _YES


def picked(headers: Headers, names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that are there, cut to a bound."""
    found = {}
    for name in names:
        value = headers.get(name.encode())
        if value is not None:
            found[name] = value[:_LONGEST].decode("latin-1")
    return found


def _invalid(name: str, value: bytes, expected: str) -> RequestError:
    return RequestError(
        f"Invalid value for the header '{name}'",
        why=f"{value[:64].decode('latin-1')!r} is not {expected}",
        param=name,
    )
