"""What a kind of engine is to its supervisor: one protocol, and the words that it speaks in.

A program is a frozen value, complete at launch: no request ever adds to it. `llama_server.Launch`
and `vllm.Launch` are the two that exist; engine.py knows neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from server.catalogue import EngineName
from server.engines.failure import Failure
from server.planning.footprint.component import Component

Kind = Literal["model", "KV", "RS", "compute", "output", "graphs"]

StageName = Literal[
    "starting",
    "reading weights",
    "reserving memory",
    "compiling",
    "capturing graphs",
    "warming up",
    "ready",
]


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that the engine reserved."""

    device: str
    """As the engine names it: CPU, CPU_Mapped, CUDA0, CUDA_Host, ..."""
    kind: Kind
    """Weights, KV cache, recurrent state, compute graph, logits, CUDA graphs."""
    bytes: int
    """As exact as it is logged."""


@dataclass(frozen=True, slots=True)
class Stage:
    """How far the engine has come."""

    name: StageName


LogEvent = Buffer | Stage

Reserved = Mapping[tuple[str, Component], int]
"""Bytes by device id and component."""


class LogReader(Protocol):
    """Reads the log of one process while it loads."""

    def feed(self, line: str) -> LogEvent | None:
        """The event in one line, if there is one."""
        ...

    def progress(self, resident: int, weights: int) -> float:
        """How much of loading is done, 0 to 0.99.

        `resident`: bytes of RAM of its first process; `weights`: bytes of the weight files.
        """
        ...

    def reserved(self) -> Reserved:
        """What the engine said that it has reserved, by device and component."""
        ...

    @property
    def filled(self) -> int:
        """Bytes of RAM that it reserved and has written to."""
        ...


@dataclass(frozen=True, slots=True)
class Sleep:
    """How an engine is put to sleep and woken, and what must come out the same before and after.

    Paths are asked with POST. The probe is a request to `probe_path` with `probe_body`, greedy, so
    that its answer's `choices` say whether the weights came back as they were.
    """

    sleep_path: str
    wake_path: str
    probe_path: str
    probe_body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine has computed since it started: tokens, and the seconds that they took.

    Seconds of requests that ran side by side add up: the quotient is the speed of one request.
    """

    prompt_tokens: int
    """Read anew; those found in a cache are not among them where the engine tells them apart."""
    prompt_seconds: float
    tokens: int
    """Generated."""
    seconds: float
    steps: int = 0
    """Batches, where it tells: they go on in the midst of a long prompt, whose tokens are counted
    only when it has been read."""
    cache: float = 0.0
    """Part of its cache that is in use, where it tells: that too changes in the midst of a prompt,
    with each part of it that was read."""

    @property
    def prefill(self) -> float | None:
        """Prompt tokens per second; None where nothing was measured."""
        return self.prompt_tokens / self.prompt_seconds if self.prompt_seconds > 0 else None

    @property
    def decode(self) -> float | None:
        """Generated tokens per second of one request; None where nothing was measured."""
        return self.tokens / self.seconds if self.seconds > 0 else None


class Program(Protocol):
    """How one engine is launched and understood."""

    @property
    def engine(self) -> EngineName: ...

    @property
    def version(self) -> str:
        """Of the engine's program, as it says itself; empty if it was not asked."""
        ...

    @property
    def socket(self) -> Path:
        """The UNIX socket on which it will listen: absolute."""
        ...

    @property
    def context(self) -> int:
        """Tokens of each slot, prompt and answer together."""
        ...

    @property
    def slots(self) -> int:
        """Sequences that it works on at once."""
        ...

    @property
    def gpus(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that it uses, in its own order."""
        ...

    @property
    def health_path(self) -> str:
        """What answers 200 to GET once the engine is ready."""
        ...

    @property
    def metrics_path(self) -> str:
        """Its counters, in Prometheus' text format."""
        ...

    @property
    def sleep(self) -> Sleep | None:
        """None: this engine cannot sleep."""
        ...

    def argv(self) -> list[str]:
        """The command line."""
        ...

    def environment(self, parent: Mapping[str, str]) -> dict[str, str]:
        """The whole environment, made of what may be passed on of `parent`; no key is in it."""
        ...

    def check_files(self) -> int:
        """Bytes of the weight files, whose headers are checked first: I/O, for a thread.

        Raises StoreError if one is absent or malformed: no engine sees a file that was not checked.
        """
        ...

    def reader(self) -> LogReader:
        """A new reader, for a process that begins."""
        ...

    def classify(self, lines: Sequence[str], status: int, *, was_ready: bool) -> Failure:
        """Why it ended with exit `status` (negative: by that signal) and these last `lines`."""
        ...

    def discreet(self, line: str) -> str | None:
        """What of a line may be kept once requests run: all, its beginning, or None: nothing."""
        ...

    def work(self, metrics: str) -> Work:
        """What it has computed, from the page at `metrics_path`."""
        ...
