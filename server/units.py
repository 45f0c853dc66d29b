"""Bytes and durations, as people write and read them.

Binary prefixes (KiB, MiB, GiB, TiB) are powers of 1024 and are what Holdfast prints; decimal ones
(kB, MB, GB, TB) are powers of 1000; a bare K, M, G or T is binary, as in most tools' flags.
"""

from __future__ import annotations

import re

KIB = 1024
MIB = 1024**2
GIB = 1024**3
TIB = 1024**4

_BYTES = {
    "": 1, "b": 1,
    "k": KIB, "kib": KIB, "kb": 1000,
    "m": MIB, "mib": MIB, "mb": 1000**2,
    "g": GIB, "gib": GIB, "gb": 1000**3,
    "t": TIB, "tib": TIB, "tb": 1000**4,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str) -> int:
    """`"64MiB"`, `"200G"`, `"1.5 TB"` or a plain count -> bytes. Raises ValueError."""
    return int(_parse(text, _BYTES, "a size such as 64MiB, 200G or 1.5TB"))


def parse_duration(text: str) -> float:
    """`"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"` or plain seconds -> seconds. Raises ValueError."""
    return _parse(text, _SECONDS, "a duration such as 250ms, 30s, 5m, 2h or 7d")


def format_bytes(count: int) -> str:
    """Bytes in the largest binary unit that leaves a number of at least one: `"1.6 GiB"`."""
    for unit, size in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def format_duration(seconds: float) -> str:
    """Seconds as `"340 ms"`, `"4.2 s"`, `"3m 20s"`, `"5h 02m"` or `"2d 03h"`."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def _parse(text: str, units: dict[str, float] | dict[str, int], expected: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{text!r} is not {expected}")
    return float(match[1]) * units[match[2].lower()]
