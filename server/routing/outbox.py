"""What is told of requests to an address of the operator's, in batches, without ever waiting.

It leaves this machine, so it goes the way of everything that does: a reservation (of nothing), a
row in the log of what left, a permit, the one egress. With clouds switched off nothing is sent.
What cannot be delivered is kept up to a bound, and tried again: where an answer is lost, a batch
comes twice. A batch that the receiver will not take, whenever it comes, is dropped, and so is one
that a bug of ours keeps from being sent: no request suffers by what is told of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp

from server.catalogue.cloud import KeySource, Provider
from server.errors import HoldfastError, ProviderError
from server.ledger.account import Account, Party
from server.ledger.entry import Reservation
from server.ledger.keys import UNLIMITED
from server.providers.egress import host_of
from server.providers.permit import permit
from server.providers.provider import Call
from server.routing.ledgering import Held
from server.routing.means import Means

log = logging.getLogger("holdfast")

EVERY: Final = 5.0  # seconds
_LONGEST_PAUSE: Final = 60.0
_PATIENCE: Final = 15.0  # seconds for an answer
_LAST: Final = 2.0  # seconds for all that waits, at the end
_KEPT: Final = 10_000
_NEVER_TAKEN: Final = (400, 413, 415, 422)
"""Statuses about the batch itself: sent again it would fare no better."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Receiver:
    url: str
    key: KeySource | None
    """None: it needs none."""
    authentication: Callable[[str], Mapping[str, str]]
    """The headers that carry the key."""
    content_type: str = "application/json"
    every: float = EVERY
    """Seconds between two batches."""


class _Metadata:
    """What is asked to leave is not a request: nothing but the router's own word keeps it here."""

    local_only = False
    private_because = ""


class Outbox(Generic[T]):
    """`put` what is to be told; `run` delivers it. Belongs to one event loop.

    `name` stands in the log of what left, `title` in messages. `means`: those of the present
    configuration; `receiver`: who is told, None: nobody any more, and what waits is forgotten.
    `encode` makes a batch, of `most` at a time, into a body; it is called in a thread.
    """

    def __init__(
        self,
        name: str,
        title: str,
        means: Callable[[], Means],
        receiver: Callable[[], Receiver | None],
        encode: Callable[[Sequence[T]], bytes],
        *,
        most: int,
        every: float,
    ) -> None:
        self._name = name
        self._title = title
        self._means = means
        self._receiver = receiver
        self._encode = encode
        self._most = most
        self._every = every
        self._waiting: deque[T] = deque(maxlen=_KEPT)  # the oldest go first
        self._batches = 0
        self._failed = False
        # As that of a shadow copy: if Holdfast dies with it, it is no request of a client.
        shadow = Party("shadow", name, UNLIMITED)
        self._account = Account((shadow, Party("all", "", UNLIMITED)))

    @property
    def open(self) -> bool:
        """Whether anything may be told at all, as things are."""
        return self._means().router.cloud and self._receiver() is not None

    def put(self, what: T) -> None:
        """Have it told; forgotten at once where nothing may be."""
        if self.open:
            self._waiting.append(what)

    async def run(self) -> None:
        """Deliver what comes, until it is cancelled."""
        pause = self._every
        while True:
            await asyncio.sleep(pause)
            delivered = await self.deliver()
            pause = self._every if delivered else min(2 * pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Deliver what waits still, if that is done in a moment."""
        try:
            async with asyncio.timeout(_LAST):
                await self.deliver()
        except TimeoutError:
            log.warning("%s: the last %d are not delivered", self._title, len(self._waiting))

    async def deliver(self) -> bool:
        """Send all that waits; False: it could not be, and is kept."""
        while self._waiting:
            if not self.open:
                self._waiting.clear()  # switched off since
                return True
            count = min(self._most, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._send(batch)
            except (HoldfastError, TimeoutError, aiohttp.ClientError) as error:
                self._keep(batch, error)
                return False
            except asyncio.CancelledError:
                self._waiting.extendleft(reversed(batch))
                raise
            except Exception:
                log.exception("%s: a bug, by which %d are dropped", self._title, len(batch))
            self._failed = False
        return True

    def _keep(self, batch: list[T], error: Exception) -> None:
        room = _KEPT - len(self._waiting)
        self._waiting.extendleft(reversed(batch[-room:] if room else []))
        if not self._failed:
            log.warning("%s cannot be delivered: %s", self._title, str(error) or "no answer")
        self._failed = True

    async def _send(self, batch: Sequence[T]) -> None:
        means, receiver = self._means(), self._receiver()
        assert receiver is not None
        base, path = _split(receiver.url)
        provider = Provider(self._name, "openai", base, receiver.key)
        self._batches += 1
        body = await asyncio.to_thread(self._encode, batch)
        wanted = Reservation(
            time=time.time(), request_id=f"{self._name}-{self._batches}", key_id="",
            endpoint=self._name, asked="", model="", provider=self._name, host=host_of(provider),
            body=body, cost=0, prompt_tokens=0, output_tokens=0,
        )  # fmt: skip
        hold = await means.book.reserve(self._account, wanted)
        try:
            leave = permit(_Metadata(), router=means.router, hold=Held(hold, wanted))
            call = Call(path, body, {}, receiver.content_type)
            answer = await means.egress.send(leave, provider, call, receiver.authentication)
            answer.close()
        finally:
            means.book.release(hold)
        if answer.status in _NEVER_TAKEN:
            log.warning("%s: %s answers %d to a batch, which is dropped",
                        self._title, wanted.host, answer.status)  # fmt: skip
        elif answer.status >= 300:
            raise ProviderError(f"{wanted.host} answers {answer.status}")


def bearer(key: str) -> Mapping[str, str]:
    """The header of a bearer token."""
    return {"authorization": f"Bearer {key}"}


def _split(url: str) -> tuple[str, str]:
    """Address and path, as egress takes them: `https://a/b/c` -> `https://a/b`, `/c`."""
    path = urlsplit(url).path
    last = f"/{path.rpartition('/')[2]}"
    return url.removesuffix(last), last
