"""Stores for the tests of copies and bags, and the real command run upon them."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from server import demo
from server.store.receipt import Held, Receipt
from server.store.shelf import Arrival, Shelf

COMMAND = Path(sys.executable).with_name("holdfast")
REVISION = "0123456789abcdef0123456789abcdef01234567"
OTHER = "76543210fedcba9876543210fedcba9876543210"


def publish(home: Path, repository: str, revision: str, files: Mapping[str, bytes]) -> Receipt:
    """Puts files into the store of `home` as a pull does."""
    shelf = Shelf(home / "models")
    arrivals = []
    for path, content in files.items():
        staged = shelf.incoming(repository, revision) / path
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(content)
        held = Held(path, len(content), hashlib.sha256(content).hexdigest())
        arrivals.append(Arrival(held, staged))
    return shelf.publish(
        repository, revision, arrivals, source="https://huggingface.co", licence="apache-2.0"
    )


def fill(home: Path, large: int = 2_000_000) -> None:
    """Two revisions: the demo model, and large files of `large` random bytes each."""
    model = demo.GGUF.parent / "safetensors"
    publish(
        home,
        "holdfast/demo",
        REVISION,
        {path.name: path.read_bytes() for path in model.iterdir()},
    )
    source = random.Random(large)
    publish(
        home,
        "holdfast/Large-GGUF",
        OTHER,
        {"README.md": b"# Large\n"}
        | {f"data/part {n}.txt": source.randbytes(large) for n in range(3)}
        | {"empty.txt": b""},
    )


def tree(root: Path) -> dict[str, str]:
    """Path -> sha256 of everything visible below a store's or copy's root, but for its marker."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("*/*/*/**/*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }


def holdfast(
    *arguments: str, home: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments, "--home", home],
        capture_output=True,
        text=True,
        timeout=60,
        env=_environment(environment),
        check=False,
    )


def killed(
    *arguments: str,
    home: Path,
    after: float,
    environment: Mapping[str, str] | None = None,
    by: signal.Signals = signal.SIGKILL,
) -> int:
    """Runs the command, sends it `by` after so many seconds, and returns its exit status."""
    process = subprocess.Popen(
        [COMMAND, *arguments, "--home", home],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(environment),
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(by)
    return process.wait(30)


def config(folder: Path, *copies: str, min_copies: int = 1) -> str:
    path = folder / "copies.toml"
    listed = ", ".join(f'"{copy}"' for copy in copies)
    path.write_text(f"[store]\ncopies = [{listed}]\nmin_copies = {min_copies}\nreserve = 0\n")
    return str(path)


def flip(path: Path, seed: int = 0) -> None:
    """One bit of the file turned, as rot does: size and time stay."""
    status = path.stat()
    at = random.Random(seed).randrange(status.st_size)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | dict(more or {})
