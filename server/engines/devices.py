"""What an engine program can compute on."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from server.engines.llama_server import environment

_TIMEOUT = 20.0  # seconds; the first use of a GPU after boot takes a few


def list_devices(program: Path, gpus: Sequence[str]) -> tuple[str, ...] | None:
    """Those of `gpus` (UUIDs) that a llama-server can use, in its own words; None if it does not
    say."""
    try:
        done = subprocess.run(
            [program, "--list-devices"],
            env=environment(os.environ, gpus),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_devices(done.stdout)


def parse_devices(output: str) -> tuple[str, ...] | None:
    """What `llama-server --list-devices` printed: the lines below its heading, less the indent.

    A build without any GPU backend prints "(none)": an empty tuple. None: not that output.
    """
    _, heading, listed = output.partition("Available devices:\n")
    if not heading:
        return None
    return tuple(re.findall(r"^  (\S+: .+)$", listed, re.MULTILINE))
