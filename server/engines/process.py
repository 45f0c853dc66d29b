"""One engine's processes: started, watched, ended, all of them.

The engine runs below a guard (see guard.py) in a session of its own, so a Ctrl-C in the terminal
reaches Holdfast alone, and its process group is the engine's only. Any thread may spawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from server.engines.log import EngineLog
from server.errors import EngineError

_GUARD = Path(__file__).with_name("guard.py")
_ASK_AGAIN = 0.4  # seconds
_LOG_DELAY = 1.0  # seconds that the last lines may take after the last process is gone


class EngineProcess:
    """A running engine. Made by `spawn`."""

    def __init__(
        self, guard: subprocess.Popen[bytes], pid: int, control: asyncio.StreamWriter
    ) -> None:
        self.pid = pid
        """Of the engine's first process, which leads the process group."""
        self.status: int | None = None
        """Exit status, negative for a signal, as in `subprocess`; None while anything runs."""
        self._guard = guard
        self._control = control
        self._killed = False
        self._over = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def wait(self) -> int:
        """The exit status, once nothing of the engine is left."""
        await self._over.wait()
        assert self.status is not None
        return self.status

    def terminate(self) -> None:
        """Ask the engine to end (SIGTERM to its group)."""
        if not self._killed and not self._control.is_closing():
            self._control.write(b"T")

    def kill(self) -> None:
        """End everything that the engine started, at once (SIGKILL)."""
        if not self._killed and not self._control.is_closing():
            self._control.write_eof()
        self._killed = True

    async def stop(self, grace: float) -> int:
        """End the engine, politely for `grace` seconds. Returns the exit status.

        It is asked more than once: llama-server loses a SIGTERM that comes just as it gets ready.
        """
        deadline = time.monotonic() + grace
        while (left := deadline - time.monotonic()) > 0:
            self.terminate()
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self.wait(), min(left, _ASK_AGAIN))
        self.kill()
        return await self.wait()

    def pids(self) -> tuple[int, ...]:
        """The engine's processes, the first of them first; empty when it is gone.

        All that it started are below the guard, those too that have left its session.
        """
        return tuple(pid for pid in _family(self._guard.pid) if pid != self._guard.pid)

    def rss(self) -> int:
        """Bytes of RAM that its processes have resident; 0 when it is gone.

        What two of them share counts for both.
        """
        return sum(_resident(pid) for pid in self.pids())

    def first_rss(self) -> int:
        """Bytes of RAM that its first process has resident: cheaper, as none is looked for."""
        return _resident(self.pid)

    async def _follow(
        self, control: asyncio.StreamReader, logged: asyncio.Future[None], log: EngineLog
    ) -> None:
        status = None
        with contextlib.suppress(ConnectionError):
            while line := await control.readline():
                word, _, value = line.decode().strip().partition(" ")
                if word == "exit":
                    status = int(value)
        self._control.close()
        if status is None:  # the guard was killed, and the engine with it by the kernel
            status = -signal.SIGKILL
            _kill_session(self._guard.pid)
        await asyncio.to_thread(self._guard.wait)  # it has said all, and is about to end
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(logged, _LOG_DELAY)
        log.end()
        self.status = status
        self._over.set()


async def spawn(
    argv: Sequence[str], environment: Mapping[str, str], log: EngineLog
) -> EngineProcess:
    """Start `argv` with exactly `environment`, its output going to `log`.

    Raises EngineError if the program cannot be executed.
    """
    guard, ours = _start_guard(argv, environment)
    loop = asyncio.get_running_loop()
    logged = loop.create_future()
    await loop.connect_read_pipe(lambda: _LogPipe(log, logged), guard.stdout)
    reader, writer = await asyncio.open_connection(sock=ours)
    word, _, value = (await reader.readline()).decode().strip().partition(" ")
    if word != "pid":
        writer.close()
        await asyncio.to_thread(guard.wait)
        await asyncio.wait([logged], timeout=_LOG_DELAY)
        log.end()
        raise EngineError(
            f"{argv[0]} could not be started",
            why=value or "\n".join(log.tail(3)) or "its guard process ended",
            next_step="Run holdfast doctor to see which engines are usable",
        )
    process = EngineProcess(guard, int(value), writer)
    process._following = asyncio.create_task(process._follow(reader, logged, log))
    return process


def _start_guard(
    argv: Sequence[str], environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The guard of a new engine, and our end of the socket that is shared with it."""
    ours, theirs = socket.socketpair()
    try:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(theirs.fileno()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=dict(environment),
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise EngineError(
            f"no process could be started for {argv[0]}",
            why=error.strerror or str(error),
            next_step="Look at the limits of processes and memory (ulimit -a)",
        ) from error
    finally:
        theirs.close()
    return guard, ours


class _LogPipe(asyncio.Protocol):
    def __init__(self, log: EngineLog, logged: asyncio.Future[None]) -> None:
        self._log = log
        self._logged = logged

    def data_received(self, data: bytes) -> None:
        self._log.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._logged.done():
            self._logged.set_result(None)


def _family(pid: int) -> Iterator[int]:
    """`pid` and its descendants, as far as they live; Linux tells a process's children itself."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return
    if not lists:
        return
    yield pid
    for child in " ".join(lists).split():
        yield from _family(int(child))


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _kill_session(session: int) -> None:
    """Kill what is left of a dead guard's session; its number is free only when that is empty."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.pid != session:
                process.kill()
