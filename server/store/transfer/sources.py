"""The sources of one file: which is asked, where its redirects led, what it says that the file is.

A hub redirects to a CDN, and counts how often it is asked: so the place is kept and asked directly
until it refuses. The hub's token goes to the hub alone (see hop.py).
"""

from __future__ import annotations

import threading

from server.errors import HubError, StoreError
from server.store.transfer.answer import Refusal, Stale, changed_upstream, tag_of
from server.store.transfer.exchange import Exchange, Place
from server.store.transfer.hop import first_hop
from server.store.transfer.want import Want


class Sources:
    """Asked by several threads at once."""

    def __init__(self, want: Want) -> None:
        self._want = want
        self._lock = threading.Lock()
        self._current = 0
        self._kept: Place | None = None
        self._linked: str | None = None
        self._etag: str | None = None
        self._errors: list[StoreError] = []

    def place(self) -> Place:
        """Raises StoreError when every source was given up."""
        with self._lock:
            while self._current < len(self._want.urls):
                if self._kept is not None:
                    return self._kept
                url = self._want.urls[self._current]
                try:
                    hop = first_hop(url.url, url.headers, url.name)
                except HubError as error:
                    self._next(error)
                    continue
                return Place(self._current, url.name, hop, kept=False)
            raise self._last_error()

    def answered(self, place: Place, exchange: Exchange) -> Stale | Refusal | None:
        """Bytes are about to come. Not None: of another file than before."""
        hop, linked, asked = exchange.hop, exchange.linked, exchange.asked
        etag = tag_of(exchange.reply.headers)[1]
        with self._lock:
            if place.source != self._current:
                return None
            if place.kept and etag != place.etag:
                return Stale("the ETag behind a redirect is another one")
            known = self._linked if linked else self._etag
            direct = not hop.redirects or linked
            if direct and known is not None and known != (linked or etag):
                return Refusal(changed_upstream(asked, "gives it another ETag than before"))
            if linked:
                self._linked = linked
            elif not hop.redirects:
                self._etag = etag
            if hop.redirects and self._kept is None:
                self._kept = Place(place.source, place.name, hop, kept=True, etag=etag)
        return None

    def forget(self, place: Place) -> None:
        """What was kept is no longer good: the next one asks the hub again."""
        with self._lock:
            if self._kept is not None and self._kept.hop == place.hop:
                self._kept = None

    def give_up(self, place: Place, error: StoreError) -> bool:
        """`place`'s source will not do. False: another thread said so before."""
        with self._lock:
            if place.source != self._current:
                return False
            self._next(error)
            return True

    def start_over(self, why: str) -> None:
        """The bytes were wrong, `why` says how: the next source is asked for all of them, after the
        last one the first again."""
        with self._lock:
            usable = len(self._want.urls)
            name = self._want.urls[self._current].name if self._current < usable else ""
            # Kept for the end: what the last source fails for is then only half of the story.
            self._errors.append(
                StoreError(
                    f"{name or 'a source'} sends wrong bytes of {self._want.path}",
                    why=why,
                    next_step="Try again later, or name another revision",
                )
            )
            self._current = (self._current + 1) % usable
            self._kept = self._linked = self._etag = None

    def _next(self, error: StoreError) -> None:
        self._errors.append(error)
        self._current += 1
        self._kept = self._linked = self._etag = None

    def _last_error(self) -> StoreError:
        if not self._errors:
            return HubError(f"there is no source for {self._want.path}")
        first = self._errors[0]
        if len(self._errors) == 1:
            return first
        whys = "; ".join(f"{one.what}: {one.why}" if one.why else one.what for one in self._errors)
        kind = HubError if isinstance(first, HubError) else StoreError
        return kind(
            f"no source has {self._want.path} as it should be", why=whys, next_step=first.next_step
        )
