"""What vLLM says while it loads, what of its log may be kept, and what its last words mean. Pure.

Each of its processes writes lines such as

    (EngineCore pid=42) INFO 11-21 07:22:33 [gpu_model_runner.py:5149] Model loading took 16.8 GiB
    (Worker_TP1 pid=43) ERROR 11-21 07:23:01 [multiproc_executor.py:772] torch.OutOfMemoryError:
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.engines.actuals import vllm_reserved
from server.engines.discretion import WITHHELD
from server.engines.failure import FREE_MEMORY, Failure, by_status, first_rule, rules
from server.engines.program import Buffer, Kind, LogEvent, Reserved, Stage, StageName, Work
from server.units import GIB

_HEAD = re.compile(
    r"(?:\((?P<process>[\w-]+) pid=\d+\) )?"
    r"(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ \[[\w./]+:\d+\] |INFO: +)?"
)
_RANK = re.compile(r"(?:PP(?P<pp>\d+))?_?(?:TP(?P<tp>\d+))?(?:_EP\d+)?$")

_BUFFERS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("model", re.compile(r"Model loading took (?P<gib>[\d.]+) GiB")),
    ("KV", re.compile(r"reserved (?P<gib>[\d.]+) GiB memory for KV Cache")),
    ("KV", re.compile(r"Explicitly set \((?P<gib>[\d.]+)/[\d.]+\) GiB for KV cache")),
    ("KV", re.compile(r"Available KV cache memory: (?P<gib>[\d.]+) GiB")),
    ("graphs", re.compile(r"Graph capturing finished in \d+ secs, took (?P<gib>-?[\d.]+) GiB")),
)
_SHARDS = re.compile(r"Loading safetensors checkpoint shards: +(?P<percent>\d+)% Completed")
_GRAPHS = re.compile(r"(?:Capturing CUDA graphs|Profiling CUDA graph).*?(?P<percent>\d+)%")


@dataclass(frozen=True, slots=True)
class _Step:
    words: str
    stage: StageName
    progress: float
    """Of the whole loading, when the words appear: from starts of 9B to 27B on one GPU."""


_STEPS = (
    _Step("non-default args", "starting", 0.02),
    _Step("LLM engine (v", "starting", 0.05),
    _Step("Starting to load model", "reading weights", 0.1),
    _Step("Loading weights took", "reserving memory", 0.6),
    _Step("Model loading took", "reserving memory", 0.6),
    _Step("Dynamo bytecode transform time", "compiling", 0.65),
    _Step("Warming up model", "warming up", 0.7),
    _Step("KV cache size:", "reserving memory", 0.75),
    _Step("Capturing CUDA graphs", "capturing graphs", 0.8),
    _Step("init engine (profile, create kv cache, warmup model) took", "warming up", 0.95),
    _Step("Application startup complete", "ready", 0.99),
)
_READ_FROM, _READ_TO = 0.1, 0.6
_CAPTURE_FROM, _CAPTURE_TO = 0.8, 0.95


class LogReader:
    """Picks what matters from the log of a vLLM on `gpus` (UUIDs); without any: on the CPU.

    `kv_cache` is what it was given for its cache, in bytes: it logs hundredths of a GiB.
    """

    def __init__(
        self, gpus: Sequence[str] = (), *, tensor_parallel: int = 1, kv_cache: int = 0
    ) -> None:
        self._gpus = tuple(gpus)
        self._tensor_parallel = tensor_parallel
        self._kv_cache = kv_cache
        self._progress = 0.0
        self._buffers: list[Buffer] = []

    def feed(self, line: str) -> LogEvent | None:
        """The event in one line of log, if there is one."""
        head = _HEAD.match(line)
        assert head is not None
        for kind, pattern in _BUFFERS:
            if found := pattern.search(line, head.end()):
                self._step(line)
                size = self._size(kind, float(found["gib"]))
                self._buffers.append(Buffer(self._device(head["process"] or ""), kind, size))
                return self._buffers[-1]
        if found := _SHARDS.search(line):
            self._advance(_READ_FROM + (_READ_TO - _READ_FROM) * int(found["percent"]) / 100)
            return None
        stage = self._step(line)
        if found := _GRAPHS.search(line):
            self._advance(
                _CAPTURE_FROM + (_CAPTURE_TO - _CAPTURE_FROM) * int(found["percent"]) / 100
            )
        return stage

    def progress(self, resident: int, weights: int) -> float:
        """How far it says that it is, 0 to 0.99; its resident bytes tell nothing of that."""
        return self._progress

    def reserved(self) -> Reserved:
        """What it said that it has reserved, by device and component."""
        return vllm_reserved(self._buffers, self._gpus)

    @property
    def filled(self) -> int:
        """Bytes of RAM that it reserved and has written to: on the CPU its cache is zeroed."""
        return 0 if self._gpus else sum(self.reserved().values())

    def _step(self, line: str) -> Stage | None:
        for step in _STEPS:
            if step.words in line:
                self._advance(step.progress)
                return Stage(step.stage)
        return None

    def _advance(self, progress: float) -> None:
        self._progress = max(self._progress, min(progress, 0.99))

    def _size(self, kind: Kind, gib: float) -> int:
        if kind == "KV" and gib == round(self._kv_cache / GIB, 2):
            return self._kv_cache
        return max(0, round(gib * GIB))

    def _device(self, process: str) -> str:
        """`CUDA3` for the fourth rank: pipeline stages are cut out first (parallel_state.py)."""
        if not self._gpus:
            return "CPU"
        rank = _RANK.search(process)
        assert rank is not None
        return f"CUDA{int(rank['pp'] or 0) * self._tensor_parallel + int(rank['tp'] or 0)}"


# ---- What may be kept ----

_KEPT = re.compile(
    r"Engine \d+: [\w .,:/%()-]*"
    r"|SpecDecoding metrics: [\w .,:/%()-]*"
    r'| *File "[^"]*", line \d+, in [\w<>.]+'
    r"|Traceback \(most recent call last\):"
    r"|EngineCore encountered a fatal error\."
    r"|\[shutdown\] [\w .,:=-]*"
    r"|(?:[\w.]*OutOfMemoryError: )?CUDA out of memory\. Tried to allocate [\w .,:/%()-]*"
    r"|[\w.]*Error: CUDA error: [a-z ,-]*"
)
_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception)\b:?")


def discreet(line: str) -> str | None:
    """What of `line` is kept once requests run: all, its beginning, or nothing (None).

    A complaint may quote a request, over several lines that each look like one. Kept whole are
    figures, places in the code, and what tells of a GPU's failure; of other complaints where in
    vLLM they come from, and an exception's name.
    """
    head = _HEAD.match(line)
    assert head is not None
    level, message = head["level"], line[head.end() :]
    if level in (None, "DEBUG"):
        return None
    if _KEPT.fullmatch(message):
        return line
    if level == "INFO":
        return None
    name = _EXCEPTION.match(message)
    return f"{head[0]}{name[0]} {WITHHELD}" if name else f"{head[0]}{WITHHELD}"


# ---- Why it ended ----

_FILE = "The files are damaged or incomplete: fetch them again"
_SETUP = "Run scripts/setup --vllm again, or name another Python in HOLDFAST_VLLM_PYTHON"
_GPU = "Look at the GPU with holdfast doctor, and at the kernel's log for Xid messages"

_RULES = rules((
    (r"out of memory|OutOfMemoryError|No available memory for the cache blocks"
     r"|is less than desired|less than requested memory for kv"
     r"|larger than the available KV cache memory|exceeds available Mamba cache"
     r"|can't allocate memory|Cannot allocate memory|not enough memory|MemoryError|bad_alloc",
     "memory", FREE_MEMORY),
    (r"Model architectures .* (?:not supported|failed)|does not recognize this architecture"
     r"|not supported on current platform|Unknown quantization|Minimum capability"
     r"|is not supported (?:for|by|on|in|with) |is currently not supported",
     "unsupported", "Choose another build for this machine, or a newer vLLM: scripts/setup --vllm"),
    (r"Safetensor(?:s)?Error|HeaderTooLarge|InvalidHeader|does not appear to have a file named"
     r"|Cannot find any model weights|Can't load (?:the )?(?:tokenizer|configuration|config)"
     r"|were not initialized from checkpoint|Invalid repository ID or local directory"
     r"|(?:size|shape) mismatch|No such file or directory: '[^']*\.(?:safetensors|json)",
     "weights", _FILE),
    (r"unrecognized arguments|: error: argument|invalid tool call parser"
     r"|invalid reasoning parser",
     "program", "This vLLM does not know a flag of ours: run scripts/setup --vllm"),
    (r"No module named|ModuleNotFoundError|ImportError|error while loading shared libraries"
     r"|symbol lookup error|undefined symbol|GLIBC\w* not found",
     "program", _SETUP),
    (r"Address already in use|AF_UNIX path too long",
     "socket", "Look whether another Holdfast uses the same home"),
    (r"CUDA error|NCCL error|no CUDA-capable device|Failed to infer device type|NVML"
     r"|CUDA driver",
     "gpu", _GPU),
))  # fmt: skip
_CONSEQUENCES = re.compile(
    r"See root cause above|Engine core initialization failed|EngineDeadError|WorkerProc init"
)
_ERROR = re.compile(r"[\w.]*(?:Error|Exception|Interrupt)\b.*|.*: error: .*")


def classify(lines: Sequence[str], status: int, *, was_ready: bool) -> Failure:
    """Why an engine ended with exit `status` (negative: by that signal) and these last `lines`.

    Errors are looked for before all else, the first of them first: what follows it is mostly its
    consequence.
    """
    texts = [line[_HEAD.match(line).end() :].strip() for line in lines]  # type: ignore[union-attr]
    errors = [text for text in texts if _ERROR.fullmatch(text) and not _CONSEQUENCES.search(text)]
    found = first_rule(_RULES, (*errors, *texts), was_ready=was_ready)
    return found or by_status(status, errors, rebuild=_SETUP, was_ready=was_ready)


# ---- What it has done ----

_COUNTERS = re.compile(r"^(?P<name>vllm:\w+)\{[^}]*\} (?P<value>[\d.e+-]+)$", re.MULTILINE)


def work(metrics: str) -> Work:
    """What it has computed since it started, from its Prometheus page (`/metrics`)."""
    sums: dict[str, float] = {}
    for found in _COUNTERS.finditer(metrics):
        sums[found["name"]] = sums.get(found["name"], 0.0) + float(found["value"])
    return Work(
        prompt_tokens=int(sums.get("vllm:request_prefill_kv_computed_tokens_sum", 0)),
        prompt_seconds=sums.get("vllm:request_prefill_time_seconds_sum", 0.0),
        tokens=int(sums.get("vllm:request_generation_tokens_sum", 0)),
        seconds=sums.get("vllm:request_decode_time_seconds_sum", 0.0),
        cache=sums.get("vllm:kv_cache_usage_perc", 0.0),
    )
