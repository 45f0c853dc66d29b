"""Lines that llama-server really wrote (llama.cpp 0c1e570 on a CPU; CUDA lines from its issues)."""

from __future__ import annotations

import signal

import pytest

from server.engines.llama_log import (
    LogReader,
    classify,
    loaded_fraction,
    work,
)
from server.engines.program import Buffer, LogEvent, Stage
from server.units import MIB


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "I load_tensors:   CPU_Mapped model buffer size =     0.77 MiB",
            Buffer("CPU_Mapped", "model", 807404),
        ),
        (
            "I load_tensors:        CUDA0 model buffer size = 15317.08 MiB",
            Buffer("CUDA0", "model", 16061122478),
        ),
        (
            "I llama_context:  CUDA_Host  output buffer size =     3.79 MiB",
            Buffer("CUDA_Host", "output", 3974103),
        ),
        ("I llama_kv_cache:        CPU KV buffer size =     0.50 MiB", Buffer("CPU", "KV", 524288)),
        (
            "I llama_memory_recurrent:        CPU RS buffer size =     0.03 MiB",
            Buffer("CPU", "RS", 31457),
        ),
        (
            "I sched_reserve:        CPU compute buffer size =     2.39 MiB",
            Buffer("CPU", "compute", 2506097),
        ),
        (
            "I load_tensors: loading model tensors, this can take a while... (load_mode = mmap)",
            Stage("reading weights"),
        ),
        ("I llama_context: constructing llama_context", Stage("reserving memory")),
        (
            "I cmn  common_init_: warming up the model with an empty run - please wait ...",
            Stage("warming up"),
        ),
        ("I srv  llama_server: listening on unix:///run/x.sock", Stage("ready")),
        ("main: server is listening on unix:///run/x.sock", Stage("ready")),
        ("I srv  update_slots: all slots are idle", None),
        ("D sched: CPU compute buffer size is 2.3900 MiB, matches expectation", None),
        ("model buffer size = huge MiB", None),
        ("", None),
    ],
)
def test_events(line: str, event: LogEvent | None) -> None:
    assert LogReader().feed(line) == event


OUT_OF_MEMORY = [
    "I load_tensors: loading model tensors, this can take a while... (load_mode = mmap)",
    "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 15317.08 MiB on device 0: "
    "cudaMalloc failed: out of memory",
    "ggml/src/ggml.c:1644: GGML_ASSERT(ctx->mem_buffer != NULL) failed",
    "E alloc_tensor_range: failed to allocate CUDA0 buffer of size 16061122478",
    "E llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    "E srv  llama_server: exiting due to model loading error",
]
UNKNOWN = [
    "E llama_model_load: error loading model: error loading model architecture: "
    "unknown model architecture: 'qwen9'",
    "E srv    load_model: failed to load model, '/models/x.gguf'",
]
CORRUPT = [
    "E llama_model_load: error loading model: missing tensor 'blk.0.attn_norm.weight'",
    "E srv    load_model: failed to load model, '/models/x.gguf'",
]
LIBRARY = [
    "/opt/llama-server: error while loading shared libraries: libmtmd.so: "
    "cannot open shared object file: No such file or directory"
]


WITHOUT_MTP = [
    "W llama_init_from_model: context type MTP requested but model doesn't contain MTP layers",
    "E common_speculative_init_result: failed to create MTP context",
    "E srv    load_model: failed to create MTP context",
]


@pytest.mark.parametrize(
    ("lines", "status", "cause", "why", "permanent"),
    [
        (WITHOUT_MTP, 1, "unsupported", "failed to create MTP context", True),
        (OUT_OF_MEMORY, 1, "memory", "15317.08 MiB on device 0", True),
        (UNKNOWN, 1, "unsupported", "unknown model architecture: 'qwen9'", True),
        (CORRUPT, 1, "weights", "missing tensor 'blk.0.attn_norm.weight'", True),
        (["error: invalid argument: --fit"], 1, "program", "--fit", True),
        (LIBRARY, 127, "program", "libmtmd.so", True),
        ([], -signal.SIGILL, "program", "instructions", True),
        ([], -signal.SIGKILL, "killed", "kernel", False),
        ([], -signal.SIGSEGV, "unknown", "signal SIGSEGV", False),
        ([], 3, "unknown", "exit status 3", False),
        (["E something new"], 3, "unknown", "something new", False),
        (["E CUDA error: an illegal memory access"], -6, "gpu", "illegal memory access", False),
        (["E srv start: couldn't bind HTTP server socket"], 1, "socket", "couldn't bind", False),
    ],
)
def test_last_words(lines: list[str], status: int, cause: str, why: str, permanent: bool) -> None:
    failure = classify(lines, status, was_ready=False)
    assert (failure.cause, failure.permanent) == (cause, permanent)
    assert why in failure.why
    assert not failure.why.startswith("E ")
    assert failure.next_step


def test_an_engine_that_has_worked_may_work_again() -> None:
    assert not classify(OUT_OF_MEMORY, -6, was_ready=True).permanent


@pytest.mark.parametrize(
    ("resident", "weights", "fraction"),
    [(0, 100, 0.0), (25, 100, 0.25), (100, 100, 0.99), (900, 100, 0.99), (5, 0, 0.0)],
)
def test_loaded_fraction(resident: int, weights: int, fraction: float) -> None:
    assert loaded_fraction(resident, weights) == fraction


def test_what_was_reserved_is_added_up_by_device() -> None:
    reader = LogReader(["GPU-a", "GPU-b"])
    for line in (
        "I load_tensors:        CUDA1 model buffer size =   100.00 MiB",
        "I llama_kv_cache:      CUDA1 KV buffer size =     8.00 MiB",
        "I llama_kv_cache:        CPU KV buffer size =     2.00 MiB",
    ):
        reader.feed(line)
    assert reader.reserved() == {
        ("GPU-b", "weights"): 100 * MIB,
        ("GPU-b", "kv_cache"): 8 * MIB,
        ("ram", "kv_cache"): 2 * MIB,
    }
    assert reader.filled == 2 * MIB


def test_work_is_read_from_its_counters() -> None:
    page = """
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
llamacpp:prompt_tokens_total 21
llamacpp:prompt_seconds_total 0.007
llamacpp:tokens_predicted_total 16
llamacpp:tokens_predicted_seconds_total 4e-02
"""
    found = work(page)
    assert (found.prompt_tokens, found.tokens) == (21, 16)
    assert found.prefill == pytest.approx(3000)
    assert found.decode == pytest.approx(400)
    assert work("").decode is None
