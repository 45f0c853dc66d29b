"""What requests leave in memory: nothing. Looked for by counting objects, never by bytes.

A request whose objects refer to each other in a circle stays until Python's collector of garbage
comes by, which in a process that serves is rare (web/endpoint.py), and is as good as a leak then:
a thousand streams left 16 MiB behind each time. So the collector is off here, and what it would
have found is what fails the test.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.catalogue.cloud import Kind
from tests.fakes.cloud_running import FakeCloud
from tests.integration.router.gateway import CHAT, CLOUDS, COMPLETIONS, LOCAL, PATHS, asked, gateway

pytestmark = pytest.mark.integration

OURS = ("server.", "aiohttp.", "_asyncio.Task", "coroutine", "async_gen")
AGAIN = 2


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


ANSWERED, LEFT = ("Hello", False), ("#fake long 500\n#fake pace 0.02", True)
CUT = ("#fake long 9\n#fake fault cut at=mid-stream", False)
REFUSED, DOWN = ("#fake fault 400", False), ("#fake fault 500 times=9", False)


@pytest.mark.parametrize("model", [LOCAL, *CLOUDS])
async def test_no_request_leaves_anything_behind(
    tmp_path: Path, clouds: dict[Kind, FakeCloud], model: str
) -> None:
    """Whether it is answered, left, refused, fails, or breaks off."""
    requests = [
        (path, asked(path, model, text, stream), leave)
        for path in PATHS
        if model == LOCAL or path != COMPLETIONS
        for stream in (True, False)
        for text, leave in (ANSWERED, LEFT, CUT, *((REFUSED, DOWN) if path == CHAT else ()))
    ]
    requests.append((CHAT, b'{"model": "demo"', False))
    requests.append((CHAT, asked(CHAT, "nobody", "Hello", True), False))
    async with gateway(tmp_path, clouds) as there:

        async def all_of_them() -> None:
            for path, body, leave in requests:
                heard = await there.ask(path, body, leave)
                assert b"incident" not in heard
            await there.settled()

        await all_of_them()  # pools and tables fill
        before = living()
        with uncollected():
            for _ in range(AGAIN):
                await all_of_them()
        grown = living() - before
    assert {name: count for name, count in grown.items() if count >= AGAIN} == {}
