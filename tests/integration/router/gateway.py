"""The web's application on a router of its own, served over real sockets within the test's process:
so that what becomes of connections and of memory can be looked at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import uvicorn

from server import catalogue, settings
from server.catalogue.cloud import Kind
from server.engines.binary import find_llama_server
from server.engines.member import Member
from server.ledger.book import Book
from server.ledger.keys import KeyBook
from server.providers.secrets import Keyring
from server.routing.router import Router
from server.routing.targets import Target, Targets
from server.units import KIB
from server.web.acceptor import Server
from server.web.anthropic import Anthropic
from server.web.app import App, Routes
from server.web.connection import Connection
from server.web.dialect import anthropic_form
from server.web.inference import Bounds, Inference
from server.web.listen import listen
from server.web.openai import OpenAI
from tests.fakes.cloud_running import FakeCloud
from tests.integration.clouds import CONFIG, FEATURES, KEYS
from tests.integration.fleets import Harbour, berth
from tests.waiting import until

LOCAL = "demo"
CLOUDS: dict[str, Kind] = {
    "openai/gpt-5": "openai",
    "anthropic/claude-sonnet-4-5": "anthropic",
    "gemini/gemini-2.5-flash": "gemini",
}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
PATHS = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
CONTEXT = 4096
_HOUR = 3600.0


class Gateway:
    """`member`: the demo of this machine."""

    def __init__(self, server: Server, address: tuple[str, int], book: Book, member: Member):
        self.book = book
        self.member = member
        self._server = server
        self._address = address

    async def ask(self, path: str, body: bytes, leave: bool = False) -> bytes:
        """The answer; `leave`: of a stream its first bytes, and nothing of a whole one."""
        reader, writer = await self.send(path, body)
        heard = b""
        if not leave:
            heard = await reader.read()
        elif b'"stream":true' in body:
            heard = await reader.read(1)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return heard

    async def send(
        self, path: str, body: bytes, room: int | None = None, name: str = "any"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A request on its way, with `name` as its id. `room`: bytes that the client's kernel takes
        of its answer."""
        client = socket.socket()
        if room is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, self._address)
        reader, writer = await asyncio.open_connection(sock=client, limit=16 * KIB)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        head += f"X-Request-Id: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        return reader, writer

    def booked(self, name: str) -> tuple[str, int, int]:
        """How the request of that name ended, which one entry says, and the tokens of answers and
        the nano-USD of all its attempts. Nothing is set aside any more, for whatever request."""
        with contextlib.closing(sqlite3.connect(self.book.path)) as database:
            assert database.execute("SELECT count(*) FROM hold").fetchone() == (0,)
            columns = "outcome, completion_tokens, cost, final"
            entries = database.execute(
                f"SELECT {columns} FROM entry WHERE request_id = ?", (name,)
            ).fetchall()
        (outcome,) = [ended for ended, _, _, final in entries if final]
        return outcome, sum(entry[1] for entry in entries), sum(entry[2] for entry in entries)

    @property
    def connections(self) -> list[Connection]:
        found = list(self._server.server_state.connections)
        return [one for one in found if isinstance(one, Connection)]

    @property
    def held(self) -> list[Connection]:
        """Those to which more was written than their clients have room for."""
        return [one for one in self.connections if one.flow and one.flow.write_paused]

    async def settled(self) -> None:
        """Every client has gone, what the book waits for is written, and what the ends of requests
        began is over."""
        await until(lambda: not self.connections and not self.book.health.waiting)
        tasks = len(asyncio.all_tasks())
        while True:
            await asyncio.sleep(0.01)
            if len(asyncio.all_tasks()) >= tasks:
                return
            tasks = len(asyncio.all_tasks())


def asked(path: str, model: str, text: str, stream: bool, tokens: int = 8) -> bytes:
    """The body of a request, in that path's dialect."""
    body: dict[str, Any] = {"model": model, "stream": stream}
    match path:
        case "/v1/responses":
            body |= {"input": text, "max_output_tokens": tokens, "store": False}
        case "/v1/completions":
            body |= {"prompt": text, "max_tokens": tokens}
        case _:
            messages = [{"role": "user", "content": text}]
            body |= {"messages": messages, "max_tokens": tokens}
    return orjson.dumps(body)


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, clouds: dict[Kind, FakeCloud], room: int | None = None
) -> AsyncIterator[Gateway]:
    """`room`: bytes that its kernel holds for each client."""
    overlay = folder / "clouds.toml"
    urls = {kind: cloud.url for kind, cloud in clouds.items()}
    overlay.write_text("[router]\nretries = 0\n" + CONFIG.format(features=FEATURES, **urls))
    own = settings.load(os.environ | KEYS, home=folder / "home", configs=(overlay,))
    loaded = catalogue.load(own)
    book = Book(folder / "book.db")
    await book.start()
    router = Router(loaded, book, Keyring(KEYS), lambda entry: None, lambda provider, size: None)
    app = App(KeyBook(folder / "keys.json"), _routes(router, Targets(loaded)))
    program = find_llama_server(settings.load(os.environ)).path
    async with Harbour(program, folder).fleet(berth(LOCAL, 3, context=CONTEXT)) as fleet:
        await fleet.load(LOCAL)
        (member,) = fleet.members.values()
        model, build = loaded.resolve(member.name)
        assert build is not None
        router.serve([Target(model, build, member, sees=False, created=0)])
        async with _serving(app, room) as (server, address):
            yield Gateway(server, address, book, member)
    await router.close()
    await book.close()


def _routes(router: Router, targets: Targets) -> Routes:
    inference = Inference(router, Bounds(1 << 20), lambda code: None)
    openai, anthropic = OpenAI(inference, targets, router), Anthropic(inference, router)
    handlers = {
        CHAT: openai.chat_completions,
        COMPLETIONS: openai.completions,
        RESPONSES: openai.responses,
        MESSAGES: anthropic.messages,
    }
    guarded = {path: {"POST": handler} for path, handler in handlers.items()}
    return Routes(open={}, guarded=guarded, forms={MESSAGES: anthropic_form})


@contextlib.asynccontextmanager
async def _serving(app: App, room: int | None) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    """Clients may read nothing for an hour: looks are the test's own."""
    sock = listen("127.0.0.1", 0)
    if room is not None:  # of those that it takes, too
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = Server(config, _HOUR)
    task = asyncio.create_task(server.serve([sock]))
    try:
        yield server, sock.getsockname()
    finally:
        server.should_exit = server.force_exit = True
        await task
