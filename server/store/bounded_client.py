"""An HTTP client for what hubs say about repositories: replies are JSON, and never endless.

Files do not come this way (see `transfer`). Proxies are those of the environment. A redirect to
another origin loses the Authorization header (httpx2 sees to that), and one from https to http is
refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx2

from server.errors import HubError
from server.units import MIB, format_bytes

TIMEOUT = 30.0
"""Seconds without a byte, after which a hub is given up."""
LARGEST_REPLY = 64 * MIB
"""Bytes; the listing of a hundred thousand files."""


def bounded_client() -> httpx2.Client:
    """A client whose replies end with HubError where they grow beyond LARGEST_REPLY."""
    return httpx2.Client(
        event_hooks={"request": [_plain], "response": [_bounded]},
        follow_redirects=True,
        max_redirects=5,
        timeout=TIMEOUT,
    )


def unbounded_client() -> httpx2.Client:
    """One for files, which may be of any size."""
    return httpx2.Client(follow_redirects=True, max_redirects=5, timeout=TIMEOUT)


_in_library: Callable[[], httpx2.Client] | None = None
_lock = threading.Lock()


def put_into_library(factory: Callable[[], httpx2.Client]) -> None:
    """Has huggingface_hub use the clients that `factory` makes, in all threads.

    Only where it does not already: it closes the client that it has, and others may be using it.
    """
    from huggingface_hub import constants, set_client_factory

    global _in_library
    with _lock:
        if _in_library is factory:
            return
        # The library would ask its own idea of the hub, which need not be ours, which programs are
        # agents, to tell the hub by which of them it is used.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        set_client_factory(factory)
        _in_library = factory


def _plain(request: httpx2.Request) -> None:
    # Compressed, a small reply can become a huge one.
    request.headers["Accept-Encoding"] = "identity"


def _bounded(response: httpx2.Response) -> None:
    host = response.request.url.host
    if _is_downgrade(response):
        raise HubError(
            f"{host} redirects from https to http",
            next_step="Check the address of the hub (HF_ENDPOINT)",
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HubError(f"{host} sends a compressed reply that was not asked for")
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Bounded(response.stream, host)


def _is_downgrade(response: httpx2.Response) -> bool:
    if not response.has_redirect_location or response.request.url.scheme != "https":
        return False
    return response.headers["Location"].strip().lower().startswith("http:")


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, host: str) -> None:
        self._stream = stream
        self._host = host

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_REPLY:
                raise HubError(
                    f"{self._host} sends more than {format_bytes(LARGEST_REPLY)} about a repository"
                )
            yield chunk

    def close(self) -> None:
        self._stream.close()
