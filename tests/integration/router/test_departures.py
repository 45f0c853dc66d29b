"""Clients that leave, and clients that stay and do not read: in every dialect, of every target."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from server.catalogue.cloud import Kind
from server.units import KIB, MIB
from server.web.connection import Connection
from tests.fakes.cloud_running import FakeCloud
from tests.integration.fleets import frozen
from tests.integration.router.gateway import (
    CHAT,
    CLOUDS,
    COMPLETIONS,
    LOCAL,
    MESSAGES,
    PATHS,
    RESPONSES,
    Gateway,
    asked,
    gateway,
)
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

DIALECTS = (CHAT, RESPONSES, MESSAGES)
LAST = {CHAT: b"data: [DONE]", RESPONSES: b"response.completed", MESSAGES: b"message_stop"}
Clouds = dict[Kind, FakeCloud]
SLOW = "#fake long 300\n#fake pace 1"
LARGE = "#fake long 600\n#fake wide 20000"
"""More than what lies between a cloud and a client holds: a stream of some 12 MB."""
LITTLE = 4 * KIB
HELD = 256 * KIB
"""More than the 64 KiB after which a stream waits, and what was being written then: 64 KiB, and the
rest of an event before them."""
MOST = 3000
"""Tokens."""
CROWD = 200
ENDLESS = dict.fromkeys(PATHS, "Tick forever.")
ENDLESS[COMPLETIONS] = (
    "<|im_start|>user\nTick forever.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""What the demo answers as long as it may."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(
    tmp_path_factory: pytest.TempPathFactory, running: Clouds
) -> AsyncIterator[Gateway]:
    """Its kernel holds little for a client, so that what is not read is soon felt."""
    async with gateway(tmp_path_factory.mktemp("gateway"), running, LITTLE) as made:
        yield made


async def ends(cloud: FakeCloud, *wanted: str) -> None:
    """Once the cloud's requests have ended so."""
    await asyncio.to_thread(cloud.wait, lambda seen: [one["end"] for one in seen] == [*wanted])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", CLOUDS)
async def test_who_leaves_ends_the_connection_to_a_cloud(
    there: Gateway, clouds: Clouds, model: str, stream: bool
) -> None:
    cloud = clouds[CLOUDS[model]]
    names = [f"{model}{stream}{number}".replace("/", ".") for number in range(len(DIALECTS))]
    for number, path in enumerate(DIALECTS):
        body = asked(path, model, SLOW, stream, MOST)
        _, writer = await there.send(path, body, name=names[number])
        left = ["left"] * number
        await ends(cloud, *left, "open")
        writer.close()
        await ends(cloud, *left, "left")
    await there.settled()
    for name in names:
        outcome, _, cost = there.booked(name)
        assert outcome == "left"
        assert cost > 0, "it was asked, and has read the prompt"


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_frees_a_slot_of_the_engine(there: Gateway, stream: bool) -> None:
    """It is asked and cannot answer, so that nobody leaves too late."""
    queue = there.member.queue
    names = [f"local{stream}{number}" for number in range(len(PATHS))]
    with frozen(there.member):
        for name, path in zip(names, PATHS, strict=True):
            body = asked(path, LOCAL, ENDLESS[path], stream, MOST)
            _, writer = await there.send(path, body, name=name)
            await until(lambda: queue.running == 1)
            writer.close()
            await until(lambda: queue.running == 0)
    await idle(there)
    await there.settled()
    for name in names:
        outcome, tokens, cost = there.booked(name)
        assert (outcome, tokens, cost) == ("left", 0, 0)


@pytest.mark.parametrize("path", PATHS)
async def test_who_leaves_amid_a_stream_frees_its_slot(there: Gateway, path: str) -> None:
    name = f"amid{PATHS.index(path)}"
    reader, writer = await there.send(
        path, asked(path, LOCAL, ENDLESS[path], True, MOST), name=name
    )
    assert await reader.read(1)
    with frozen(there.member):
        assert there.member.queue.running == 1
        writer.close()
        await until(lambda: there.member.queue.running == 0)
    await idle(there)
    await there.settled()
    assert there.booked(name)[0] == "left"


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("model", CLOUDS)
async def test_a_cloud_waits_for_a_client_that_does_not_read(
    there: Gateway, clouds: Clouds, model: str, path: str
) -> None:
    """And is let go of once the client has read nothing for the limit."""
    cloud = clouds[CLOUDS[model]]
    name = f"unread{model}{DIALECTS.index(path)}".replace("/", ".")
    _, writer = await there.send(path, asked(path, model, LARGE, True, 64_000), LITTLE, name)
    connection = await held(there)
    await ends(cloud, "open")
    await cut(connection)
    await ends(cloud, "left")
    writer.close()
    await there.settled()
    outcome, _, cost = there.booked(name)
    assert outcome == "left"
    assert cost > 0


@pytest.mark.parametrize(
    ("model", "path"), [*zip(CLOUDS, (RESPONSES, CHAT, MESSAGES), strict=True)]
)
async def test_who_reads_late_has_the_whole_answer(
    there: Gateway, clouds: Clouds, model: str, path: str
) -> None:
    name = f"late{DIALECTS.index(path)}"
    reader, writer = await there.send(path, asked(path, model, LARGE, True, 64_000), name=name)
    widen(await held(there))
    heard = await whole(reader)
    writer.close()
    assert LAST[path] in heard
    await ends(clouds[CLOUDS[model]], "answered")
    await there.settled()
    assert there.booked(name)[:2] == ("answered", 600)


@pytest.mark.parametrize("path", PATHS)
async def test_an_engine_is_let_go_of_where_nobody_reads(there: Gateway, path: str) -> None:
    name = f"unread{PATHS.index(path)}"
    _, writer = await there.send(path, asked(path, LOCAL, ENDLESS[path], True, MOST), LITTLE, name)
    await cut(await held(there))
    await until(lambda: there.member.queue.running == 0)
    writer.close()
    await idle(there)
    await there.settled()
    assert there.booked(name)[0] == "left"


async def test_two_hundred_streams_at_once_are_each_whole(there: Gateway, clouds: Clouds) -> None:
    """In every dialect, of every cloud, each a little slow, so that all are open together."""
    ways = [(path, model) for path in DIALECTS for model in CLOUDS]
    text = "#fake long 20\n#fake pace 0.02"

    async def one(number: int) -> None:
        path, model = ways[number % len(ways)]
        body = asked(path, model, text, True, MOST)
        reader, writer = await there.send(path, body, name=f"crowd{number}")
        heard = await whole(reader)
        writer.close()
        assert LAST[path] in heard

    await asyncio.gather(*(one(number) for number in range(CROWD)))
    assert sum(len(cloud.requests()) for cloud in {*clouds.values()}) == CROWD
    await there.settled()
    for number in range(CROWD):
        assert there.booked(f"crowd{number}")[:2] == ("answered", 20)


async def held(there: Gateway) -> Connection:
    """The one connection whose client has no more room, and for which little is held here."""
    await until(lambda: there.held)
    (connection,) = there.held
    assert connection.transport.get_write_buffer_size() < HELD
    return connection


async def cut(connection: Connection) -> None:
    """Look until it is: between two looks the kernel may have taken a little."""

    def looked() -> bool:
        connection.look()
        return connection.transport.is_closing()

    await until(looked)


def widen(connection: Connection) -> None:
    """Have the kernel hold much for its client, so that the rest goes quickly."""
    own = connection.transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)


async def whole(reader: asyncio.StreamReader) -> bytes:
    heard = []
    while piece := await reader.read(MIB):
        heard.append(piece)
    return b"".join(heard)


async def idle(there: Gateway) -> None:
    """Once the engine itself computes for nobody any more."""
    async with asyncio.timeout(60):
        while True:
            async with there.member.engine.session.get("/slots") as answer:
                if not any(slot["is_processing"] for slot in await answer.json()):
                    return
            await asyncio.sleep(0.01)
