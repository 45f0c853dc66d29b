"""File names for engines: of their sockets and logs."""

from __future__ import annotations

import hashlib
import re

LONGEST = 35  # characters: settings.py keeps 40 bytes of a socket's path for the name and `.sock`

_STRANGE = re.compile(r"[^A-Za-z0-9._@-]")


def file_stem(name: str) -> str:
    """A file name for the engine `name`: `qwen3.5-9b:q4_k_m` -> `qwen3.5-9b@q4_k_m`.

    Names that are long or hold other characters are told apart by a digest.
    """
    stem = name.replace(":", "@", 1)
    if len(stem) <= LONGEST and not _STRANGE.search(stem) and stem.strip("."):
        return stem
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{_STRANGE.sub('-', stem)[: LONGEST - 9]}-{digest}"
