"""One step of a chain of redirects: pure.

The headers of a source (its token) belong to the scheme, host and port that they were given for.
A redirect to another one loses them for good, even where a later one leads back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from server.errors import HubError

MOST_REDIRECTS = 5
_LONGEST_URL = 16 * 1024
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Hop:
    url: str = field(repr=False)
    """A signed one is as good as a token: it is not for logs or messages."""
    headers: Mapping[str, str] = field(repr=False)
    origin: Origin
    redirects: int = 0
    """That led here."""

    @property
    def target(self) -> str:
        """Path and query, for the request line."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def first_hop(url: str, headers: Mapping[str, str], name: str) -> Hop:
    """Raises HubError if `url`, of the source `name`, cannot be fetched from."""
    return Hop(url, dict(headers), _origin(url, f"the address of {name}"))


def next_hop(hop: Hop, location: str, name: str) -> Hop:
    """Where `location`, the header of a redirect, leads. Raises HubError."""
    if hop.redirects >= MOST_REDIRECTS:
        raise HubError(f"{name} redirects more than {MOST_REDIRECTS} times")
    try:
        url = urljoin(hop.url, location)
    except ValueError as error:
        raise HubError(f"{name} redirects to something that is no address") from error
    origin = _origin(url, f"the address to which {name} redirects")
    if hop.origin.scheme == "https" and origin.scheme != "https":
        raise HubError(
            f"{name} redirects from https to http",
            why="what comes that way could be read and changed on its way",
        )
    return Hop(url, hop.headers if origin == hop.origin else {}, origin, hop.redirects + 1)


def _origin(url: str, what: str) -> Origin:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise HubError(f"{what} is malformed") from error
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise HubError(f"{what} is malformed", why="it is too long, or has forbidden characters")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise HubError(f"{what} is not one of http or https")
    if parts.username is not None or parts.password is not None:
        raise HubError(f"{what} has a user name or password in it")
    return Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
