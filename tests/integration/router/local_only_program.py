"""Every way on which a request could leave, walked by one that may not; a process of its own.

    local_only_program.py FOLDER PROGRAM URL private|open

PROGRAM is llama-server, URL a cloud of kind `openai`. Before anything else an audit hook is put in
place, which sees every connection that this process asks the kernel for, and every name that it
looks up. Prints one line of JSON: what was seen, and how each request ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

SEEN: list[str] = []


def _spy(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple):  # a UNIX socket's is a path
            SEEN.append(f"{event} {address[0]}:{address[1]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        SEEN.append(f"{event} {arguments[0]}")


sys.addaudithook(_spy)

from server.catalogue.router import Limits  # noqa: E402
from server.engines.lifecycle import State  # noqa: E402
from server.engines.member import Member  # noqa: E402
from server.errors import EngineError  # noqa: E402
from server.ledger.account import Account, Party  # noqa: E402
from server.routing.attempt import Patience  # noqa: E402
from tests.integration.fleets import Harbour, berth  # noqa: E402
from tests.integration.router.vectors import embed, embedding_job  # noqa: E402
from tests.integration.router.world import (  # noqa: E402
    ROUTER,
    Told,
    World,
    at_cloud,
    at_engine,
    cloud_model,
    world,
)
from tests.waiting import until  # noqa: E402

CLOUD = at_cloud(cloud_model("cloud"))
VECTORS = at_cloud(cloud_model("cloud", "vectors", embeddings=True))
SHADOWS = Account((Party("shadow", "try", Limits()), Party("all", "", Limits())))


async def ways(there: World, warm: Member, cold: Member, private: bool) -> dict[str, Told]:
    """How a request ended on each way."""
    engine = at_engine(warm)
    ended: dict[str, Told] = {}

    async def walk(name: str, attempts: list[Any], **decision: Any) -> None:
        job = there.job(attempts, "Hello", local_only=private, **decision)
        if "shadow" in decision:
            job = replace(job, shadow_account=SHADOWS)
        ended[name] = await there.ask(job)

    async def embeds(name: str, attempts: list[Any], **decision: Any) -> None:
        job = embedding_job(there, attempts, local_only=private, **decision)
        ended[name] = await embed(there, job)

    await walk("plain", [engine])
    await embeds("vectors", [engine])
    await embeds("vectors decided wrongly", [VECTORS])
    await walk("decided wrongly", [CLOUD])
    await walk("shadow", [engine], shadow=CLOUD)
    await walk("bridge", [CLOUD, engine], load=at_engine(cold))
    await until(lambda: cold.engine.state is State.READY)
    await hung(warm, lambda: walk("hedge", [engine, CLOUD], hedge_after=0.1))
    await hung(warm, lambda: walk("fallback", [engine, CLOUD]))
    warm.queue.close(EngineError("it is being mended"))
    await embeds("vectors fallback", [engine, VECTORS])
    warm.queue.open()
    return ended


async def hung(member: Member, walk: Callable[[], Awaitable[None]]) -> None:
    """With an engine that does nothing; afterwards it is another one, and ready."""
    await until(lambda: member.ready)
    pid = member.engine.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await walk()
    with contextlib.suppress(ProcessLookupError):  # it is being replaced already
        os.kill(pid, signal.SIGKILL)
    await until(lambda: member.ready and member.engine.status().pid not in (pid, None))


async def main(folder: Path, program: Path, url: str, private: bool) -> dict[str, Any]:
    harbour = Harbour(program, folder)
    router = replace(ROUTER, retries=2)
    async with harbour.fleet(berth("warm", 3, embeddings=True), berth("cold", 3)) as fleet:
        warm, cold = fleet.get("warm"), fleet.get("cold")
        await fleet.load("warm")
        patience = Patience(20, 20, first_token=1.0, token=1.0)
        async with world(folder, urls={"cloud": url}, router=router, patience=patience) as there:
            ended = await ways(there, warm, cold, private)
            await there.dispatch.close()
    return {
        "seen": SEEN,
        "ended": {name: [told.ending, told.candidate] for name, told in ended.items()},
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    found = asyncio.run(
        main(Path(arguments[0]), Path(arguments[1]), arguments[2], arguments[3] == "private")
    )
    print(json.dumps(found))
