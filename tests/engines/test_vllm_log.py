"""Lines that vLLM 0.32 really wrote on a CPU; those of GPUs from its source and issues."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.program import Buffer, LogEvent, Stage
from server.engines.vllm_log import LogReader, classify, discreet, work
from server.units import GIB

GPUS = ("GPU-a", "GPU-b", "GPU-c", "GPU-d")
API = "(APIServer pid=30163) INFO 11-21 07:29:15 "
CORE = "(EngineCore pid=30312) INFO 11-21 07:29:30 "
WORKER = "(Worker pid=30572) INFO 11-21 07:29:29 "


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (API + "[api_utils.py:286] non-default args: {'uds': '/run/v.sock'}", Stage("starting")),
        (
            WORKER + "[cpu_model_runner.py:68] Starting to load model /models/x...",
            Stage("reading weights"),
        ),
        (
            WORKER + "[default_loader.py:501] Loading weights took 0.04 seconds",
            Stage("reserving memory"),
        ),
        (
            WORKER + "[cpu_worker.py:260] Explicitly set (1.0/23.54) GiB for KV cache on node 0.",
            Buffer("CPU", "KV", GIB),
        ),
        (
            CORE + "[kv_cache_utils.py:2327] CPU KV cache size: 599,186 tokens, Maximum "
            "concurrency for 2,048 tokens per request: 292.57x",
            Stage("reserving memory"),
        ),
        (
            CORE + "[core.py:402] init engine (profile, create kv cache, warmup model) took 2.63 s",
            Stage("warming up"),
        ),
        ("INFO:     Application startup complete.", Stage("ready")),
        (API + "[launcher.py:195] Route: /health, Methods: GET", None),
        ("Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00]", None),
        ("  warnings.warn(", None),
        ("", None),
    ],
)
def test_events_on_a_cpu(line: str, event: LogEvent | None) -> None:
    assert LogReader().feed(line) == event


@pytest.mark.parametrize(
    ("process", "tensor_parallel", "device"),
    [
        ("EngineCore", 1, "CUDA0"),
        ("Worker_TP0", 2, "CUDA0"),
        ("Worker_TP1", 2, "CUDA1"),
        ("Worker_PP1_TP0", 2, "CUDA2"),
        ("Worker_PP1_TP1_EP1", 2, "CUDA3"),
        ("Worker_PP1", 1, "CUDA1"),
    ],
)
def test_memory_of_gpus(process: str, tensor_parallel: int, device: str) -> None:
    reader = LogReader(GPUS, tensor_parallel=tensor_parallel, kv_cache=5 * GIB + 12345)
    head = f"({process} pid=7) INFO 11-21 07:22:33 "
    loaded = head + "[gpu_model_runner.py:5149] Model loading took 16.8 GiB memory and 9.5 seconds"
    assert reader.feed(loaded) == Buffer(device, "model", round(16.8 * GIB))
    reserved = (
        head + "[gpu_worker.py:655] Initial free memory 78.59 GiB, reserved 5.0 GiB memory "
        "for KV Cache as specified by kv_cache_memory_bytes config and skipped memory profiling."
    )
    assert reader.feed(reserved) == Buffer(device, "KV", 5 * GIB + 12345), "what it was given"
    graphs = head + "[gpu_model_runner.py:6582] Graph capturing finished in 12 secs, took 0.71 GiB"
    assert reader.feed(graphs) == Buffer(device, "graphs", round(0.71 * GIB))


def test_progress_only_grows() -> None:
    reader = LogReader(GPUS)
    assert reader.progress(0, 100) == 0
    lines = [
        API + "[api_utils.py:286] non-default args: {}",
        WORKER + "[gpu_model_runner.py:5039] Starting to load model /models/x...",
        "Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]",
        "Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:09<00:09]",
        "Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:18<00:00]",
        WORKER + "[gpu_model_runner.py:5149] Model loading took 16.8 GiB memory and 9.5 seconds",
        "Capturing CUDA graphs (decode, FULL):  25%|##    | 1/4 [00:01<00:03]",
        WORKER + "[gpu_model_runner.py:5039] Starting to load model /models/draft...",
        "INFO:     Application startup complete.",
    ]
    seen = []
    for line in lines:
        reader.feed(line)
        seen.append(reader.progress(10**9, 100))
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[3] < seen[4] < seen[6] < seen[8] < 1


ERROR = "(EngineCore pid=9) ERROR 11-21 07:23:01 [core.py:1370] "
END = "(APIServer pid=8) RuntimeError: Engine core initialization failed. See root cause above."


@pytest.mark.parametrize(
    ("lines", "status", "cause", "why", "permanent"),
    [
        (
            [
                ERROR + "EngineCore failed to start.",
                ERROR + "Traceback (most recent call last):",
                ERROR + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
                END,
            ],
            1, "memory", "Tried to allocate 2.00 GiB", True,
        ),
        (
            [ERROR + "ValueError: Free memory on device cuda:0 (3.1/23.5 GiB) on startup is less "
             "than desired GPU memory utilization (0.92, 21.6 GiB).", END],
            1, "memory", "3.1/23.5 GiB", True,
        ),
        (
            [ERROR + "ValueError: max_num_seqs (256) exceeds available Mamba cache blocks (161).",
             END],
            1, "memory", "(161)", True,
        ),
        (
            [ERROR + "ValueError: To serve at least one request with the model's max seq len "
             "(262144), (16.0 GiB KV cache is needed, which is larger than the available KV cache "
             "memory (4.0 GiB).", END],
            1, "memory", "16.0 GiB", True,
        ),
        (
            [ERROR + "ValueError: Available memory on node 0 (21.4/23.5 GiB) on kv cache "
             "allocation is less than requested memory for kv (64.0 GiB). Decrease "
             "--kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory.", END],
            1, "memory", "21.4/23.5 GiB", True,
        ),
        (
            ["ValueError: Model architectures ['Qwen9'] are not supported for now."],
            1, "unsupported", "Qwen9", True,
        ),
        (
            [ERROR + "safetensors_rust.SafetensorError: Error while deserializing header: "
             "HeaderTooLarge", END],
            1, "weights", "HeaderTooLarge", True,
        ),
        (
            ["OSError: Can't load the configuration of '/models/x'."],
            1, "weights", "configuration", True,
        ),
        (
            ["api_server.py: error: unrecognized arguments: --kv-cache-memory-bytes"],
            2, "program", "unrecognized arguments", True,
        ),
        (
            ["/opt/bin/python: Error while finding module specification for 'vllm.entrypoints."
             "openai.api_server' (ModuleNotFoundError: No module named 'vllm')"],
            1, "program", "No module named 'vllm'", True,
        ),
        (
            ["OSError: [Errno 98] Address already in use"], 1, "socket", "already in use", False,
        ),
        (
            [ERROR + "torch.AcceleratorError: CUDA error: an illegal memory access was "
             "encountered"],
            1, "gpu", "illegal memory access", False,
        ),
        ([ERROR + "RuntimeError: something new", END], 1, "unknown", "something new", False),
        ([END], 1, "unknown", "exit status 1", False),
        ([], -signal.SIGKILL, "killed", "kernel", False),
        ([], -signal.SIGILL, "program", "instructions", True),
    ],
)  # fmt: skip
def test_last_words(lines: list[str], status: int, cause: str, why: str, permanent: bool) -> None:
    failure = classify(lines, status, was_ready=False)
    assert (failure.cause, failure.permanent) == (cause, permanent)
    assert why in failure.why
    assert "pid=" not in failure.why
    assert failure.next_step
    assert not classify(lines, status, was_ready=True).permanent


# ---- Discretion ----

SECRET = "my secret"


@pytest.mark.parametrize(
    "line",
    [
        API + "[loggers.py:335] Engine 000: Avg prompt throughput: 381.3 tokens/s, Avg generation "
        "throughput: 364.4 tokens/s, Running: 0 reqs, Waiting: 0 reqs, CPU KV cache usage: 0.0%, "
        "Prefix cache hit rate: 43.1%",
        ERROR + "Traceback (most recent call last):",
        ERROR + '  File "/opt/vllm/v1/engine/core.py", line 1359, in run_engine_core',
        ERROR + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ERROR + "EngineCore encountered a fatal error.",
    ],
)
def test_what_tells_of_work_and_failure_is_kept(line: str) -> None:
    assert discreet(line) == line


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"{ERROR}ValueError: bad: {SECRET}", f"{ERROR}ValueError: [withheld]"),
        (f"{ERROR}{SECRET}", f"{ERROR}[withheld]"),
        (f"{ERROR}KeyError: '{SECRET}'", f"{ERROR}KeyError: [withheld]"),
        (f"{API}[logger.py:40] Received request: prompt: {SECRET}", None),
        (f"INFO:      - POST /v1/chat {SECRET}", None),
        (f"(APIServer pid=1) {SECRET}", None),
        (f'    raise ValueError("{SECRET}")', None),
        (SECRET, None),
        ("", None),
    ],
)
def test_what_is_quoted_is_not_kept(line: str, kept: str | None) -> None:
    assert discreet(line) == kept


@given(st.text(max_size=40), st.sampled_from([API, "", "INFO:     ", "  ", "(Worker pid=1) "]))
def test_no_text_of_a_client_is_a_line_that_is_kept(text: str, before: str) -> None:
    assert discreet(f"{before}canary {text}") is None


def test_work_is_read_from_its_counters() -> None:
    page = """
# HELP vllm:request_prefill_kv_computed_tokens Number of prefill tokens processed.
vllm:request_prefill_kv_computed_tokens_sum{engine="0",model_name="demo"} 66.0
vllm:request_prefill_kv_computed_tokens_count{engine="0",model_name="demo"} 3.0
vllm:request_prefill_time_seconds_sum{engine="0",model_name="demo"} 0.0533
vllm:request_generation_tokens_sum{engine="0",model_name="demo"} 36.0
vllm:request_decode_time_seconds_sum{engine="0",model_name="demo"} 1.8e-01
vllm:kv_cache_usage_perc{engine="0",model_name="demo"} 0.0125
"""
    found = work(page)
    assert found.cache == 0.0125
    assert found != work(page.replace("0.0125", "0.025")), "part of a long prompt was read"
    assert (found.prompt_tokens, found.tokens) == (66, 36)
    assert found.decode == pytest.approx(200)
    assert work("").prefill is None
