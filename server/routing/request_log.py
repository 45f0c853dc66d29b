"""Tells an address of the operator's of each request: that it was, never what was said.

It leaves this machine, so it goes the way of everything that does: a reservation (of nothing), a
row in the log of what left, a permit, the one egress. With clouds switched off nothing is sent, and
of local-only requests nothing ever is. Entries go in batches; what cannot be delivered is kept up
to a bound, and tried again: where an answer is lost, a batch comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from server.catalogue.cloud import Provider
from server.catalogue.router import RequestLog
from server.errors import HoldfastError, ProviderError
from server.ledger.account import Account, Party
from server.ledger.entry import Entry, Reservation
from server.ledger.keys import UNLIMITED
from server.providers.egress import host_of
from server.providers.permit import permit
from server.providers.provider import Call
from server.routing.ledgering import Held
from server.routing.means import Means

log = logging.getLogger("holdfast")

_EVERY: Final = 5.0  # seconds
_LONGEST_PAUSE: Final = 60.0
_PATIENCE: Final = 15.0  # seconds for an answer
_BATCH: Final = 500
_KEPT: Final = 10_000
_ID: Final = "request-log"
# As that of a shadow copy: if Holdfast dies with it, it is no request of a client.
_ACCOUNT: Final = Account((Party("shadow", _ID, UNLIMITED), Party("all", "", UNLIMITED)))


class _Metadata:
    """What is asked to leave is not a request: nothing but the router's own word keeps it here."""

    local_only = False
    private_because = ""


class RequestLogger:
    """Call it with each entry; `run` delivers them. `means`: those of the present configuration."""

    def __init__(self, means: Callable[[], Means], *, every: float = _EVERY) -> None:
        self._means = means
        self._every = every
        self._entries: deque[Entry] = deque(maxlen=_KEPT)  # the oldest go first
        self._batches = 0
        self._failed = False

    def __call__(self, entry: Entry) -> None:
        router = self._means().router
        if router.request_log is not None and router.cloud and not entry.private:
            self._entries.append(entry)

    async def run(self) -> None:
        """Deliver what comes, until it is cancelled."""
        pause = self._every
        while True:
            await asyncio.sleep(pause)
            delivered = await self.deliver()
            pause = self._every if delivered else min(2 * pause, _LONGEST_PAUSE)

    async def deliver(self) -> bool:
        """Send all that waits; False: it could not be, and is kept."""
        while self._entries:
            target = self._means().router.request_log
            if target is None or not self._means().router.cloud:
                self._entries.clear()  # switched off since
                return True
            batch = [self._entries.popleft() for _ in range(min(_BATCH, len(self._entries)))]
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._send(target, batch)
            except (HoldfastError, TimeoutError, aiohttp.ClientError) as error:
                self._keep(batch, error)
                return False
            except BaseException:
                self._entries.extendleft(reversed(batch))
                raise
            self._failed = False
        return True

    def _keep(self, batch: list[Entry], error: Exception) -> None:
        room = _KEPT - len(self._entries)
        self._entries.extendleft(reversed(batch[-room:] if room else []))
        if not self._failed:
            log.warning("the request log is not delivered: %s", str(error) or "no answer")
        self._failed = True

    async def _send(self, target: RequestLog, batch: list[Entry]) -> None:
        means = self._means()
        base, path = _split(target.url)
        provider = Provider(_ID, "openai", base, target.key)
        self._batches += 1
        body = orjson.dumps({"entries": [_told(entry) for entry in batch]})
        wanted = Reservation(
            time=time.time(), request_id=f"{_ID}-{self._batches}", endpoint=_ID, asked="",
            model="", provider=_ID, host=host_of(provider), body=body, cost=0, prompt_tokens=0,
            output_tokens=0,
        )  # fmt: skip
        hold = await means.book.reserve(_ACCOUNT, wanted)
        try:
            leave = permit(_Metadata(), router=means.router, hold=Held(hold, wanted))
            answer = await means.egress.send(leave, provider, Call(path, body, {}), _bearer)
            answer.close()
            if answer.status >= 300:
                raise ProviderError(f"{wanted.host} answers {answer.status}")
        finally:
            means.book.release(hold)


def _told(entry: Entry) -> dict[str, Any]:
    """An entry as it is sent; money in nano-USD."""
    told = asdict(entry)
    del told["private"]
    return told


def _split(url: str) -> tuple[str, str]:
    """Address and path, as egress takes them: `https://a/b/c` -> `https://a/b`, `/c`."""
    path = urlsplit(url).path
    last = f"/{path.rpartition('/')[2]}"
    return url.removesuffix(last), last


def _bearer(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}
