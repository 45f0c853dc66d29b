"""Questions over the admin socket, to a real server on one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import orjson
import pytest

from server.cli import admin
from server.errors import EngineError, EngineUnready


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200, b'{"engines":[]}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/refuse":
            self._answer(404, b'{"error":{"message":"There is no model \\"x\\"."}}')
        elif self.path == "/break":
            self._answer(500, b"no JSON")
        else:
            self._answer(200, body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "unix"


class _UnixServer(HTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "unix", 0


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "admin.sock"
    server = _UnixServer(str(found), _Handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer(path: Path) -> None:
    assert orjson.loads(admin.get(path, "/admin/ps")) == {"engines": []}
    assert orjson.loads(admin.post(path, "/echo", {"model": "x"})) == {"model": "x"}


def test_a_refusal_is_told_in_its_own_words(path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        admin.post(path, "/refuse", {})
    assert caught.value.sentence == 'There is no model "x".'


def test_a_refusal_without_words(path: Path) -> None:
    with pytest.raises(EngineError, match="answered 500"):
        admin.post(path, "/break", {})


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineUnready, match="holdfast serve"):
        admin.get(tmp_path / "admin.sock", "/admin/ps")
