"""How `llama-server` is launched: the Program of that kind. What it says is read by llama_log.py.

The flags are those of llama.cpp's common/arg.cpp; whatever it would otherwise decide by itself
(what fits, how many slots, the network) is decided here, so that what was planned is what runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.catalogue import EngineName
from server.engines import discretion, llama_log
from server.engines.failure import Failure
from server.engines.program import Work
from server.planning.deployment import CHECKPOINTS, PROMPT_CACHE, KvType
from server.store.gguf import read_parts
from server.units import MIB

SOCKET_SUFFIX = ".sock"  # by which llama-server knows a UNIX socket from a host name
CONTEXT_STEP = 256  # llama-context.cpp rounds each sequence's context up to a multiple of this

_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "LD_LIBRARY_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that decides how one llama-server runs.

    Raises ValueError for what can only be a mistake of ours: paths must be absolute, because an
    engine runs in the root folder, and counts at least 1.
    """

    binary: Path
    model_file: Path
    """The GGUF file; of a split one, the first part."""
    alias: str
    socket: Path
    """Absolute, ending in `.sock`."""
    context: int
    """Tokens of each slot, prompt and answer together."""
    slots: int
    threads: int
    """CPU cores to compute on."""
    mmproj: Path | None = None
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs to use, as NVML gives them; empty: the CPU alone."""
    gpu_layers: int | None = None
    """Layers on the GPUs, the last ones, the output counted as one more; None: all."""
    layer_split: tuple[int, ...] = ()
    """Of these the layers on each GPU, in order; empty: llama-server's own split."""
    cpu_experts: int = 0
    """The first layers whose experts stay in RAM."""
    kv_type: KvType = "f16"
    draft_tokens: int = 0
    """Tokens drafted at each step by the model's own multi-token-prediction layer; 0: none."""
    checkpoints: int = CHECKPOINTS
    """Copies of the recurrent state kept per slot in RAM, from which a prompt that continues an
    earlier one is resumed (llama.cpp pull request 15293; its own default is 32)."""
    prompt_cache: int = PROMPT_CACHE
    """Bytes of RAM for prompts that lost their slot (its own default is 8 GiB)."""
    embeddings: bool = False
    """Whether it makes embeddings as well as answers."""
    version: str = ""
    """Of the binary, where it is known."""

    def __post_init__(self) -> None:
        paths = [self.binary, self.model_file, self.socket, *([self.mmproj] if self.mmproj else [])]
        relative = [str(path) for path in paths if not path.is_absolute()]
        if relative or self.socket.suffix != SOCKET_SUFFIX:
            raise ValueError(f"not absolute: {relative}, or not {SOCKET_SUFFIX}: {self.socket}")
        if min(self.context, self.slots, self.threads) < 1:
            raise ValueError(f"{self.context=}, {self.slots=} and {self.threads=} must be positive")
        if len(self.layer_split) not in (0, len(self.gpus)):
            raise ValueError(f"{self.layer_split=} is not one positive number for each of its GPUs")

    @property
    def total_context(self) -> int:
        """Tokens of all slots: what `-c` means when the KV cache is not unified."""
        padded = -(-self.context // CONTEXT_STEP) * CONTEXT_STEP
        return padded * self.slots

    @property
    def engine(self) -> EngineName:
        return "llama-server"

    @property
    def health_path(self) -> str:
        return "/health"

    @property
    def metrics_path(self) -> str:
        return "/metrics"

    @property
    def sleep(self) -> None:
        """It cannot: its weights are mapped from the disk, which keeps them at least as well."""
        return

    def argv(self) -> list[str]:
        return argv(self)

    def environment(self, parent: Mapping[str, str]) -> dict[str, str]:
        return environment(parent, self.gpus)

    def check_files(self) -> int:
        files = [file for file in (self.model_file, self.mmproj) if file]
        return sum(part.file_bytes for file in files for part in read_parts(file))

    def reader(self) -> llama_log.LogReader:
        return llama_log.LogReader(self.gpus)

    def classify(self, lines: Sequence[str], status: int, *, was_ready: bool) -> Failure:
        return llama_log.classify(lines, status, was_ready=was_ready)

    def discreet(self, line: str) -> str | None:
        return discretion.discreet(line)

    def work(self, metrics: str) -> Work:
        return llama_log.work(metrics)


def argv(launch: Launch) -> list[str]:
    """The command line of `launch`."""
    return [
        str(launch.binary),
        *("--host", str(launch.socket)),
        *("--model", str(launch.model_file)),
        *("--alias", launch.alias),
        *_capacity(launch),
        *_placement(launch),
        *_drafting(launch),
        # With another pooling it refuses inputs longer than its physical batch.
        *(("--embeddings", "--pooling", "last") if launch.embeddings else ()),
        *(("--mmproj", str(launch.mmproj)) if launch.mmproj else ("--no-mmproj",)),
        *("--jinja", "--reasoning-format", "deepseek"),
        # A trailing assistant message is answered, as OpenAI does, and not continued.
        "--no-prefill-assistant",
        *("--metrics", "--slots", "--no-ui", "--offline"),
        # Buffer sizes are logged at level 4; the prefix marks errors; times are the log file's.
        *("--verbosity", "4", "--log-prefix", "--no-log-timestamps", "--log-colors", "off"),
    ]


def environment(parent: Mapping[str, str], gpus: Sequence[str] = ()) -> dict[str, str]:
    """What of Holdfast's environment the engine gets: an allow-list, so no key is ever in it.

    `LLAMA_ARG_*` would change flags and `AIP_*` the address; they stay behind as well. Of the GPUs
    it sees exactly `gpus`: on one that it does not use, a CUDA build would still take memory.
    """
    passed_on = {name: parent[name] for name in _PASSED_ON if name in parent}
    return passed_on | {
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        # A backtrace by a debugger would write the arguments of functions, and so prompts, to the
        # log.
        "GGML_NO_BACKTRACE": "1",
        # What its own decoder refuses it would give to the ffprobe and ffmpeg on the PATH
        # (tools/mtmd/mtmd-helper.cpp): no client's bytes are to reach those.
        "LLAMA_ARG_VIDEO_FFMPEG_DIR": "/nonexistent",
    }


def _capacity(launch: Launch) -> list[str]:
    return [
        *("--parallel", str(launch.slots)),
        *("--ctx-size", str(launch.total_context)),
        # Unified, one long request could take the context that was promised to the others.
        "--no-kv-unified",
        "--no-context-shift",
        *("--ctx-checkpoints", str(launch.checkpoints)),
        *("--cache-ram", str(launch.prompt_cache // MIB)),
        *("--cache-type-k", launch.kv_type, "--cache-type-v", launch.kv_type),
        # One thread serves one connection, those of clients that have just left included.
        *("--threads-http", str(2 * launch.slots + 8)),
        *("--timeout", "3600"),
    ]


def _placement(launch: Launch) -> list[str]:
    flags = ["--fit", "off", "--threads", str(launch.threads)]
    if not launch.gpus:
        return [*flags, "--device", "none"]
    # Numbered among those that CUDA_VISIBLE_DEVICES lets it see, in that order.
    devices = ",".join(f"CUDA{number}" for number in range(len(launch.gpus)))
    layers = "all" if launch.gpu_layers is None else str(launch.gpu_layers)
    flags += ["--device", devices, "--gpu-layers", layers]
    if len(launch.gpus) > 1:
        flags += ["--split-mode", "layer"]
    if launch.layer_split:
        # Shares whose sum is the number of layers: llama-model.cpp then gives each GPU just those.
        flags += ["--tensor-split", ",".join(str(count) for count in launch.layer_split)]
    if launch.cpu_experts:
        flags += ["--n-cpu-moe", str(launch.cpu_experts)]
    return flags


def _drafting(launch: Launch) -> list[str]:
    if not launch.draft_tokens:
        return []
    return ["--spec-type", "draft-mtp", "--spec-draft-n-max", str(launch.draft_tokens)]
