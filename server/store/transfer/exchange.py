"""One request for bytes of a file, its redirects, and the answer at their end."""

from __future__ import annotations

import datetime
import http.client
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from server.errors import ConfigError, HubError
from server.store.transfer.answer import (
    Asked,
    Body,
    Later,
    Redirect,
    Refusal,
    Stale,
    Unranged,
    judge,
    proxy_refusal,
    tag_of,
)
from server.store.transfer.connection import Connection, Reply
from server.store.transfer.hop import Hop, Origin, next_hop
from server.store.transfer.pace import Bucket, Gate, Patience
from server.store.transfer.want import Want


@dataclass(frozen=True, slots=True)
class Terms:
    """How to fetch; the same for all connections."""

    user_agent: str
    stall: float
    """Seconds without a byte after which a connection is given up."""
    environment: Mapping[str, str] = field(repr=False)
    context: ssl.SSLContext
    bucket: Bucket
    gate: Gate
    patience: Patience


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask."""

    source: int
    """Which of the file's."""
    name: str
    hop: Hop
    kept: bool
    """It is where an earlier redirect led."""
    etag: str | None = None
    """What it said there."""


@dataclass(frozen=True, slots=True)
class Exchange:
    asked: Asked
    answer: Body | Later | Stale | Unranged | Refusal
    hop: Hop
    """That answered."""
    linked: str | None
    """X-Linked-Etag, if a hop on the way had one."""
    reply: Reply


class Line:
    """A thread's connections, one to each origin that it met."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._connections: dict[Origin, Connection] = {}
        self.asked: Origin | None = None
        """Who was asked last; a redirect may have led there."""

    def ask(
        self, want: Want, place: Place, first: int, end: int, pause: Callable[[float], bool]
    ) -> Exchange | None:
        """For the bytes from `first` up to and without `end`. Raises what `told` explains.

        `pause` is called with the seconds for which an origin wants to be left alone; None where
        it answers that there is no use in going on.
        """
        hop, linked = place.hop, None
        headers = {"User-Agent": self._terms.user_agent, "Accept-Encoding": "identity"}
        if (first, end) != (0, want.bytes):
            headers["Range"] = f"bytes={first}-{end - 1}"
        while True:
            if not pause(self._terms.gate.wait(hop.origin)):
                return None
            self.asked = hop.origin
            reply = self._to(hop.origin).get(hop, headers)
            asked = Asked(want, place.name, first, end, hop.redirects)
            answer = judge(reply.status, reply.headers, asked, datetime.datetime.now(datetime.UTC))
            linked = linked or tag_of(reply.headers)[0]
            if not isinstance(answer, Redirect):
                return Exchange(asked, answer, hop, linked, reply)
            reply.end(read_whole=False)
            hop = next_hop(hop, answer.location, place.name)

    def abort(self) -> None:
        """From another thread: nothing is waited for any longer."""
        for connection in list(self._connections.values()):
            connection.abort()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def _to(self, origin: Origin) -> Connection:
        connection = self._connections.get(origin)
        if connection is None:
            connection = self._connections[origin] = Connection(
                origin,
                context=self._terms.context,
                stall=self._terms.stall,
                environment=self._terms.environment,
            )
        return connection


def told(error: Exception, place: Place, stall: float) -> Later | Refusal:
    """What an exception of `Line.ask` or `Reply.read` means.

    Never with its own text, in which a signed address may stand.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal(
            HubError(
                f"the certificate of {place.name} is not trusted",
                why=error.verify_message,
                next_step="If your network has an authority of its own, name it in SSL_CERT_FILE",
            )
        )
    if isinstance(error, HubError):
        return Refusal(error)
    if isinstance(error, ConfigError):
        return Refusal(HubError(error.what, why=error.why, next_step=error.next_step))
    # The standard library's words for what a proxy answers to CONNECT.
    if tunnel := re.match(r"Tunnel connection failed: (\d{3})", str(error)):
        status = int(tunnel[1])
        return (
            Later(f"HTTP {status} from the proxy")
            if status >= 500
            else Refusal(proxy_refusal(status))
        )
    if isinstance(error, http.client.InvalidURL):
        return Refusal(HubError(f"the address of {place.name} is malformed"))
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (socket.gaierror, "the host's name cannot be found"),
        (TimeoutError, f"no byte came for {stall:g} s"),
        (ConnectionRefusedError, "the connection was refused"),
        (ssl.SSLError, "the encrypted connection failed"),
        (ConnectionError, "the connection was cut"),
        (http.client.HTTPException, "the answer is not proper HTTP"),
    )
    for kind, why in kinds:
        if isinstance(error, kind):
            return Later(why)
    return Later(getattr(error, "strerror", None) or "the network failed")
