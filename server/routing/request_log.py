"""Tells an address of the operator's of each request: that it was, never what was said.

How it leaves is outbox.py's to say; of local-only requests nothing ever does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from server.ledger.entry import Entry
from server.routing.means import Means
from server.routing.outbox import EVERY, Outbox, Receiver, bearer

_BATCH: Final = 500


class RequestLogger(Outbox[Entry]):
    """Call it with each entry. `means`: those of the present configuration."""

    def __init__(self, means: Callable[[], Means], *, every: float = EVERY) -> None:
        def receiver() -> Receiver | None:
            log = means().router.request_log
            return None if log is None else Receiver(log.url, log.key, bearer)

        title = "the request log"
        super().__init__("request-log", title, means, receiver, _body, most=_BATCH, every=every)

    def __call__(self, entry: Entry) -> None:
        if self._means().router.request_log is not None and not entry.private:
            self.put(entry)


def _body(entries: Sequence[Entry]) -> bytes:
    return orjson.dumps({"entries": [_told(entry) for entry in entries]})


def _told(entry: Entry) -> dict[str, Any]:
    """An entry as it is sent; money in nano-USD."""
    told = asdict(entry)
    del told["private"]
    return told
