"""What of a process lies in RAM, read from the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from server.engines.actuals import Resident

_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(?P<path>.*)$")
_WEIGHTS = (b".gguf", b".safetensors")
_NO_FILES = (b"/dev/", b"/memfd:", b"/SYSV")
_KIB = 1024


def resident(pids: Iterable[int]) -> Resident | None:
    """The memory of the processes `pids` of one engine; None where the kernel does not tell.

    Pages of a file that several of them map are the same pages, and count once; that another engine
    may map them too is left out, so that the figure does not depend on who else runs. Source:
    Documentation/filesystems/proc.rst, `/proc/PID/smaps`.
    """
    anonymous, mapped = 0, dict[bytes, int]()
    try:
        for pid in pids:
            own, files = _of_process(Path(f"/proc/{pid}/smaps").read_bytes())
            anonymous += own
            mapped = {path: max(mapped.get(path, 0), files.get(path, 0)) for path in mapped | files}
    except OSError:
        return None
    weights = sum(size for path, size in mapped.items() if path.endswith(_WEIGHTS))
    files_bytes = sum(size for path, size in mapped.items() if _is_file(path)) - weights
    return Resident(anonymous, weights, files_bytes, sum(mapped.values()) - weights - files_bytes)


def _is_file(path: bytes) -> bool:
    return path.startswith(b"/") and not path.startswith(_NO_FILES)


def _of_process(smaps: bytes) -> tuple[int, dict[bytes, int]]:
    """Bytes that are the process' own, and those of what it maps by path."""
    anonymous, path, part = 0, b"", 0
    mapped: dict[bytes, int] = {}
    for line in smaps.splitlines():
        if line.startswith(b"Rss:"):
            part = _bytes(line)
        elif line.startswith(b"Anonymous:"):
            own = _bytes(line)
            anonymous += own
            mapped[path] = mapped.get(path, 0) + part - own
        elif (mapping := _MAPPING.match(line)) is not None:
            path = mapping["path"]
    return anonymous, mapped


def _bytes(line: bytes) -> int:
    return int(line.split()[1]) * _KIB
