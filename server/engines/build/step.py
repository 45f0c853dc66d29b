"""The programs of one build, run one after another: their output is the log and the progress."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from server.engines.build import log
from server.engines.build.progress import ProgressDisplay
from server.errors import EngineMissing

Run = Callable[[Sequence[str]], None]

_KEPT_LINES = 400


@contextmanager
def steps(
    log_file: Path, environment: Mapping[str, str], display: ProgressDisplay, undone: str
) -> Iterator[Run]:
    """Gives what runs a command to its end, into `log_file`.

    A command that fails raises EngineMissing: `undone`, such as "vLLM could not be set up", the
    cause where its output tells a known one, and what to do.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with log_file.open("w") as opened, display:

        def run(command: Sequence[str]) -> None:
            if status := _follow(command, environment, opened, lines, display):
                raise _failure(undone, status, tuple(lines), log_file)

        yield run


def _follow(
    command: Sequence[str],
    environment: Mapping[str, str],
    log_file: TextIO,
    lines: deque[str],
    display: ProgressDisplay,
) -> int:
    """The exit status of `command`; takes its whole process group along if we end before it."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            log_file.write(line)
            lines.append(line)
            if progress := log.read_progress(line):
                display.show(progress)
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _failure(undone: str, status: int, lines: tuple[str, ...], log_file: Path) -> EngineMissing:
    diagnosis = log.diagnose(lines)
    last = "\n".join(f"    {line}" for line in log.telling(lines))
    print(f"  the last lines; all of it stands in {log_file}:\n{last}", flush=True)
    return EngineMissing(
        undone,
        why=diagnosis.why if diagnosis else f"its program ended with status {status}",
        next_step=diagnosis.next_step if diagnosis else f"Look for the reason in {log_file}",
    )
