"""The application, asked as a server asks it: who is found, who may ask, how errors are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from server.ledger.keys import KeyBook
from server.web.app import App, Branch, Routes
from server.web.auth import Client
from server.web.dialect import anthropic_form
from server.web.exchange import Exchange

LOCAL, ELSEWHERE = "http://localhost:5173", "https://app.example"
WANTED = "authorization,content-type,x-stainless-os"
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": WANTED,
}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


async def echo(exchange: Exchange, client: Client) -> None:
    await exchange.answer_json({"bytes": len(await exchange.body(1000))})


async def below(exchange: Exchange, client: Client, rest: str) -> None:
    await exchange.answer_json({"rest": rest})


async def alive(exchange: Exchange) -> None:
    await exchange.answer_json({})


ROUTES = Routes(
    open={"/livez": {"GET": alive}},
    guarded={CHAT: {"POST": echo}, MESSAGES: {"POST": echo}},
    below={"/v1/models/": Branch({"GET": below})},
    forms={MESSAGES: anthropic_form},
)


@dataclass(frozen=True, slots=True)
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        message: str = orjson.loads(self.body)["error"]["message"]
        return message


class Asking:
    """Requests to an application with the keys of `book`."""

    def __init__(self, book: KeyBook) -> None:
        self.book = book
        self._app = App(book, ROUTES)

    async def __call__(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Told:
        """`headers`: `_` stands for `-`."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        named = {"host": "localhost"} | {k.replace("_", "-"): v for k, v in headers.items()}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(k.encode(), v.encode()) for k, v in named.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        await self._app(scope, receive, send)
        head, *pieces = sent
        told = {name.decode(): value.decode() for name, value in head["headers"]}
        return Told(head["status"], told, b"".join(piece["body"] for piece in pieces))


@pytest.fixture
def ask(tmp_path: Path) -> Asking:
    return Asking(KeyBook(tmp_path / "keys.json"))


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_page_of_this_machine_may_ask_while_no_key_exists(ask: Asking, path: str) -> None:
    told = await ask("OPTIONS", path, origin=LOCAL, **PREFLIGHT)
    assert (told.status, told.body) == (204, b"")
    assert told.headers["access-control-allow-origin"] == LOCAL
    assert told.headers["access-control-allow-methods"] == "POST"
    assert told.headers["access-control-allow-headers"] == WANTED
    answer = await ask("POST", path, b"{}", origin=LOCAL)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == LOCAL
    refused = await ask("GET", path, origin=LOCAL)
    assert refused.status == 405
    assert refused.headers["access-control-allow-origin"] == LOCAL, "it may read errors"


async def test_a_page_from_elsewhere_may_not_while_no_key_exists(ask: Asking) -> None:
    for method, status in (("OPTIONS", 204), ("POST", 403)):
        told = await ask(method, CHAT, origin=ELSEWHERE, **PREFLIGHT)
        assert told.status == status
        assert "access-control-allow-origin" not in told.headers


async def test_any_page_that_has_a_key_may_ask(ask: Asking) -> None:
    _, key = ask.book.create("page")
    told = await ask("OPTIONS", CHAT, origin=ELSEWHERE, **PREFLIGHT)
    assert told.status == 204
    assert told.headers["access-control-allow-origin"] == ELSEWHERE
    for sent, status in ((key, 200), ("wrong", 401)):
        answer = await ask("POST", CHAT, origin=ELSEWHERE, authorization=f"Bearer {sent}")
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ELSEWHERE


async def test_who_is_no_page_is_told_nothing_of_pages(ask: Asking) -> None:
    answer = await ask("POST", CHAT, b"{}")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/livez", "GET, OPTIONS"),
        (CHAT, "POST, OPTIONS"),
        ("/v1/models/x", "GET, OPTIONS"),
        ("/v1/models/", None),
        ("/nothing", None),
    ],
)
async def test_options_tells_the_methods_of_a_path(
    ask: Asking, path: str, methods: str | None
) -> None:
    told = await ask("OPTIONS", path)
    assert told.headers.get("allow") == methods
    assert told.status == (404 if methods is None else 204)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/chat/completions", "base URL that ends in /v1"),
        ("/models/x", "base URL that ends in /v1"),
        ("/v1/v1/messages", "base URL without /v1"),
        ("/v1/v1/nothing", "Inference is below /v1"),
        ("/v1/audio/speech", "Inference is below /v1"),
    ],
)
async def test_a_wrong_base_url_is_told(ask: Asking, path: str, advice: str) -> None:
    told = await ask("POST", path)
    assert told.status == 404
    assert advice in told.error


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/batches", MESSAGES, CHAT])
async def test_anthropics_clients_are_told_errors_in_their_form(ask: Asking, path: str) -> None:
    told = await ask("GET", path, anthropic_version="2023-06-01")
    error = orjson.loads(told.body)
    assert error["type"] == "error"
    assert error["request_id"] == told.headers["x-request-id"]
    told = await ask("GET", path)
    assert ("type" in orjson.loads(told.body)) == (path == MESSAGES)


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
async def test_a_compressed_body_is_refused_by_name(ask: Asking, encoding: str) -> None:
    told = await ask("POST", CHAT, b"\x1f\x8b", content_encoding=encoding)
    assert told.status == 415
    assert encoding in told.error
    assert (await ask("POST", CHAT, b"{}", content_encoding="identity")).status == 200
