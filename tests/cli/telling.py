"""What a program tells while it works, in a log and on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def logged(program: str) -> list[str]:
    """The lines that this Python program writes on stderr; on stdout it writes nothing."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def shown(program: str) -> str:
    """What it writes on stderr where that is a terminal, a hundred columns wide."""
    main, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run(
        [sys.executable, "-c", program], stderr=terminal, check=True, timeout=30, env=environment
    )
    os.close(terminal)
    text = os.read(main, 1_000_000).decode()
    os.close(main)
    return text
