"""What of a process lies in RAM, read from the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from server.engines.actuals import Resident

_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(?P<path>.*)$")
_WEIGHTS = (b".gguf", b".safetensors")
_KIB = 1024


def resident(pids: Iterable[int]) -> Resident | None:
    """The memory of the processes `pids` together; None where the kernel does not tell.

    Pages that several of them share are counted in parts (Pss), so that the sum is true. Source:
    Documentation/filesystems/proc.rst, `/proc/PID/smaps`.
    """
    sums = [0, 0, 0, 0]
    try:
        for pid in pids:
            found = _of_process(Path(f"/proc/{pid}/smaps").read_bytes())
            sums = [one + other for one, other in zip(sums, found, strict=True)]
    except OSError:
        return None
    return Resident(*sums)


def _of_process(smaps: bytes) -> list[int]:
    anonymous = weights = files = shared = 0
    path, part = b"", 0
    for line in smaps.splitlines():
        if line.startswith(b"Pss:"):
            part = _bytes(line)
        elif line.startswith(b"Anonymous:"):
            own = min(part, _bytes(line))
            anonymous += own
            if path.endswith(_WEIGHTS):
                weights += part - own
            elif path.startswith(b"/") and not path.startswith((b"/dev/", b"/memfd:", b"/SYSV")):
                files += part - own
            else:
                shared += part - own
        elif (mapping := _MAPPING.match(line)) is not None:
            path, part = mapping["path"], 0
    return [anonymous, weights, files, shared]


def _bytes(line: bytes) -> int:
    return int(line.split()[1]) * _KIB
