"""What web pages may do: the CORS protocol of https://fetch.spec.whatwg.org/#http-cors-protocol.

Before a page's browser sends JSON or a key to another origin it asks, without the key, whether it
may (a preflight); and of any answer it shows the page nothing unless the answer says so. Which
pages may, `auth.py` knows. What a browser sends of its own, cookies and passwords, is never let in:
no answer has Access-Control-Allow-Credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Header = tuple[bytes, bytes]

_REMEMBERED = b"7200"  # seconds for which a browser need not ask again; Chromium takes no more


def shared(origin: bytes) -> tuple[Header, ...]:
    """For every answer to a page of `origin` that may read it, headers such as `x-request-id` and
    `retry-after` included."""
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )


def preflight(headers: Mapping[bytes, bytes], methods: Iterable[str]) -> tuple[Header, ...]:
    """Beside those of `shared`, for the answer to an OPTIONS request of a page that may ask for a
    path with `methods`."""
    told = [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-max-age", _REMEMBERED),
    ]
    if wanted := headers.get(b"access-control-request-headers"):
        told.append((b"access-control-allow-headers", wanted))
    return tuple(told)
