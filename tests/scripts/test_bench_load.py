"""The load generator against the static engine: two real programs."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from scripts.benchmarks import load
from scripts.benchmarks.programs import BenchError, free_port, running
from scripts.benchmarks.streams import check
from server.engines.binary import find_llama_server
from server.settings import Settings
from tests.fakes import static_engine
from tests.waiting import alive, wait_for

INTERVAL = 0.005


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """The engine's UNIX socket and its TCP port."""
    folder = tmp_path_factory.mktemp("engine")
    port = free_port()
    program = static_engine.wrapper(folder / "llama-server", interval=INTERVAL, tcp_port=port)
    path = folder / "engine.sock"
    argv = [str(program), "--host", str(path), "--model", "x.gguf", "--threads", "2", "--jinja"]
    with running(argv, folder / "log") as started:
        started.wait_for(f"http://127.0.0.1:{port}/health", 60)
        yield path, port


def chat(**fields: object) -> bytes:
    return load.request("/v1/chat/completions", {"model": "m", "messages": [], **fields}, key="k")


def test_it_passes_for_a_llama_server(tmp_path: Path) -> None:
    program = static_engine.wrapper(tmp_path / "llama-server")
    found = find_llama_server(Settings(tmp_path / "home", (), llama_server=program))
    assert found.version in static_engine.VERSION


def test_answers_over_both_sockets_and_connections_are_kept(engine: tuple[Path, int]) -> None:
    for address in (engine[0], ("127.0.0.1", engine[1])):
        seconds, latencies = load.repeat(address, chat(), count=50, concurrency=3, timeout=60)
        assert len(latencies) == 50
        assert 0 < min(latencies) <= max(latencies) <= seconds
    [answer] = load.at_once(engine[0], [chat()], timeout=60)
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == static_engine.ANSWER


def test_streams_have_every_event_at_its_time(engine: tuple[Path, int]) -> None:
    requests = [chat(stream=True, max_tokens=count) for count in (20, 20, 30)]
    answers = load.at_once(("127.0.0.1", engine[1]), requests, timeout=60)
    for answer, count in zip(answers, (20, 20, 30), strict=True):
        check(answer.body, count)
        # The clock of the events may stand just before its next tick when the first is sent.
        assert answer.seconds >= (count - 2) * INTERVAL
        assert answer.sent < answer.first < answer.done


@pytest.mark.parametrize("wrong", [29, 31])
def test_a_stream_with_other_events_is_noticed(engine: tuple[Path, int], wrong: int) -> None:
    [answer] = load.at_once(engine[0], [chat(stream=True, max_tokens=30)], timeout=60)
    with pytest.raises(load.LoadError, match="events"):
        check(answer.body, wrong)
    with pytest.raises(load.LoadError, match="events"):
        check(answer.body.replace(b"data: [DONE]\n\n", b""), 30)
    with pytest.raises(load.LoadError, match="events"):
        check(answer.body.replace(b'"7 "', b'"8 "'), 30)


@pytest.mark.parametrize("cut", [1, 7, 60, 10_000])
def test_the_end_is_found_wherever_the_network_cuts(cut: int) -> None:
    """A head may itself end like the last chunk does, as that of llama-server."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=100\r\n\r\n"
        b"9\r\ndata: {}\n\r\n1\r\n\n\r\n0\r\n\r\n"
    )

    async def serve_once() -> tuple[int, bytes]:
        async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            for at in range(0, len(answer), cut):
                writer.write(answer[at : at + cut])
                await writer.drain()
                await asyncio.sleep(0.001)
            writer.close()

        answered = asyncio.Event()
        async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            connection = await load.connect(address, lambda _: answered.set())
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            await answered.wait()
            body = connection.answer().body
            await connection.close()
        return connection._have, body

    assert asyncio.run(serve_once()) == (len(answer), b"data: {}\n\n")


def test_a_refusal_is_not_measured(engine: tuple[Path, int]) -> None:
    refused = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    with pytest.raises(load.LoadError, match="404 Not Found"):
        load.repeat(engine[0], refused, count=5, concurrency=1, timeout=60)


def test_a_broken_answer_is_noticed(tmp_path: Path) -> None:
    port = free_port()
    program = static_engine.wrapper(tmp_path / "llama-server", interval=0.05, tcp_port=port)
    with running([program], tmp_path / "log") as started:
        started.wait_for(f"http://127.0.0.1:{port}/health", 60)
        killer = subprocess.Popen(["sh", "-c", f"sleep 2; kill -9 {started.process.pid}"])
        with pytest.raises(load.LoadError, match="the connection ended"):
            load.at_once(("127.0.0.1", port), [chat(stream=True, max_tokens=10_000)], timeout=60)
        killer.wait()


def test_too_slow_an_answer_is_given_up(engine: tuple[Path, int]) -> None:
    with pytest.raises(load.LoadError, match="more than 0 s"):
        load.at_once(engine[0], [chat(stream=True, max_tokens=10_000)], timeout=0.2)


def test_the_text_of_a_chunked_body_is_the_same_as_another_client_reads(
    engine: tuple[Path, int],
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", engine[1], timeout=60)
    body = json.dumps({"stream": True, "max_tokens": 12})
    connection.request("POST", "/v1/completions", body)
    theirs = connection.getresponse().read()
    connection.close()
    asked = load.request("/v1/completions", {"stream": True, "max_tokens": 12})
    [ours] = load.at_once(engine[0], [asked], timeout=60)
    assert ours.body == theirs
    assert load.events(b": waiting\n\n" + theirs)[-1] == b"[DONE]"


def test_a_program_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no weights; exit 3"]
    with running(command, tmp_path / "log") as started, pytest.raises(BenchError) as caught:
        started.wait_for("http://127.0.0.1:9/", 10)
    assert "ended with status 3" in str(caught.value)
    assert "no weights" in str(caught.value)


def test_a_program_that_ignores_sigterm_is_killed_with_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.benchmarks.programs._STOP_GRACE", 0.2)
    script = "trap '' TERM; sleep 60 & echo $!; wait"
    with running(["sh", "-c", script], tmp_path / "log"):
        while not (tmp_path / "log").read_text().strip():
            time.sleep(0.01)
    child = int((tmp_path / "log").read_text())
    wait_for(lambda: not alive(child))


def test_interrupting_leaves_nothing_behind(tmp_path: Path) -> None:
    """A program ends with the benchmark, however that ends."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from scripts.benchmarks.programs import running\n"
        f"with running(['sleep', '60'], Path({str(tmp_path / 'log')!r})) as started:\n"
        "    print(started.process.pid, flush=True); time.sleep(60)\n"
    )

    def dead(pid: int) -> bool:
        return not alive(pid)

    for number in (signal.SIGINT, signal.SIGKILL):
        bench = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert bench.stdout is not None
        child = int(bench.stdout.readline())
        bench.send_signal(number)
        bench.wait()
        bench.stdout.close()
        wait_for(partial(dead, child))
