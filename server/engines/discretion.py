"""What of llama-server's log may be kept once requests run. Pure.

Its warnings quote requests and answers: an answer that does not parse, a schema's pattern, a whole
grammar with the prompt's end. No prompt or completion may stand in a log, so that from the first
request on only lines of known harmless shape are kept whole, and of warnings only their beginning.
"""

from __future__ import annotations

import re

WITHHELD = "[withheld]"

_FIGURES = re.compile(r"I slot +(?:print_timing|release): [\w .,:|()=/%-]*")
_CRASH = re.compile(
    r"\S+:\d+: (?:GGML_ASSERT\(.*\) failed|fatal error|\w+ error)|terminate called .*"
)
_COMPLAINT = re.compile(r"[WE] |WARNING: | *what\(\): ")
_OPENS_QUOTE = re.compile(r"['\"`{\[]")
_GPU_FAULT = re.compile(
    r"(?:cudaMalloc failed: )?out of memory|an illegal memory access was encountered"
    r"|unspecified launch failure|device-side assert triggered|the launch timed out.{0,40}"
)


def discreet(line: str) -> str | None:
    """What is kept of `line`: all, its beginning, or nothing (None)."""
    if _COMPLAINT.match(line):
        return _beginning(line)
    if _FIGURES.fullmatch(line) or _CRASH.fullmatch(line):
        return line
    return None


def _beginning(line: str) -> str:
    """`line` up to where something may be quoted: after its second colon, or at a quote mark.

    A complaint is `function: fixed words: what was complained of`.
    """
    end = len(line)
    first = line.find(": ")
    second = line.find(": ", first + 2) if first >= 0 else -1
    if second >= 0:
        if _GPU_FAULT.fullmatch(line[second + 2 :]):
            return line
        end = second + 1
    quote = _OPENS_QUOTE.search(line, 0, end)
    if quote is not None:
        end = quote.start()
    return line if end == len(line) else f"{line[:end].rstrip()} {WITHHELD}"
