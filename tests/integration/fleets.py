"""A fleet of the tests' own: real llama-servers, the demo model under several names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from server.demo import GGUF
from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.fleet import Fleet
from server.engines.ladder import Footing, step_down
from server.engines.llama_server import Launch
from server.engines.member import Member
from server.engines.slots import SlotQueue
from server.engines.yard import Yard
from server.planning.deployment import Deployment
from server.routing.attempt import Attempt, Patience
from tests.integration.supervised import CONTEXT, QUICK

CHAT = {"prompt": "canary-prompt tell me something", "ignore_eos": True}


def berth(name: str, size: int = 6, **changes: Any) -> Berth:
    """Of `size` made-up bytes of RAM, so that what fits beside what is the test's to say."""
    own = ("gpus", "context", "slots", "embeddings")
    launch = {key: changes.pop(key) for key in own if key in changes}
    wanted: dict[str, Any] = {"gpus": (), "context": CONTEXT, "slots": 2, **launch}
    deployment = Deployment(name, f"{name}:f16", "llama-server", **wanted)
    pools = wanted["gpus"] or ("ram",)
    values: dict[str, Any] = {"needs": dict.fromkeys(pools, size), "least_context": 256} | changes
    return Berth(deployment.build, deployment, **values)


@dataclass
class Harbour:
    """Where the test's fleet gets its engines. By build, `programs` stand for llama-server, and
    `files` for the demo's weights."""

    program: Path
    folder: Path
    programs: dict[str, Path] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    made: list[Engine] = field(default_factory=list)

    def engine(self, deployment: Deployment, queue: SlotQueue) -> Engine:
        launch = Launch(
            binary=self.programs.get(deployment.build, self.program),
            model_file=self.files.get(deployment.build, GGUF),
            alias=deployment.model,
            socket=self.folder / "run" / f"{deployment.model}.sock",
            context=deployment.context,
            slots=deployment.slots,
            threads=1,
            embeddings=deployment.embeddings,
        )
        logs = self.folder / "logs"
        self.made.append(Engine(deployment.build, launch, logs=logs, policy=QUICK, queue=queue))
        return self.made[-1]

    @contextlib.asynccontextmanager
    async def fleet(self, *berths: Berth, ram: int = 10, **yard: Any) -> AsyncIterator[Fleet]:
        """A fleet of `berths` in `ram` bytes that acts until the block ends."""
        pools = {"ram": ram} | {gpu: ram for one in berths for gpu in one.deployment.gpus}
        fleet = Fleet(Yard(self.engine, **yard), pools)
        fleet.apply(berths)
        acting = asyncio.create_task(fleet.run())
        try:
            yield fleet
        finally:
            acting.cancel()
            await fleet.stop_all(0)
            with contextlib.suppress(asyncio.CancelledError):
                await acting


async def ask(member: Member, tokens: int = 4, client: str = "client") -> int:
    """The tokens of an answer, had as requests have it: by a slot of the member's queue, and once
    more where the engine ended before a byte of it."""
    body = CHAT | {"n_predict": tokens}
    patience = Patience(120, 120)
    async with Attempt(
        member, "/completion", body, client=client, slots=1, patience=patience
    ) as attempt:
        return int(orjson.loads(await attempt.whole())["tokens_predicted"])


@contextlib.contextmanager
def frozen(*members: Member) -> Iterator[None]:
    """Their engines compute nothing until the block ends: what they are asked for runs that long,
    however fast this machine is."""
    pids = [pid for member in members if (pid := member.engine.status().pid) is not None]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def fitted(one: Berth, tried: Collection[Deployment]) -> Berth | None:
    """One step down the ladder from where memory was short; None where it ends."""
    footing = Footing(layers=8, experts=False, context=one.least_context, slots=one.least_slots)
    lower = step_down(one.deployment, tried, footing)
    return None if lower is None else replace(one, deployment=lower)


def moved(one: Berth, gpu: str) -> Berth:
    """The same berth on another (made-up) GPU."""
    return replace(
        one,
        deployment=replace(one.deployment, gpus=(gpu,)),
        needs={gpu: sum(one.needs.values())},
    )
