"""Replies that do not end, that swell, and that lead elsewhere: from a server of its own."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server.errors import HubError
from server.store.bounded_client import LARGEST_REPLY, bounded_client
from server.store.hub import Hub
from server.units import MIB


@dataclass
class Hostile:
    """A server whose paths say what it does; `seen` has the headers of each request."""

    redirect_to: str = ""
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hostile.seen.append({name.lower(): text for name, text in self.headers.items()})
                if hostile.redirect_to:
                    self.send_response(302)
                    self.send_header("Location", hostile.redirect_to + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                if "zipped" in self.path:
                    body = gzip.compress(b" " * MIB)
                    self.send_header("Content-Encoding", "gzip")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                elif "endless" in self.path:
                    self.end_headers()
                    try:
                        while True:
                            self.wfile.write(b" " * MIB)
                    except OSError:
                        return
                else:
                    body = json.dumps({"id": "a/b", "sha": "f" * 40, "siblings": []}).encode()
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def serving(hostile: Hostile) -> Iterator[Hostile]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), hostile.handler())
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hostile.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hostile
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def target() -> Iterator[Hostile]:
    yield from serving(Hostile())


@pytest.fixture
def redirecting(target: Hostile) -> Iterator[Hostile]:
    yield from serving(Hostile(target.url))


def test_an_endless_reply_is_given_up(target: Hostile) -> None:
    with bounded_client() as client, pytest.raises(HubError, match=r"more than 64\.0 MiB"):
        client.get(f"{target.url}/endless")
    assert LARGEST_REPLY == 64 * MIB


def test_a_compressed_reply_is_not_unpacked(target: Hostile) -> None:
    with bounded_client() as client, pytest.raises(HubError, match="compressed"):
        client.get(f"{target.url}/zipped")
    assert target.seen[0]["accept-encoding"] == "identity"


def test_an_endless_listing_is_given_up_too(target: Hostile) -> None:
    with pytest.raises(HubError, match=r"more than 64\.0 MiB"):
        Hub(f"{target.url}/endless", attempts=1).listing("a/b", None)


def test_the_token_does_not_follow_a_redirect(redirecting: Hostile, target: Hostile) -> None:
    with pytest.raises(HubError, match="lists no files"):
        Hub(redirecting.url, "hf_secret", attempts=1).listing("a/b", None)
    assert redirecting.seen[0]["authorization"] == "Bearer hf_secret"
    assert "authorization" not in target.seen[0]
    assert "hf_secret" not in str(target.seen)
