"""What requests leave in memory: nothing. Looked for by counting objects, never by bytes.

A request whose objects refer to each other in a circle stays until Python's collector of garbage
comes by, which in a process that serves is rare (web/endpoint.py), and is as good as a leak then:
a thousand streams left 16 MiB behind each time. So the collector is off here, and what it would
have found is what fails the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from clouds import CONFIG, FEATURES, KEYS
from fleets import Harbour, berth

from server import catalogue, settings
from server.catalogue.cloud import Kind
from server.engines.binary import find_llama_server
from server.ledger.book import Book
from server.ledger.keys import KeyBook
from server.providers.secrets import Keyring
from server.routing.router import Router
from server.routing.targets import Target, Targets
from server.web.anthropic import Anthropic
from server.web.app import App, Routes
from server.web.dialect import anthropic_form
from server.web.inference import Bounds, Inference
from server.web.openai import OpenAI
from tests.fakes.cloud_running import FakeCloud
from tests.waiting import until

pytestmark = pytest.mark.integration

LOCAL = "demo"
CLOUDS = ("openai/gpt-5", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash")
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
PATHS = (CHAT, "/v1/completions", RESPONSES, MESSAGES)
OURS = ("server.", "aiohttp.", "_asyncio.Task", "coroutine", "async_gen")
AGAIN = 2


class Gateway:
    """The web's application on a router of its own, asked over ASGI."""

    def __init__(self, app: App, book: Book) -> None:
        self.book = book
        self._app = app

    async def ask(self, path: str, body: bytes, leave: bool = False) -> bytes:
        """The answer; `leave`: of a stream its first piece, and nothing of a whole one."""
        heard: list[bytes] = []
        gone = asyncio.Event()
        if leave and b'"stream":false' in body:
            gone.set()
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> MutableMapping[str, Any]:
            if incoming:
                return incoming.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                heard.append(message["body"])
                if leave or not message.get("more_body"):
                    gone.set()

        scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": ("k", 1)}
        await self._app(scope, receive, send)
        return b"".join(heard)


@pytest.fixture
async def gateway(tmp_path: Path, clouds: dict[Kind, FakeCloud]) -> AsyncIterator[Gateway]:
    urls = {kind: cloud.url for kind, cloud in clouds.items()}
    overlay = tmp_path / "clouds.toml"
    overlay.write_text("[router]\nretries = 0\n" + CONFIG.format(features=FEATURES, **urls))
    own = settings.load(os.environ | KEYS, home=tmp_path / "home", configs=(overlay,))
    loaded = catalogue.load(own)
    program = find_llama_server(settings.load(os.environ)).path
    book = Book(tmp_path / "book.db")
    await book.start()
    router = Router(loaded, book, Keyring(KEYS), lambda entry: None, lambda provider, size: None)
    inference = Inference(router, Bounds(1 << 20), lambda code: None)
    openai = OpenAI(inference, Targets(loaded), router)
    anthropic = Anthropic(inference, router)
    guarded = {
        CHAT: openai.chat_completions,
        "/v1/completions": openai.completions,
        RESPONSES: openai.responses,
        MESSAGES: anthropic.messages,
    }
    routes = Routes(
        open={},
        guarded={path: {"POST": handler} for path, handler in guarded.items()},
        forms={MESSAGES: anthropic_form},
    )
    async with Harbour(program, tmp_path).fleet(berth(LOCAL, 3)) as fleet:
        await fleet.load(LOCAL)
        (member,) = fleet.members.values()
        model, build = loaded.resolve(member.name)
        assert build is not None
        router.serve([Target(model, build, member, sees=False, created=0)])
        yield Gateway(App(KeyBook(tmp_path / "keys.json"), routes), book)
    await router.close()
    await book.close()


def body(path: str, model: str, text: str, stream: bool) -> bytes:
    asked: dict[str, Any] = {"model": model, "stream": stream}
    messages = [{"role": "user", "content": text}]
    match path:
        case "/v1/responses":
            asked |= {"input": text, "max_output_tokens": 8, "store": False}
        case "/v1/completions":
            asked |= {"prompt": text, "max_tokens": 8}
        case _:
            asked |= {"messages": messages, "max_tokens": 8}
    return orjson.dumps(asked)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """The collector of garbage does not run; what it would have found within the block fails."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(names(gc.garbage))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found


def names(objects: list[Any]) -> Iterator[str]:
    """The types of those that are ours, or stand for a connection, a task or a call of ours."""
    for one in objects:
        name = str(type(one)).removeprefix("<class '").removesuffix("'>")
        if name.startswith(OURS):
            yield name


def living() -> Counter[str]:
    return Counter(names(gc.get_objects()))


async def settled(gateway: Gateway) -> None:
    """What the book waits for is written, and what the ends of requests began is over."""
    await until(lambda: not gateway.book.health.waiting)
    tasks = len(asyncio.all_tasks())
    while True:
        await asyncio.sleep(0.01)
        if len(asyncio.all_tasks()) >= tasks:
            return
        tasks = len(asyncio.all_tasks())


ANSWERED, LEFT = ("Hello", False), ("#fake long 500\n#fake pace 0.02", True)
CUT = ("#fake long 9\n#fake fault cut at=mid-stream", False)
REFUSED, DOWN = ("#fake fault 400", False), ("#fake fault 500 times=9", False)


@pytest.mark.parametrize("model", [LOCAL, *CLOUDS])
async def test_no_request_leaves_anything_behind(gateway: Gateway, model: str) -> None:
    """Whether it is answered, left, refused, fails, or breaks off."""
    asked = [
        (path, body(path, model, text, stream), leave)
        for path in PATHS
        if model == LOCAL or path != "/v1/completions"
        for stream in (True, False)
        for text, leave in (ANSWERED, LEFT, CUT, *((REFUSED, DOWN) if path == CHAT else ()))
    ]
    asked.append((CHAT, b'{"model": "demo"', False))
    asked.append((CHAT, body(CHAT, "nobody", "Hello", True), False))

    async def all_of_them() -> None:
        for path, content, leave in asked:
            await gateway.ask(path, content, leave)
        await settled(gateway)

    await all_of_them()  # pools and tables fill
    before = living()
    with uncollected():
        for _ in range(AGAIN):
            await all_of_them()
    grown = living() - before
    assert {name: count for name, count in grown.items() if count >= AGAIN} == {}
