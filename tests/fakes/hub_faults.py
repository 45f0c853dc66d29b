"""What goes wrong at the fake hub, on demand.

A fault is a JSON object, given to POST /_faults (one, or a list); DELETE /_faults ends all.
    match    regular expression, searched in "<org>/<name>/<path in it>" of a file (also where the
             CDN serves it), and in the URL's path otherwise
    kind     see KINDS, or a status such as 429 or 500
    times    how often; null: always. Default 1
    where    "hub", "cdn" or "any" (default)
    method   "GET", "HEAD"; default any of them
    skip     this many matching requests are answered well before it begins. Default 0
    after    cut, stall: bytes of the body that are sent before it. Default: half of it
    at       wrong-bytes: offset in the file of the flipped bit. Default: the first byte sent
    seconds  stall: how long (default: until the client leaves); statuses: the Retry-After
    rate     slow: bytes per second
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, fields
from typing import Any

KINDS = {
    "cut": "the connection is reset in the middle of the body",
    "stall": "the body stops coming, the connection stays",
    "slow": "the body comes slowly",
    "wrong-bytes": "one bit is flipped",
    "ignore-range": "a request for a range is answered with 200 and the whole file",
    "truncated": "the answer is whole by HTTP's rules and shorter than asked for",
    "wrong-range": "206 with the Content-Range and the bytes of another range",
    "changed": "other ETag, other bytes, 16 bytes longer",
    "retagged": "other ETag, and nothing else",
    "gone": "the repository is not there",
    "expired": "the CDN refuses the signature",
    "garbage": "the answer is not HTTP",
    "redirect": "a redirect to itself, for ever",
}
_OF_BODIES = {"cut", "slow", "stall", "wrong-bytes", "ignore-range", "truncated", "wrong-range"}
"""They wait for an answer that carries a file's bytes."""


@dataclass(slots=True)
class Fault:
    match: str
    kind: str
    times: int | None = 1
    where: str = "any"
    method: str | None = None
    skip: int = 0
    after: int | None = None
    at: int | None = None
    seconds: float | None = None
    rate: int = 1024 * 1024

    @property
    def status(self) -> int | None:
        return int(self.kind) if self.kind.isdigit() else None


def parse(given: dict[str, Any]) -> Fault:
    """Raises ValueError naming what is wrong."""
    known = {field.name for field in fields(Fault)}
    if unknown := set(given) - known:
        raise ValueError(f"unknown {sorted(unknown)}; known are {sorted(known)}")
    fault = Fault(**given | {"kind": str(given["kind"])})
    re.compile(fault.match)
    if fault.kind not in KINDS and fault.status is None:
        raise ValueError(f"kind {fault.kind!r} is not a status or one of {sorted(KINDS)}")
    return fault


class Faults:
    """Those that are set; asked by every request, from many threads."""

    def __init__(self) -> None:
        self._set: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, given: Any) -> None:
        found = [parse(one) for one in (given if isinstance(given, list) else [given])]
        with self._lock:
            self._set += found

    def clear(self) -> None:
        with self._lock:
            self._set.clear()

    def due(self, subject: str, where: str, method: str, *, body: bool) -> Fault | None:
        """The fault that this request meets; it counts as met. `body`: bytes are to be sent."""
        with self._lock:
            for fault in self._set:
                if fault.times == 0 or fault.where not in ("any", where):
                    continue
                if fault.method not in (None, method) or not re.search(fault.match, subject):
                    continue
                if fault.kind in _OF_BODIES and not body:
                    continue
                if fault.kind == "expired" and where != "cdn":
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
