"""Who may ask: the one authenticator, whatever header carries the key.

It is called by each route that needs it, with the headers only: never decided by a path match, so
no oddly written path or Host can slip past.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from server.errors import Forbidden, Unauthorized
from server.ledger.keys import Key, KeyBook
from server.record import record

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@record()
class Client:
    """Whom a request is done for. `id` is a key's id, or the peer's address where none is needed:
    what queues share out slots by."""

    id: str
    key: Key | None = None


def authenticate(
    book: KeyBook, headers: dict[bytes, bytes], peer: str, *, basic: bool = False
) -> Client:
    """The client that `headers` prove, from `Authorization: Bearer` or `x-api-key`.

    With `basic`, the password of `Authorization: Basic` may be the key as well: llama.cpp takes no
    token but Hugging Face's own, and can send a key only as `http://any:KEY@host/`. It is for
    reading alone: a browser adds it unasked, to the request of any page.

    Where there never was a key everything is open, but only to programs: a web page that a browser
    on this machine shows is refused, since it could otherwise use the server behind its user's
    back (by DNS rebinding, as in CVE-2024-28224, or by a plain cross-site POST).

    Raises Unauthorized or Forbidden.
    """
    presented = _presented(headers, basic)
    key = None if presented is None else book.authenticate(presented)
    if key is not None:
        return Client(key.id, key)
    if not book.required():
        _refuse_web_pages(headers)
        return Client(peer)
    if book.gone:
        raise Unauthorized(
            "nobody is let in, since the file with this server's API keys is gone",
            next_step="Restore it from a backup, or create keys anew: holdfast keys create NAME",
        )
    if presented is None:
        raise Unauthorized(
            "no API key was sent",
            next_step="Send Authorization: Bearer <key>; `holdfast keys create NAME` makes one",
        )
    raise Unauthorized(
        "the API key is not known here, or was revoked",
        next_step="`holdfast keys list` shows the live ones",
    )


def may_read(book: KeyBook, headers: dict[bytes, bytes]) -> bool:
    """Whether the web page that asks may see the answer: any page as soon as a key exists, which
    it has to send; before that, those of this machine alone."""
    try:
        if not book.required():
            _refuse_web_pages(headers)
    except Forbidden:
        return False
    return True


def _presented(headers: dict[bytes, bytes], basic: bool) -> str | None:
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if basic and scheme.lower() == b"basic" and b"x-api-key" not in headers:
            return _password(token.strip())
        if scheme.lower() == b"bearer":
            return token.strip().decode("latin-1") or None
    # Another scheme is meant for a proxy on the way.
    key = headers.get(b"x-api-key")
    return key.decode("latin-1") if key else None


def _password(credentials: bytes) -> str | None:
    try:
        decoded = base64.b64decode(credentials, validate=True)
    except binascii.Error:
        return None
    return decoded.partition(b":")[2].decode("latin-1") or None


def _refuse_web_pages(headers: dict[bytes, bytes]) -> None:
    origin = headers.get(b"origin")
    if origin is not None and _host(origin) not in _LOOPBACK:
        raise Forbidden(
            f"requests from web pages of {origin.decode('latin-1')} are refused",
            why="no API key exists, so any page in a browser here could use this server",
            next_step="Create a key (holdfast keys create NAME) and let the page send it",
        )
    host = headers.get(b"host", b"localhost")
    if _host(b"//" + host) not in _LOOPBACK:
        raise Forbidden(
            f"the Host {host.decode('latin-1')!r} is not this machine's own",
            why="no API key exists, so only localhost is answered",
            next_step="Use http://127.0.0.1 or localhost, or create a key",
        )


def _host(url: bytes) -> str | None:
    try:
        return urlsplit(url.decode("latin-1")).hostname
    except ValueError:
        return None
