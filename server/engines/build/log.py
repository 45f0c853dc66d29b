"""Reads what pip, uv, CMake and ninja print: how far a build is, and why it failed (pure)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = re.compile(r"^\s*\[(\d+)/(\d+)\] ")  # ninja's [done/all]
_FETCHING = re.compile(r"^\s*Downloading (\S+) \(([\d.]+)([KMG]iB)\)$")  # uv, of large files alone
_PHASES = (
    (re.compile(r"^\s*Downloading \S*llama"), "fetching the sources"),
    (re.compile(r"^\s*\*\*\* Configuring CMake"), "configuring"),
    (re.compile(r"^\s*\*\*\* Making wheel"), "packing"),
    (re.compile(r"^Resolved \d+ packages? in"), "fetching what is not in the cache"),
    (re.compile(r"^Installed \d+ packages? in"), "importing it once, to see that it works"),
)


@dataclass(frozen=True, slots=True)
class Progress:
    phase: str
    done: int = 0
    total: int = 0
    """0 where the phase has no steps that could be counted."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    why: str
    next_step: str


_CAUSES: tuple[tuple[str, Diagnosis], ...] = (
    (
        r"No space left on device",
        Diagnosis(
            "the disk became full",
            "Free some space, or set XDG_CACHE_HOME to a folder on a larger disk; "
            "then run the same command again",
        ),
    ),
    (
        r"Killed signal terminated program|fatal error: Killed|cannot allocate memory"
        r"|virtual memory exhausted|out of memory allocating",
        Diagnosis(
            "the compiler ran out of memory", "Run scripts/setup --jobs 1, which needs the least"
        ),
    ),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch for",
        Diagnosis(
            "a file is not the one that requirements/ names",
            "Do not use it: find out which mirror or proxy changed it",
        ),
    ),
    (
        r"No matching distribution found|Could not find a version|Failed to establish a new"
        r"|No solution found when resolving|Failed to fetch|error sending request"
        r"|Temporary failure in name resolution|Connection (?:refused|reset|timed out)"
        r"|ReadTimeout|SSLError|ProxyError",
        Diagnosis(
            "the package registry could not be reached, or lacks the package",
            "Check the network and pip's settings (pip config list), "
            "then run the same command again",
        ),
    ),
    (
        r"compiler identification is unknown|No CMAKE_C(?:XX)?_COMPILER could be found"
        r"|is not able to compile a simple test program",
        Diagnosis(
            "the C++ compiler is absent or does not work", "As root: apt-get install g++"
        ),
    ),
    (
        r"unsupported GNU version|nvcc fatal|CMAKE_CUDA_COMPILER"
        r"|Unsupported gpu architecture",
        Diagnosis(
            "the CUDA toolkit does not fit the compiler or the GPU",
            "Install the CUDA toolkit that the GPU's driver names (nvidia-smi), and name its nvcc "
            "in CUDACXX; then run scripts/setup again",
        ),
    ),
)  # fmt: skip


def read_progress(line: str) -> Progress | None:
    """What a line of the log tells about the build's progress; None for most lines."""
    if match := _STEPS.match(line):
        return Progress("compiling", int(match[1]), int(match[2]))
    if match := _FETCHING.match(line):
        return Progress(f"fetching {match[1]}, {match[2]} {match[3]}")
    return next((Progress(phase) for pattern, phase in _PHASES if pattern.match(line)), None)


def diagnose(lines: Sequence[str]) -> Diagnosis | None:
    """The cause of a failure whose log ends with `lines`, where it is a known one."""
    text = "\n".join(lines)
    return next((diagnosis for cause, diagnosis in _CAUSES if re.search(cause, text)), None)


def telling(lines: Sequence[str], limit: int = 12) -> tuple[str, ...]:
    """The last lines that a person should see; compiler calls, thousands of letters, are cut."""
    kept = [line.rstrip() for line in lines if line.strip()]
    return tuple(line if len(line) <= 160 else line[:157] + "..." for line in kept[-limit:])
