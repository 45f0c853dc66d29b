"""A real HTTP server on a UNIX socket, as the admin socket of a running Holdfast."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

Answer = Callable[[str, str, bytes], tuple[int, bytes]]
"""(method, path, body) -> (status, body), which are server-sent events if they look like it"""


@contextlib.contextmanager
def unix_server(path: Path, answer: Answer) -> Iterator[None]:
    """Answers on the socket at `path` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            status, reply = answer(self.command, self.path, body)
            self.send_response(status)
            events = reply.startswith(b"data: ")
            kind = "text/event-stream" if events else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(reply)))
            with contextlib.suppress(BrokenPipeError):  # who asked has left
                self.end_headers()
                self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    class Server(HTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = "unix", 0

    server = Server(str(path), Handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
