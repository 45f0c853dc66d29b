"""One life of an engine: a process, the connections to it, and what it has said so far."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from typing import Final

import aiohttp

from server.engines import sleeping
from server.engines.client import KEEP_ALIVE, EngineClient
from server.engines.log import EngineLog
from server.engines.process import EngineProcess, spawn
from server.engines.program import Buffer, Program, Reserved, Stage, Work
from server.engines.taking import taken
from server.errors import EngineError, EngineUnready
from server.units import format_duration

_POLL: Final = 0.1  # seconds between looks at a loading engine; its log ends the wait earlier
_HEALTH: Final = aiohttp.ClientTimeout(total=5)
_SOCKET_PATH_LIMIT: Final = 107  # sizeof(sockaddr_un.sun_path) - 1 on Linux; unix(7)


class Incarnation:
    """A launched engine. Made by `launch`; `end` must be awaited, whatever became of it."""

    def __init__(
        self, process: EngineProcess, log: EngineLog, program: Program, weights: int
    ) -> None:
        self.process = process
        self.progress = 0.0
        """Of loading, 0 to 1."""
        self.stage: str | None = None
        self.buffers: list[Buffer] = []
        self.was_ready = False
        self.exited = asyncio.create_task(process.wait())
        """Done, with the exit status, when nothing of the engine is left."""
        # No limit and no timeouts: slots bound what runs, and who asks decides how long it waits.
        self.client = EngineClient(program.socket)
        """For what clients ask."""
        self.session = aiohttp.ClientSession(
            "http://engine",
            connector=aiohttp.UnixConnector(
                str(program.socket), limit=0, keepalive_timeout=KEEP_ALIVE
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        )
        """For all else."""
        self._program = program
        self._weights = weights
        self._log = log
        self._reader = program.reader()
        self._sample: sleeping.Sample = ()
        self._spoke = time.monotonic()
        self._heard = asyncio.Event()
        log.on_line = self._hear

    async def answer(self, patience: float) -> None:
        """Return when the engine answers its health check; then its log becomes discreet.

        One that can sleep answers a fixed request first. Raises EngineUnready when for `patience`
        seconds it neither said a word nor read on, and EngineError when that request fails.
        """
        while not await self._healthy():
            self._look()
            if time.monotonic() - self._spoke > patience:
                raise EngineUnready(
                    "the engine is stuck",
                    why=f"it made no progress in loading for {format_duration(patience)}",
                    next_step="Raise load_timeout under [serve] if its disk is that slow",
                )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), _POLL)
            self._heard.clear()
        if self._program.sleep is not None:
            self._sample = await sleeping.sample(self.session, self._program.sleep)
        self.was_ready = True
        self.progress = 1.0
        self._log.on_line = None
        self._log.edit = self._program.discreet

    async def doze(self) -> None:
        """Put it to sleep. Raises EngineError if it cannot, refuses or breaks."""
        if self._program.sleep is None:
            raise EngineError(f"{self._program.engine} cannot sleep here")
        await sleeping.doze(self.session, self._program.sleep)

    async def rouse(self) -> None:
        """Wake it. Raises EngineError if it does not, or is no longer what it was."""
        assert self._program.sleep is not None
        await sleeping.rouse(self.session, self._program.sleep, self._sample)

    async def work(self) -> Work | None:
        """What it has computed since it started; None if it does not say."""
        try:
            path = self._program.metrics_path
            async with self.session.get(path, timeout=_HEALTH) as response:
                return self._program.work(await response.text()) if response.ok else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def taken(self) -> Reserved:
        """What it holds of the machine, by device and component."""
        pids = self.process.pids()
        return await asyncio.to_thread(taken, self._reader, pids, self._program.gpus)

    async def listens(self) -> bool:
        """Whether it accepts connections; one that is shutting down refuses them."""
        try:
            _, writer = await asyncio.open_unix_connection(self._program.socket)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # it is there, and has no room for one more
            return True
        writer.close()
        return True

    async def disconnect(self) -> None:
        """End all connections to it, and what is read from them."""
        self.client.close()
        await self.session.close()

    async def end(self) -> int:
        """The exit status; kills what still runs."""
        self.process.kill()
        status = await self.exited
        self._log.on_line = None
        await self.disconnect()
        with contextlib.suppress(OSError):
            self._program.socket.unlink(missing_ok=True)
        return status

    async def _healthy(self) -> bool:
        try:
            async with self.session.get(self._program.health_path, timeout=_HEALTH) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def _look(self) -> None:
        progress = self._reader.progress(self.process.first_rss(), self._weights)
        if progress > self.progress:
            self.progress = progress
            self._spoke = time.monotonic()

    def _hear(self, line: str) -> None:
        self._spoke = time.monotonic()
        event = self._reader.feed(line)
        if isinstance(event, Buffer):
            self.buffers.append(event)
        elif isinstance(event, Stage):
            self.stage = event.name
            if event.name == "ready":
                self._heard.set()


async def launch(
    program: Program, environment: Mapping[str, str], log: EngineLog, weights: int
) -> Incarnation:
    """Start an engine as `program` says; it then loads `weights` bytes.

    Raises EngineError if its socket cannot be had or the program cannot be executed.
    """
    path = os.fsencode(program.socket)
    if len(path) > _SOCKET_PATH_LIMIT:
        raise EngineError(
            f"the socket path {program.socket} is too long",
            why=f"it has {len(path)} bytes, and a UNIX socket's may have {_SOCKET_PATH_LIMIT}",
            next_step="Choose a shorter home with --home or HOLDFAST_HOME",
        )
    try:
        program.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        program.socket.unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(
            f"the engine's socket {program.socket} cannot be made",
            why=error.strerror or str(error),
            next_step="Make its folder writable, or choose another home with --home",
        ) from error
    process = await spawn(program.argv(), environment, log)
    return Incarnation(process, log, program, weights)
