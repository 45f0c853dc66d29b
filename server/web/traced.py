"""One exchange as its trace sees it, where traces are on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from server.errors import HoldfastError, RequestError
from server.routing.headers import local_only
from server.routing.trace import Trace
from server.routing.tracing import Tracer
from server.web.auth import Client
from server.web.exchange import Exchange

_PARENT = ("traceparent", "tracestate")
"""https://www.w3.org/TR/trace-context/. They go on to no engine and to no cloud."""


@contextlib.contextmanager
def traced(tracer: Tracer, exchange: Exchange, client: Client) -> Iterator[None]:
    """Tell `tracer` of the request, however it ends."""
    headers = exchange.headers
    trace = exchange.trace = Trace(
        path=exchange.scope["path"],
        request_id=exchange.request_id.decode(),
        key=client.id,
        parent={
            name: headers[name.encode()].decode("latin-1")
            for name in _PARENT
            if name.encode() in headers
        },
        private=tracer.local_only or _is_private(exchange, client),
    )
    error: HoldfastError | None = None
    left = True
    try:
        yield
        left = False
    except HoldfastError as failure:
        error, left = failure, False
        raise
    finally:
        trace.end(error, left=left, started=exchange.started)
        tracer.finish(trace)


def _is_private(exchange: Exchange, client: Client) -> bool:
    """As far as that is known before the request is read; one who cannot say it is taken to have
    said it."""
    try:
        return (client.key is not None and client.key.local_only) or local_only(exchange.headers)
    except RequestError:
        return True
