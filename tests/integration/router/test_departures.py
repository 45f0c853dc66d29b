"""Clients that leave, and clients that stay and do not read: in every dialect, of every target."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.catalogue.cloud import Kind
from server.units import KIB
from server.web.connection import Connection
from tests.fakes.cloud_running import FakeCloud
from tests.integration.router.gateway import (
    CHAT,
    CLOUDS,
    MESSAGES,
    RESPONSES,
    asked,
    gateway,
)
from tests.waiting import until

pytestmark = pytest.mark.integration

DIALECTS = (CHAT, RESPONSES, MESSAGES)
Clouds = dict[Kind, FakeCloud]
SLOW = "#fake long 300\n#fake pace 1"
LARGE = "#fake long 60000"
"""More than what lies between a cloud and a client holds: a stream of some 10 MB."""
LITTLE = 4 * KIB
MOST = 1000
"""Tokens: minutes, for the demo."""


async def ends(cloud: FakeCloud, *wanted: str) -> None:
    """Once the cloud's requests have ended so."""
    await asyncio.to_thread(cloud.wait, lambda seen: [one["end"] for one in seen] == [*wanted])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", CLOUDS)
async def test_who_leaves_ends_the_connection_to_a_cloud(
    tmp_path: Path, clouds: Clouds, model: str, stream: bool
) -> None:
    cloud = clouds[CLOUDS[model]]
    async with gateway(tmp_path, clouds) as there:
        for number, path in enumerate(DIALECTS):
            _, writer = await there.send(path, asked(path, model, SLOW, stream, MOST))
            left = ["left"] * number
            await ends(cloud, *left, "open")
            writer.close()
            await ends(cloud, *left, "left")
        await there.settled()


async def test_a_cloud_waits_for_a_client_that_does_not_read(
    tmp_path: Path, clouds: Clouds
) -> None:
    """And is let go of once the client has read nothing for the limit."""
    cloud = clouds["openai"]
    async with gateway(tmp_path, clouds) as there:
        body = asked(CHAT, "openai/gpt-5", LARGE, True, 64_000)
        _, writer = await there.send(CHAT, body, room=LITTLE)
        await until(lambda: there.held)
        (connection,) = there.held
        await ends(cloud, "open")
        await cut(connection)
        await ends(cloud, "left")
        writer.close()
        await there.settled()


async def cut(connection: Connection) -> None:
    """Look until it is: between two looks the kernel may have taken a little."""

    def looked() -> bool:
        connection.look()
        return connection.transport.is_closing()

    await until(looked)
