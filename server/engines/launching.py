"""From a planned deployment to the program that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.catalogue import Architecture
from server.engines import llama_server, vllm
from server.engines.binary import Binary
from server.engines.program import Program
from server.engines.vllm_binary import Interpreter
from server.errors import DoesNotFit, EngineMissing
from server.planning.deployment import Deployment
from server.planning.footprint.blocks import Blocks, blocks
from server.store.layout import Installed
from server.units import format_bytes


@dataclass(frozen=True, slots=True)
class Programs:
    """What this machine can launch; None: there is none that could be used."""

    llama_server: Binary | None = None
    vllm: Interpreter | None = None


def launch_of(
    deployment: Deployment,
    installed: Installed,
    architecture: Architecture,
    programs: Programs,
    *,
    socket: Path,
    threads: int,
    sleeps: bool = False,
) -> Program:
    """How `deployment` is launched with the files that were found.

    `threads`: CPU cores to compute on. `sleeps`: it may be put to sleep, which vLLM can on GPUs.
    Raises EngineMissing where this machine has no such engine, and DoesNotFit for a cache that vLLM
    would find too small when all else is loaded.
    """
    if deployment.engine == "vllm":
        if programs.vllm is None:
            raise _missing("vLLM", deployment, "Run scripts/setup --vllm")
        return _vllm(deployment, installed, architecture, programs.vllm, socket, threads, sleeps)
    if programs.llama_server is None:
        raise _missing("llama-server", deployment, "Run scripts/setup")
    return _llama_server(deployment, installed, programs.llama_server, socket, threads)


def _llama_server(
    d: Deployment, installed: Installed, binary: Binary, socket: Path, threads: int
) -> llama_server.Launch:
    return llama_server.Launch(
        binary=binary.path,
        model_file=installed.main,
        alias=d.model,
        socket=socket,
        context=d.context,
        slots=d.slots,
        threads=threads,
        mmproj=installed.mmproj if d.vision else None,
        gpus=d.gpus,
        gpu_layers=d.gpu_layers,
        layer_split=d.layer_split,
        cpu_experts=d.cpu_experts,
        kv_type=d.kv_type,
        draft_tokens=d.draft_tokens,
        checkpoints=d.checkpoints,
        prompt_cache=d.prompt_cache,
        embeddings=d.embeddings,
        version=binary.version,
    )


def _vllm(
    d: Deployment,
    installed: Installed,
    architecture: Architecture,
    interpreter: Interpreter,
    socket: Path,
    threads: int,
    sleeps: bool,
) -> vllm.Launch:
    if d.gpus and interpreter.cpu:
        raise EngineMissing(
            f"{d.build} is to run on {len(d.gpus)} GPUs, and this vLLM cannot",
            why=f"{interpreter.path} has the build for CPUs, {interpreter.version}",
            next_step="Run scripts/setup --vllm where the GPU is",
        )
    divided = blocks(d, architecture)
    size = d.kv_cache_bytes or divided.pool(d.slots)
    check_cache(d, divided, size)
    return vllm.Launch(
        python=interpreter.path,
        folder=installed.main,
        alias=d.model,
        socket=socket,
        context=d.context,
        slots=d.slots,
        kv_cache_bytes=size,
        gpus=d.gpus,
        threads=threads,
        kv_type=d.kv_type,
        tensor_parallel=d.tensor_parallel,
        pipeline_parallel=d.pipeline_parallel,
        expert_parallel=d.expert_parallel,
        nodes=d.nodes,
        vision=d.vision and architecture.vision is not None,
        draft_tokens=d.draft_tokens,
        graphs=d.graphs,
        sleeps=sleeps and bool(d.gpus),
        version=interpreter.version,
    )


def check_cache(deployment: Deployment, divided: Blocks, size: int) -> None:
    """Raise DoesNotFit where a cache of `size` bytes cannot hold what vLLM will ask of it.

    One sequence of full length must fit, and every slot's recurrent states, for which CUDA graphs
    are captured: vLLM says so itself, after it has loaded the weights (vllm#49064).
    """
    d = deployment
    have = divided.within(size)
    need = max(divided.sequence, divided.states * d.slots)
    if have >= need:
        return
    alone = divided.sequence > have
    what = (
        f"one sequence of {d.context} tokens takes {divided.sequence}"
        if alone
        else f"the recurrent states of {d.slots} slots take {need}"
    )
    raise DoesNotFit(
        f"the cache of {d.build} is too small",
        why=f"{what} blocks of {format_bytes(divided.bytes)}, "
        f"and {format_bytes(size)} hold {have} beside the one that stays empty",
        next_step=f"Lower {'context' if alone else 'slots'} under [serve], or choose a smaller "
        "build, which leaves more for the cache",
    )


def _missing(name: str, deployment: Deployment, next_step: str) -> EngineMissing:
    return EngineMissing(
        f"{deployment.build} cannot be started",
        why=f"there is no usable {name} on this machine",
        next_step=next_step,
    )
