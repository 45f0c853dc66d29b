"""One HTTP connection, kept alive, straight or through a proxy.

The standard library's client, since its body can be read into a buffer of ours: no other copy of
the bytes is made, and every wait gives up the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import time
from collections.abc import Mapping
from typing import cast

from server.errors import ConfigError
from server.store.transfer.hop import Hop, Origin
from server.store.transfer.proxy import proxy_for
from server.units import KIB

CONNECT_TIMEOUT = 10.0
_FILLING = 0.2
"""Seconds for which a read waits for more than it got, so that progress can be seen."""
_DRAINED = 64 * KIB
"""Bytes of a body that nobody wants which are read to keep the connection."""
_DROPPED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


def trusted_certificates(environment: Mapping[str, str]) -> ssl.SSLContext:
    """The system's, or those that the usual variables name (SSL_CERT_FILE is OpenSSL's own).

    Raises ConfigError if a variable names none.
    """
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if named := environment.get(variable):
            folder = os.path.isdir(named)
            try:
                return ssl.create_default_context(
                    cafile=None if folder else named, capath=named if folder else None
                )
            except OSError as error:
                raise ConfigError(
                    f"the certificates that {variable} names cannot be read",
                    problems=(f"{named}: {error.strerror or 'these are no certificates'}",),
                    next_step="Name a file of certificates in PEM form, or unset the variable",
                ) from error
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
        with contextlib.suppress(ImportError):  # a small container has no store of its own
            import certifi

            context.load_verify_locations(certifi.where())
    return context


class Reply:
    """The head of an answer, and its body bit by bit."""

    def __init__(self, connection: Connection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._fault: Exception | None = None
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def read(self, view: memoryview) -> int:
        """Fill `view` as far as bytes come soon; how many; 0: the body is at its end.

        Raises OSError and HTTPException; never while bytes are at hand that came before.
        """
        if self._fault is not None:
            raise self._fault
        source = self._response if self._response.chunked else self._response.fp
        if source is None:
            return 0
        filled = 0
        begun = time.monotonic()
        while filled < len(view):
            # readinto1 makes one call to the system; readinto would wait until all is there.
            try:
                count = source.readinto1(view[filled:])
            except (OSError, http.client.HTTPException) as error:
                if not filled:
                    raise
                self._fault = error
                break
            filled += count
            if count == 0 or time.monotonic() - begun > _FILLING:
                break
        return filled

    def end(self, *, read_whole: bool) -> None:
        """`read_whole`: all of the body was read, and the connection can be used again."""
        if not read_whole:
            length = self._response.length
            if length is None or length > _DRAINED:
                self._connection.close()
                return
            try:
                self._response.read(_DRAINED)
            except (OSError, http.client.HTTPException):
                self._connection.close()
                return
        will_close = self._response.will_close
        self._response.close()
        if will_close:
            self._connection.close()


class Connection:
    """To one origin. Belongs to one thread, but for `abort`."""

    def __init__(
        self,
        origin: Origin,
        *,
        context: ssl.SSLContext,
        stall: float,
        environment: Mapping[str, str],
    ) -> None:
        """`stall`: seconds without a byte after which TimeoutError comes. Raises ConfigError."""
        self._origin = origin
        self._stall = stall
        self._proxy = proxy_for(origin, environment)
        self._http = self._make(context)
        self._socket: socket.socket | None = None

    def _make(self, context: ssl.SSLContext) -> http.client.HTTPConnection:
        origin, proxy = self._origin, self._proxy
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        if origin.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT)
        secure = http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT, context=context)
        if proxy:
            secure.set_tunnel(origin.host, origin.port, dict(proxy.headers))
        return secure

    def get(self, hop: Hop, headers: Mapping[str, str]) -> Reply:
        """Raises OSError (also for a certificate that is not trusted) and HTTPException."""
        target, sent = hop.target, {**headers, **hop.headers}
        if self._proxy and self._origin.scheme == "http":
            target, sent = hop.url.partition("#")[0], {**sent, **self._proxy.headers}
        reused = self._http.sock is not None
        try:
            return self._request(target, sent)
        except _DROPPED:
            self.close()
            if not reused:
                raise
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        # It was closed while it lay idle, which says nothing about the next one.
        return self._request(target, sent)

    def _request(self, target: str, headers: Mapping[str, str]) -> Reply:
        if self._http.sock is None:
            self._http.connect()
            # The client lets go of it where the answer is to be the last one.
            self._socket = sock = cast(socket.socket, self._http.sock)
            sock.settimeout(self._stall)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http.request("GET", target, headers=dict(headers))
        return Reply(self, self._http.getresponse())

    def close(self) -> None:
        self._http.close()

    def abort(self) -> None:
        """From another thread: whoever waits for bytes here gets an OSError or their end."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
