"""What `llama-server` says while it loads, and what its last words mean. Pure.

Lines are those of verbosity 4 with level prefixes, for example

    I load_tensors:        CUDA0 model buffer size = 15317.08 MiB
    E llama_model_load: error loading model: unknown model architecture: 'qwen9'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from server.engines.actuals import LlamaServerLog
from server.engines.failure import FREE_MEMORY, Failure, by_status, first_rule, rules
from server.engines.program import Buffer, Kind, LogEvent, Reserved, Stage, Work
from server.units import MIB

_LEVEL = re.compile(r"^[DIWE] ")
_BUFFER = re.compile(
    r"(?P<device>\S+) +(?P<kind>model|KV|RS|compute|output) buffer size = +(?P<mib>[\d.]+) MiB"
)
_STAGES: tuple[tuple[str, Stage], ...] = (
    ("loading model tensors", Stage("reading weights")),
    ("constructing llama_context", Stage("reserving memory")),
    ("warming up the model", Stage("warming up")),
    ("llama_server: listening on", Stage("ready")),
    ("server is listening on", Stage("ready")),  # builds before mid-2026
)


class LogReader:
    """Picks what matters from the log of a llama-server on `gpus` (UUIDs, in its own order)."""

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._account = LlamaServerLog(gpus)

    def feed(self, line: str) -> LogEvent | None:
        """The event in one line of log, if there is one."""
        self._account.feed(line)
        if "buffer size = " in line:
            found = _BUFFER.search(line)
            if found is not None:
                kind: Kind = found["kind"]  # type: ignore[assignment]
                return Buffer(found["device"], kind, round(float(found["mib"]) * MIB))
            return None
        for words, stage in _STAGES:
            if words in line:
                return stage
        return None

    def progress(self, resident: int, weights: int) -> float:
        """See `loaded_fraction`."""
        return loaded_fraction(resident, weights)

    def reserved(self) -> Reserved:
        """What it said that it has reserved, by device and component."""
        return self._account.reserved()

    @property
    def filled(self) -> int:
        """Bytes of RAM that it reserved and has written to."""
        return self._account.filled


def loaded_fraction(resident: int, weights: int) -> float:
    """How much of the weights is in memory, 0 to 0.99, from the engine's resident bytes.

    llama-server does not log how far it has read. Its weights become resident as they are read,
    on the way to a GPU too, because they are memory-mapped; the rest of the process is small.
    """
    return min(0.99, resident / weights) if weights > 0 else 0.0


_FILE = "The file is damaged or incomplete: fetch it again"
_REBUILD = "Run scripts/setup to build the engine for this machine"

_RULES = rules((
    (r"failed to create MTP context|doesn't contain MTP layers",
     "unsupported", "This build has no layer that drafts tokens: serve it without drafting"),
    # The assertion follows "insufficient memory", which is lost where the logger's thread is slow.
    (r"out of memory|unable to allocate|failed to allocate|insufficient memory|bad_alloc"
     r"|GGML_ASSERT\(ctx->mem_buffer != NULL\)",
     "memory", FREE_MEMORY),
    (r"unknown model architecture|unknown pre-tokenizer|unsupported model",
     "unsupported", "This build needs a newer llama-server: run scripts/setup"),
    (r"mismatch between text model",
     "weights", "The mmproj belongs to another model: give the build that of its own"),
    (r"not within the file bounds|corrupted|missing tensor|has wrong shape|invalid magic"
     r"|failed to read|has invalid data|wrong number of tensors|key not found in model"
     r"|failed to load model|error loading model|failed to load multimodal",
     "weights", _FILE),
    (r"error: invalid argument|error while handling argument|unknown value for|^error: ",
     "program", "This llama-server does not know a flag of ours: run scripts/setup"),
    (r"error while loading shared libraries|symbol lookup error|GLIBC\w* not found",
     "program", _REBUILD),
    (r"couldn't bind|failed to bind|exiting due to HTTP server error",
     "socket", "Look whether another Holdfast uses the same home"),
    (r"CUDA error|ROCm error|device lost",
     "gpu", "Look at the GPU with holdfast doctor, and at the kernel's log for Xid messages"),
))  # fmt: skip


def classify(lines: Sequence[str], status: int, *, was_ready: bool) -> Failure:
    """Why an engine ended with exit `status` (negative: by that signal) and these last `lines`.

    Errors are looked for before all else, the first of them first: what follows it is mostly its
    consequence.
    """
    texts = [_LEVEL.sub("", line).strip() for line in lines]
    errors = [
        text for text, line in zip(texts, lines, strict=True) if line.startswith(("E ", "error"))
    ]
    found = first_rule(_RULES, (*errors, *texts), was_ready=was_ready)
    return found or by_status(status, errors, rebuild=_REBUILD, was_ready=was_ready)


_COUNTER = re.compile(r"^llamacpp:(?P<name>\w+) (?P<value>[\d.e+-]+)$", re.MULTILINE)


def work(metrics: str) -> Work:
    """What it has computed since it started, from its Prometheus page (`/metrics`)."""
    counters = {found["name"]: float(found["value"]) for found in _COUNTER.finditer(metrics)}
    return Work(
        prompt_tokens=int(counters.get("prompt_tokens_total", 0)),
        prompt_seconds=counters.get("prompt_seconds_total", 0.0),
        tokens=int(counters.get("tokens_predicted_total", 0)),
        seconds=counters.get("tokens_predicted_seconds_total", 0.0),
        steps=int(counters.get("n_decode_total", 0)),
    )
