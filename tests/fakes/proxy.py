"""An HTTP proxy, such as stands between a company and the rest: CONNECT, and plain requests.

`with running_proxy("me:word") as proxy` serves from a thread; `proxy.seen` tells who was asked for,
with which headers.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Proxy:
    address: str
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, target, headers of each request to the proxy."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    credentials: str | None

    def _admitted(self) -> bool:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.proxy.seen.append((self.command, self.path, headers))
        if self.credentials is None:
            return True
        wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        if headers.get("proxy-authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            ends = {self.connection: there, there: self.connection}
            while ready := select.select(list(ends), [], [], 60)[0]:
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    ends[one].sendall(data)

    def do_GET(self) -> None:
        if not self._admitted():
            return
        url = urlsplit(self.path)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "proxy-authorization"}
        there = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        there.request("GET", f"{url.path}?{url.query}" if url.query else url.path, headers=headers)
        answer = there.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        while data := answer.read(65536):
            self.wfile.write(data)
        there.close()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def running_proxy(credentials: str | None = None) -> Iterator[Proxy]:
    handler = type("Bound", (_Handler,), {"credentials": credentials})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy = Proxy(f"127.0.0.1:{server.server_port}")
    handler.proxy = proxy  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
