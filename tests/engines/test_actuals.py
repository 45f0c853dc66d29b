"""What engines say of their memory, in the planner's terms."""

from __future__ import annotations

from server.engines.actuals import LlamaServerLog, Resident, vllm_reserved, with_process
from server.engines.program import Buffer
from server.planning.footprint import RAM
from server.units import GIB, MIB

A, B = "GPU-a", "GPU-b"

ON_CPU = """\
I load_tensors:   CPU_Mapped model buffer size =   494.32 MiB
I load_tensors:   CPU_REPACK model buffer size =   209.00 MiB
I llama_context: constructing llama_context
I llama_context:        CPU  output buffer size =     3.79 MiB
I llama_kv_cache:        CPU KV buffer size =   192.00 MiB
I llama_memory_recurrent:        CPU RS buffer size =    77.06 MiB
I sched_reserve:        CPU compute buffer size =    46.58 MiB
I sched_reserve: graph: nodes = 1423, splits = 1, input objects = 4, input tensors = 7
"""

DRAFTING_AND_SEEING = """\
I llama_context: constructing llama_context
I llama_context:        CPU  output buffer size =     0.95 MiB
I llama_kv_cache:        CPU KV buffer size =     8.00 MiB
I sched_reserve:        CPU compute buffer size =    27.02 MiB
I sched_reserve:        CPU compute buffer size =    27.02 MiB
I load_hparams: model size:       195.50 MiB
I reserve_compute_meta:        CPU compute buffer size =   161.31 MiB
"""

ON_TWO_GPUS = """\
I load_tensors:   CPU_Mapped model buffer size =   257.66 MiB
I load_tensors:        CUDA0 model buffer size =   400.00 MiB
I load_tensors:        CUDA1 model buffer size =   363.78 MiB
I llama_context: constructing llama_context
I llama_context:  CUDA_Host  output buffer size =     3.79 MiB
I llama_kv_cache:      CUDA0 KV buffer size =    16.00 MiB
I llama_kv_cache:      CUDA1 KV buffer size =     8.00 MiB
I llama_memory_recurrent:      CUDA1 RS buffer size =    77.06 MiB
I sched_reserve:      CUDA0 compute buffer size =    42.58 MiB
I sched_reserve:      CUDA1 compute buffer size =    40.00 MiB
I sched_reserve:  CUDA_Host compute buffer size =     6.02 MiB
"""


def read(text: str, *gpus: str) -> LlamaServerLog:
    log = LlamaServerLog(gpus)
    for line in text.splitlines():
        log.feed(line)
    return log


def mib(log: LlamaServerLog) -> dict[tuple[str, str], float]:
    return {key: round(size / MIB, 2) for key, size in log.reserved().items()}


def test_a_log_of_the_cpu() -> None:
    """A copy in another layout takes the place of mapped pages: it is not counted again."""
    log = read(ON_CPU)
    assert mib(log) == {
        (RAM, "weights"): 494.32,
        (RAM, "output"): 3.79,
        (RAM, "kv_cache"): 192.0,
        (RAM, "state"): 77.06,
        (RAM, "compute"): 46.58,
    }
    assert round(log.filled / MIB, 2) == 481.85


def test_copies_behind_the_last_mapped_page_count() -> None:
    """As with 0.8B in Q4_0, whose last tensors are all copied."""
    lines = ON_CPU.splitlines()
    lines[:2] = [
        "I print_info: file size   = 468.02 MiB (5.22 BPW) ",
        "I load_tensors:   CPU_Mapped model buffer size =   461.86 MiB",
        "I load_tensors:   CPU_REPACK model buffer size =   266.94 MiB",
    ]
    assert mib(read("\n".join(lines)))[RAM, "weights"] == 468.02
    whole = lines[0].replace("468.02 MiB", "0.90 GiB")  # not all of a file need be loaded
    assert mib(read("\n".join([whole, *lines[1:]])))[RAM, "weights"] == 461.86 + 266.94


def test_what_drafts_and_what_sees_is_told_apart() -> None:
    log = mib(read(ON_CPU + DRAFTING_AND_SEEING))
    assert log[RAM, "mtp"] == 35.97  # a context that reserves again takes no more
    assert log[RAM, "compute"] == 46.58
    assert log[RAM, "kv_cache"] == 192.0
    # It warms up with an image of 46 x 46 tokens; the largest has 4,096.
    assert log[RAM, "vision"] == round(195.50 + 161.31 * 4096 / 46**2, 2)


def test_a_log_of_two_gpus() -> None:
    assert mib(read(ON_TWO_GPUS, A, B)) == {
        (RAM, "weights"): 257.66,
        (A, "weights"): 400.0,
        (B, "weights"): 363.78,
        (RAM, "output"): 3.79,
        (A, "kv_cache"): 16.0,
        (B, "kv_cache"): 8.0,
        (B, "state"): 77.06,
        (A, "compute"): 42.58,
        (B, "compute"): 40.0,
        (RAM, "compute"): 6.02,
    }


def test_the_process_is_what_is_left() -> None:
    log = read(ON_CPU)
    lies = Resident(anonymous=573 * MIB, weights=494 * MIB, other_files=15 * MIB, shared=MIB)
    found = with_process(log.reserved(), log.filled, lies, {})
    assert round(found[RAM, "process"] / MIB, 2) == 107.15
    assert with_process({}, 0, None, {}) == {}
    assert with_process({}, 5, Resident(1, 0, 1), {}) == {(RAM, "process"): 0}


def test_the_drivers_context_is_what_is_left_on_a_gpu() -> None:
    log = read(ON_TWO_GPUS, A, B)
    found = with_process(log.reserved(), 0, None, {A: 900 * MIB, B: 100 * MIB})
    assert round(found[A, "context"] / MIB, 2) == 441.42
    assert found[B, "context"] == 0


def test_what_vllm_logs() -> None:
    buffers = [
        Buffer("CUDA0", "model", 16 * GIB),
        Buffer("CUDA1", "model", 15 * GIB),
        Buffer("CUDA0", "KV", 7 * GIB),
        Buffer("CUDA0", "KV", 8 * GIB),
        Buffer("CUDA0", "graphs", GIB),
    ]
    assert vllm_reserved(buffers, [A, B]) == {
        (A, "weights"): 16 * GIB,
        (B, "weights"): 15 * GIB,
        (A, "kv_cache"): 8 * GIB,
        (A, "graphs"): GIB,
    }
    assert vllm_reserved([Buffer("CPU", "KV", GIB)], []) == {(RAM, "kv_cache"): GIB}
