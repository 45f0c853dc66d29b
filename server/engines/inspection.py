"""What a `llama-server` program is: the version that it prints, and whether it names `qwen35`."""

from __future__ import annotations

import json
import mmap
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.errors import EngineMissing
from server.settings import Settings

_QWEN35 = b"qwen35\0"  # the C string that is compared with a GGUF file's general.architecture
_NEW_VERSION = re.compile(r"^version: (.+ \(build (\d+), .+\))$", re.MULTILINE)
_OLD_VERSION = re.compile(r"^version: ((\d+) \(.+\))$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Inspection:
    version: str
    build: int
    """llama.cpp's build number; 0 or 1 where it was not built from a full git checkout."""
    names_qwen35: bool
    """Whether `qwen35` stands in the program or in a llama library that it loads."""


def inspect(path: Path, cache: InspectionCache, *, timeout: float = 5.0) -> Inspection:
    """Asks the program, unless the cache knows. Raises EngineMissing with the reason as its what.

    Milliseconds; up to `timeout` seconds if the program hangs.
    """
    inspection = cache.get(path)
    if inspection is None:
        inspection, files = _inspect(path, timeout)
        cache.put(path, inspection, files)
    return inspection


def parse_version(output: str) -> tuple[str, int] | None:
    """The version and build number that `llama-server --version` printed, None if there are none.

    `version: 0.5.0-dev (build 9800, commit 0c1e570)`; in older builds `version: 7990 (0c1e570)`.
    """
    match = _NEW_VERSION.search(output) or _OLD_VERSION.search(output)
    return (match[1], int(match[2])) if match else None


def _inspect(path: Path, timeout: float) -> tuple[Inspection, tuple[Path, ...]]:
    """The inspection, and the files on which it rests. Raises EngineMissing."""
    if not path.exists():
        raise EngineMissing("there is no such file")
    if not path.is_file():
        raise EngineMissing("it is not a program but a folder or device")
    if not os.access(path, os.X_OK):
        raise EngineMissing(f"it is not executable; chmod +x {path} would make it so")
    status, output = _query(path, timeout)
    version = parse_version(output)
    if version is None:
        last = output.strip().splitlines()[-1:] or ["nothing"]
        raise EngineMissing(f"--version ended with status {status} and printed: {last[0][:200]}")
    files = (path.resolve(), *_llama_libraries(path, timeout))
    return Inspection(*version, any(_contains(file, _QWEN35) for file in files)), files


def _query(path: Path, timeout: float, *, trace_libraries: bool = False) -> tuple[int, str]:
    """Exit status and output of `path --version`. Raises EngineMissing.

    With `trace_libraries` the dynamic loader lists what it would load instead, as ldd(1) has it do.
    """
    # Without devices a CUDA build answers at once, in place of starting the driver first.
    environment = {"CUDA_VISIBLE_DEVICES": "", "LANG": "C"}
    for name in ("PATH", "HOME", "LD_LIBRARY_PATH"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if trace_libraries:
        environment["LD_TRACE_LOADED_OBJECTS"] = "1"
    try:
        process = subprocess.Popen(
            [path.absolute(), "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineMissing(f"it cannot be run: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # The whole group: a child that holds the pipe would make us wait for it.
            os.killpg(process.pid, signal.SIGKILL)
            raise EngineMissing(f"--version gave no answer within {timeout:g} s") from None
    return process.returncode, output.decode(errors="replace")


def _llama_libraries(path: Path, timeout: float) -> tuple[Path, ...]:
    _, output = _query(path, timeout, trace_libraries=True)
    # `libllama.so.0 => /path/libllama.so.0 (0x...)`, or without the arrow if linked by its path.
    found = re.findall(r"^\s*(?:\S+ => )?(/.*/libllama[^/]+) \(0x", output, re.MULTILINE)
    return tuple(sorted({Path(library).resolve() for library in found}))


def _contains(file: Path, needle: bytes) -> bool:
    with file.open("rb") as opened:
        if file.stat().st_size == 0:
            return False
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(needle) >= 0


class InspectionCache:
    """Inspections by path, valid while size and time of every file they rest on stay the same.

    It saves starting the programs, and nothing else rests on it: a cache that cannot be read or
    written is as good as an empty one.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = settings.home / "cache" / "llama-server.json"

    def get(self, path: Path) -> Inspection | None:
        entry = self._read().get(str(path.absolute()))
        try:
            if entry and all(stamp == _stamp(Path(file)) for file, stamp in entry["files"].items()):
                return Inspection(**entry["inspection"])
        except (OSError, KeyError, TypeError, AttributeError):
            pass
        return None

    def put(self, path: Path, inspection: Inspection, files: tuple[Path, ...]) -> None:
        try:
            entries = self._read()
            entries[str(path.absolute())] = {
                "inspection": asdict(inspection),
                # The path itself too: a link may be pointed at another program.
                "files": {str(file): _stamp(file) for file in (path, *files)},
            }
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, delete=False) as new:
                json.dump(entries, new)
            Path(new.name).replace(self._file)
        except OSError:
            pass

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]
