"""A store with real models in it, and `holdfast mirror serve` running before it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.store.digest import git_blob_oid, lfs_pointer_oid, sha256_of
from server.store.receipt import Held
from server.store.shelf import Arrival, Shelf
from tests.integration.running import COMMAND, environment
from tests.waiting import wait_for

DEMO = Path(sys.modules["server"].__path__[0]) / "demo"
MODEL, MODEL_REVISION = "Holdfast/demo", "0123" + "a" * 36
GGUF, GGUF_REVISION = "Holdfast/demo-GGUF", "4567" + "b" * 36
BIG, BIG_REVISION = "Holdfast/big", "89ab" + "c" * 36
NOISE = "noise.safetensors"
"""The large file of BIG."""
_SENT = re.compile(r"Sent (\d+) bytes in (\d+) answers\.")
_URL = re.compile(r"HF_ENDPOINT=(http://\S+)")


def publish(models: Path, repository: str, revision: str, files: Mapping[str, Path]) -> None:
    """Bring files into a store as a pull does."""
    shelf = Shelf(models)
    arrivals = []
    for path, source in files.items():
        staged = shelf.incoming(repository, revision) / path
        staged.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, staged)
        sha256, size = sha256_of(staged), staged.stat().st_size
        lfs = path.endswith((".safetensors", ".gguf"))
        oid = lfs_pointer_oid(sha256, size) if lfs else git_blob_oid(staged)
        arrivals.append(Arrival(Held(path, size, sha256, oid, lfs), staged))
    shelf.publish(repository, revision, arrivals, source="test", licence="apache-2.0")


def tensor_file(size: int) -> bytes:
    """A safetensors file with one tensor of `size` random bytes."""
    table = {"noise": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + os.urandom(size)


def stock(home: Path) -> None:
    """The demo as two repositories, and one with files large enough to be cut off."""
    models = home / "models"
    weights = {path.name: path for path in sorted((DEMO / "safetensors").iterdir())}
    card = {"README.md": DEMO / "CARD.md"}
    publish(models, MODEL, MODEL_REVISION, weights | card)
    publish(models, GGUF, GGUF_REVISION, {"demo-F16.gguf": DEMO / "demo.gguf"} | card)
    home.joinpath("noise").write_bytes(tensor_file(48_000_000))
    noise = {NOISE: home / "noise", "folder/config.json": DEMO / "safetensors/config.json"}
    publish(models, BIG, BIG_REVISION, noise | card)


def sizes(home: Path, repository: str) -> dict[str, int]:
    """Path -> bytes of what is offered of a repository."""
    (volume,) = Shelf(home / "models").find(repository)
    assert volume.receipt
    return {held.path: held.bytes for held in volume.receipt.files}


@dataclass(frozen=True, slots=True)
class Mirror:
    url: str
    """What HF_ENDPOINT is set to."""
    process: subprocess.Popen[str]
    log: Path

    def stop(self) -> tuple[int, int]:
        """End it; how many bytes of files it sent, and in how many answers."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(15) == 0, self.log.read_text()
        found = _SENT.search(self.log.read_text())
        assert found, self.log.read_text()
        return int(found[1]), int(found[2])


@contextlib.contextmanager
def mirror(home: Path, *arguments: str) -> Iterator[Mirror]:
    """`holdfast mirror serve ARGUMENTS --port 0`, until the block ends."""
    log = home.parent / "mirror.log"
    command: list[str | Path] = [COMMAND, "mirror", "serve", "--port", "0", *arguments]
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, env=environment(home), stdout=output, stderr=subprocess.STDOUT, text=True
        )
    try:
        wait_for(lambda: _URL.search(log.read_text()) or process.poll() is not None, 20)
        found = _URL.search(log.read_text())
        assert found, log.read_text()
        yield Mirror(found[1], process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextlib.contextmanager
def cut_off(folder: Path, endpoint: str, **more: str) -> Iterator[dict[str, str]]:
    """The environment of a client that can reach this machine and nothing else: all other
    addresses are behind a proxy at which nobody listens. It has a home of its own."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # held, so that nobody else listens there
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        proxies = {
            name: proxy
            for plain in ("http_proxy", "https_proxy", "all_proxy")
            for name in (plain, plain.upper())
        }
        yield {
            **proxies,
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HF_HOME": str(folder / "hf"),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "LLAMA_CACHE": str(folder / "llama"),
            **more,
        }


def run(command: Sequence[str | Path], env: dict[str, str]) -> str:
    """What the command prints on stdout; it must succeed."""
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
