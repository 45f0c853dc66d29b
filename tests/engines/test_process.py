"""Engine processes, real ones: what they inherit, how they end, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from server.engines.log import EngineLog
from server.engines.process import EngineProcess, spawn
from server.errors import EngineError
from tests.waiting import alive, until, wait_for

# Ignores SIGTERM; has a child in its group, and one that left group and session. Prints their pids.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if (child := os.fork()) == 0:
    time.sleep(1000)
if (stray := os.fork()) == 0:
    os.setsid()
    if os.fork() == 0:
        print("grandchild", os.getpid(), flush=True)
        time.sleep(1000)
    os._exit(0)
os.waitpid(stray, 0)
print("pids", os.getpid(), child, flush=True)
time.sleep(1000)
"""
PYTHON = [sys.executable, "-I", "-S", "-c"]


@pytest.fixture
def log(tmp_path: Path) -> EngineLog:
    return EngineLog(tmp_path / "engine.log")


def pids(lines: tuple[str, ...]) -> list[int]:
    """What STUBBORN printed: itself, its child and its grandchild."""
    return [int(word) for line in lines for word in line.split() if word.isdigit()]


async def stubborn(log: EngineLog) -> tuple[EngineProcess, list[int]]:
    process = await spawn([*PYTHON, STUBBORN], {}, log)
    await until(lambda: len(pids(log.tail())) == 3)
    found = pids(log.tail())
    assert process.pid in found
    assert all(alive(pid) for pid in found)
    return process, found


async def test_memory_is_that_of_all_that_it_started(log: EngineLog) -> None:
    process, found = await stubborn(log)
    assert process.pids()[0] == process.pid
    assert {*found} <= {*process.pids()}
    assert process.rss() > process.first_rss() > 0
    process.kill()
    await process.wait()
    assert process.pids() == ()
    assert (process.rss(), process.first_rss()) == (0, 0)


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", -11), ("kill -KILL $$", -9)],
)
async def test_the_exit_status_is_the_engines(log: EngineLog, command: str, status: int) -> None:
    process = await spawn(["/bin/sh", "-c", command], {}, log)
    assert await process.wait() == process.status == status


async def test_all_output_is_logged(log: EngineLog) -> None:
    script = "echo out; echo err >&2; seq 20000; printf last"
    process = await spawn(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, log)
    await process.wait()
    assert log.tail(2) == ("20000", "last")
    whole = log.path.read_text().splitlines()
    assert whole == ["out", "err", *map(str, range(1, 20001)), "last"]


async def test_what_it_inherits(log: EngineLog) -> None:
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)
    script = """
import os, resource, signal
print(dict(os.environ))
listed = os.listdir("/proc/self/fd")
print(sorted(int(fd) for fd in listed if os.path.exists(f"/proc/self/fd/{fd}")))
print(os.readlink("/proc/self/fd/0"), os.getcwd(), oct(os.umask(0)))
print(resource.getrlimit(resource.RLIMIT_CORE))
print(os.getpgid(0) == os.getpid(), os.getsid(0))
print([signal.getsignal(n) is signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGHUP)])
print(open("/proc/self/oom_score_adj").read())
"""
    try:
        process = await spawn([*PYTHON, script], {"ONLY": "this", "LC_ALL": "C.UTF-8"}, log)
        await process.wait()
    finally:
        os.close(secret)
    environment, descriptors, places, core, group, signals, score = log.tail()[:7]
    assert environment == "{'ONLY': 'this', 'LC_ALL': 'C.UTF-8'}"
    assert descriptors == "[0, 1, 2]"
    assert places == "/dev/null / 0o77"
    assert core == "(0, 0)"
    assert group.startswith("True ")
    assert int(group.split()[1]) != os.getsid(0), "a Ctrl-C in our terminal must not reach it"
    assert signals == "[True, True]"
    assert int(score) > 0


@pytest.mark.parametrize("program", ["/nowhere/llama-server", "/etc/passwd", "/"])
async def test_a_program_that_cannot_be_executed(log: EngineLog, program: str) -> None:
    with pytest.raises(EngineError) as caught:
        await spawn([program, "--flag"], {}, log)
    assert program in caught.value.what
    assert caught.value.why in ("No such file or directory", "Permission denied")


async def test_a_process_that_the_system_refuses(log: EngineLog) -> None:
    with pytest.raises(EngineError, match="Argument list too long"):
        await spawn(["/bin/true", "x" * (4 << 20)], {}, log)


async def test_stop_is_polite_at_first(log: EngineLog) -> None:
    script = 'trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.01; done'
    process = await spawn(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, log)
    await until(lambda: log.tail() == ("up",))
    assert await process.stop(5) == 3
    assert log.tail()[-1] == "bye"


async def test_stop_is_not_polite_for_ever(log: EngineLog) -> None:
    process, found = await stubborn(log)
    began = time.monotonic()
    assert await process.stop(0.3) == -signal.SIGKILL
    assert time.monotonic() - began >= 0.3
    assert not any(alive(pid) for pid in found)
    process.terminate()
    process.kill()
    assert process.rss() == 0


async def test_it_can_be_asked_to_end_in_any_order(log: EngineLog) -> None:
    process = await spawn(["/bin/sleep", "1000"], {}, log)
    process.kill()
    process.kill()
    process.terminate()
    assert await process.stop(5) == -signal.SIGKILL
    assert await process.stop(5) == -signal.SIGKILL


async def test_children_do_not_survive_an_engine_that_ends_by_itself(log: EngineLog) -> None:
    process, found = await stubborn(log)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert not any(alive(pid) for pid in found)


async def test_an_engine_does_not_survive_its_guard(log: EngineLog) -> None:
    process, found = await stubborn(log)
    guard = psutil.Process(process.pid).ppid()
    os.kill(guard, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert not alive(process.pid)
    own_session = found[:-1] if found[0] == process.pid else found[1:]
    assert not any(alive(pid) for pid in own_session)
    for pid in found:  # a grandchild that left session and group, with its guard gone, is the
        if alive(pid):  # one case that only a cgroup would catch
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_guard_ignores_signals_meant_for_holdfast(log: EngineLog, number: int) -> None:
    process = await spawn(["/bin/sleep", "1000"], {}, log)
    guard = psutil.Process(process.pid).ppid()
    os.kill(guard, number)
    await asyncio.sleep(0.1)
    assert alive(process.pid)
    process.kill()
    assert await process.wait() == -signal.SIGKILL


def test_an_engine_survives_the_thread_that_started_it(log: EngineLog) -> None:
    """A bare parent-death signal would kill it: that is bound to the thread (prctl(2))."""
    loop = asyncio.new_event_loop()
    started: list[EngineProcess] = []

    def start() -> None:
        started.append(loop.run_until_complete(spawn(["/bin/sleep", "1000"], {}, log)))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    (process,) = started
    assert alive(process.pid)
    assert loop.run_until_complete(process.stop(5)) == -signal.SIGTERM
    loop.close()


PARENT = """
import asyncio, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from server.engines.log import EngineLog
from server.engines.process import spawn

async def main():
    log = EngineLog(Path({log!r}))
    log.on_line = lambda line: print(line, flush=True)
    await spawn({argv!r}, {{}}, log)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_nothing_outlives_holdfast(tmp_path: Path, number: int) -> None:
    """Whatever ends it, and however stubborn the engine and its family are."""
    root = str(Path(__file__).parents[2])
    script = PARENT.format(root=root, log=str(tmp_path / "x.log"), argv=[*PYTHON, STUBBORN])
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        found = pids((parent.stdout.readline(), parent.stdout.readline()))
        assert len(found) == 3
        family = psutil.Process(parent.pid).children(recursive=True)
        assert {process.pid for process in family} >= set(found)
        parent.send_signal(number)
        parent.wait()
    wait_for(lambda: not any(alive(process.pid) for process in family))
