"""What the GPUs' state means for serving: pure decisions over what was read.

A GPU that cannot be used is a warning and not an error: Holdfast then serves with what is left,
and says so. It never resets a GPU and never ends a process that is not its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pynvml

from server.hardware.adapters import Adapter, Presence
from server.hardware.machine import Finding, Gpu, LostGpu, Process, Severity
from server.hardware.nvml import Failure, Report
from server.units import GIB, format_bytes

_ON_CPU = "Models run on the CPU, many times slower than on this card"
_INSTALL = "Install the NVIDIA driver (Debian: apt install nvidia-driver), then restart the machine"
_VLLM_CAPABILITY = (7, 0)  # vLLM's installation guide, "GPU: compute capability 7.0 or higher"


def decide(report: Report, presence: Presence) -> tuple[Finding, ...]:
    """Every finding about GPUs, the general ones first."""
    findings: list[Finding] = []
    if report.failure:
        findings.append(_no_answer(report.failure, presence))
    else:
        findings += _hidden(report, presence)
        findings += [_lost(gpu) for gpu in report.lost_gpus]
    findings += (finding for gpu in report.gpus for finding in _of_gpu(gpu))
    findings += _other_vendors(presence)
    return tuple(findings)


def _no_answer(failure: Failure, presence: Presence) -> Finding:
    """Why NVML tells of no GPU: no card, no driver, a broken one, or a sandbox around us."""
    loaded = presence.kernel_driver
    if failure.code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return _no_library(failure, presence)
    if failure.code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        running = f" ({loaded})" if loaded else ""
        return _warning(
            f"The NVIDIA driver was updated, but the old one{running} is still loaded",
            f"No GPU can be used. {_ON_CPU}",
            "Restart the machine, which loads the new one",
        )
    if loaded and "nvidiactl" not in presence.nodes:
        return _warning(
            f"The NVIDIA driver {loaded} is loaded, but its device names are not in /dev",
            f"No GPU can be used. {_ON_CPU}",
            "In a container: start it with --gpus all. Under systemd: allow /dev/nvidiactl, "
            "/dev/nvidia0 and so on, and /dev/nvidia-uvm with DeviceAllow=. Else run "
            "`sudo nvidia-modprobe -c 0 -u`",
        )
    if presence.unreadable_nodes:
        return _closed(presence)
    if failure.code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return _without_driver(presence, installed=True)
    return _warning(
        f"The NVIDIA driver does not answer: {failure.message} (NVML error {failure.code})",
        f"No GPU can be used. {_ON_CPU}",
        "See what nvidia-smi and `sudo dmesg | grep -i nvrm` say; restart the machine",
    )


def _no_library(failure: Failure, presence: Presence) -> Finding:
    if "No such file" not in failure.message:
        return _warning(
            f"The NVIDIA driver's library cannot be loaded: {failure.message}",
            f"No GPU can be used. {_ON_CPU}",
            "Reinstall the NVIDIA driver's packages",
        )
    if presence.kernel_driver:
        return _warning(
            f"The NVIDIA driver {presence.kernel_driver} is loaded, but its library "
            "libnvidia-ml.so.1 is not here",
            f"No GPU can be used. {_ON_CPU}",
            "In a container: start it with --gpus all (NVIDIA Container Toolkit). Else install the "
            "driver's libraries (Debian: apt install libnvidia-ml1 libcuda1)",
        )
    return _without_driver(presence, installed=False)


def _without_driver(presence: Presence, installed: bool) -> Finding:
    usable = [card for card in presence.nvidia if card.driver != "vfio-pci"]
    if not usable:
        return Finding(
            "note", "gpu", "There is no NVIDIA GPU in this machine", "Models run on the CPU"
        )
    what = f"An NVIDIA card is here ({_places(usable)}), but no driver is loaded for it"
    if any(card.driver == "nouveau" for card in usable):
        what = f"An NVIDIA card is here ({_places(usable)}), run by nouveau, which cannot compute"
    if not installed:
        return _warning(what, _ON_CPU, _INSTALL)
    return _warning(
        what,
        _ON_CPU,
        "Run `sudo modprobe nvidia`; if it fails, `sudo dmesg | grep -i nvidia` says why (often "
        "Secure Boot, or a kernel that is newer than the driver)",
    )


def _hidden(report: Report, presence: Presence) -> Iterator[Finding]:
    """GPUs that the kernel's driver runs and that NVML does not list, and closed device names."""
    told = {gpu.pci for gpu in report.gpus} | {gpu.pci for gpu in report.lost_gpus}
    hidden = [pci for pci in presence.driver_gpus if pci not in told]
    if None not in told and hidden:
        yield _warning(
            f"{_count(hidden, 'GPU')} of this machine cannot be seen from here: "
            f"{', '.join(hidden)}",
            "Nothing is placed on it" if len(hidden) == 1 else "Nothing is placed on them",
            "A device name is missing. In a container: --gpus all. Under systemd: "
            "DeviceAllow=/dev/nvidia0 and so on, one for each GPU",
        )
    elif not report.gpus and not report.lost_gpus:
        yield _warning(
            "The NVIDIA driver is loaded, but it lists no GPU",
            "Models run on the CPU",
            "See what `sudo dmesg | grep -i nvrm` says",
        )
    if report.gpus and presence.unreadable_nodes:
        yield _closed(presence)
    nvidia_nodes = any(node.startswith("nvidia") for node in presence.nodes)
    if report.gpus and nvidia_nodes and "nvidia-uvm" not in presence.nodes:
        yield _warning(
            "/dev/nvidia-uvm is missing",
            "CUDA programs find no GPU without it, although nvidia-smi shows one",
            "Run `sudo nvidia-modprobe -c 0 -u`; in a container or systemd unit, allow this name",
        )


def _lost(gpu: LostGpu) -> Finding:
    names = ", ".join(part for part in (gpu.name, gpu.pci) if part)
    return _warning(
        f"GPU {gpu.index}{f' ({names})' if names else ''} does not answer: {gpu.reason}",
        "Nothing is placed on it; the other devices are used",
        f"`sudo dmesg | grep -i xid` says what happened to GPU {gpu.index}. Restart the machine; "
        "if it happens again, check the card's power and seat. Holdfast never resets a GPU",
    )


def _of_gpu(gpu: Gpu) -> Iterator[Finding]:
    yield from _memory(gpu)
    yield from _mig(gpu)
    yield from _health(gpu)
    if gpu.compute_capability and gpu.compute_capability < _VLLM_CAPABILITY:
        major, minor = gpu.compute_capability
        yield Finding(
            "note",
            "gpu",
            f"GPU {gpu.index} has compute capability {major}.{minor}; vLLM needs 7.0",
            "It is used by llama-server only",
        )
    width, possible = gpu.pcie_width, gpu.pcie_width_possible
    if width and possible and width < possible and not gpu.unified:
        yield Finding(
            "note",
            "gpu",
            f"GPU {gpu.index} has {width} of {possible} PCIe lanes",
            "Models load more slowly, and a model split over several GPUs runs more slowly",
            "Try the slot next to the processor, and reseat the card",
        )


def _memory(gpu: Gpu) -> Iterator[Finding]:
    if gpu.unified:
        yield Finding(
            "note",
            "gpu",
            f"GPU {gpu.index} has no memory of its own: it shares the machine's RAM",
            "Its memory figures are those of the RAM (/proc/meminfo)",
        )
    elif gpu.memory_total is None:
        yield _warning(
            f"The driver does not tell how much memory GPU {gpu.index} has",
            "Nothing can be placed on it",
            f"See what nvidia-smi says of GPU {gpu.index}; update the driver",
        )
    elif (gpu.memory_used or 0) >= max(GIB, gpu.memory_total // 20) and not gpu.mig:
        yield _in_use(gpu, gpu.memory_total, gpu.memory_used or 0)


def _in_use(gpu: Gpu, total: int, used: int) -> Finding:
    """Memory that others hold, by PID; what the PIDs do not explain is told as well."""
    users = gpu.processes or ()
    unexplained = used - sum(process.memory or 0 for process in users)
    parts = [_user(process) for process in users]
    if unexplained >= GIB and all(process.memory is not None for process in users):
        parts.append(f"{format_bytes(unexplained)} by processes that cannot be seen from here")
    severity: Severity = "warning" if used > total // 2 else "note"
    return Finding(
        severity,
        "gpu",
        f"GPU {gpu.index} has {format_bytes(used)} of {format_bytes(total)} in use: "
        + (", ".join(parts) or "the driver does not tell by whom"),
        f"Only {format_bytes(gpu.memory_free or 0)} are left for models",
        f"End what is not needed on GPU {gpu.index}; Holdfast never ends other people's processes",
    )


def _mig(gpu: Gpu) -> Iterator[Finding]:
    if gpu.mig and not gpu.mig_instances:
        yield _warning(
            f"GPU {gpu.index} is in MIG mode and has no instance",
            "Nothing can run on it",
            f"Make one with `sudo nvidia-smi mig -i {gpu.index} -cgi 0 -C`, or leave MIG mode with "
            f"`sudo nvidia-smi -i {gpu.index} -mig 0`",
        )


def _health(gpu: Gpu) -> Iterator[Finding]:
    health, name = gpu.health, f"GPU {gpu.index}"
    if health.remap_failed:
        yield _warning(
            f"{name} has run out of spare memory rows",
            "Its memory is failing: answers may be wrong, engines may crash",
            f"Have the card of {name} exchanged",
        )
    elif health.remap_pending:
        yield _warning(
            f"{name} has a bad memory row that waits to be replaced by a spare one",
            "Engines on it may crash",
            f"Stop what runs on {name}, then run `sudo nvidia-smi --gpu-reset -i {gpu.index}`, or "
            "restart the machine",
        )
    if health.ecc_uncorrected:
        yield _warning(
            f"{name} has had {health.ecc_uncorrected} uncorrected memory errors since start-up",
            "The programs that ran into them crashed; more are likely",
            f"Restart the machine; if errors of {name} come back, have the card exchanged",
        )
    if health.recovery not in (None, "none"):
        yield _warning(
            f"The driver asks, after an error of {name}: {health.recovery}",
            "It may run nothing until then",
            f"`sudo dmesg | grep -i xid` says which error of {name} it was",
        )


def _other_vendors(presence: Presence) -> Iterator[Finding]:
    for vendor in ("AMD", "Intel"):
        cards = [adapter for adapter in presence.adapters if adapter.vendor == vendor]
        if cards:
            article = "An" if len(cards) == 1 else str(len(cards))
            graphics = "graphics adapter" if len(cards) == 1 else "graphics adapters"
            yield Finding(
                "note",
                "gpu",
                f"{article} {vendor} {graphics} ({_places(cards)}): not used",
                "Holdfast uses NVIDIA GPUs only",
            )


def _closed(presence: Presence) -> Finding:
    return _warning(
        f"You may not open {', '.join(presence.unreadable_nodes)}",
        _ON_CPU,
        "Let an administrator add you to the group that owns them (`ls -l /dev/nvidia*`; often "
        "video or render), then log in again",
    )


def _warning(what: str, consequence: str, next_step: str) -> Finding:
    return Finding("warning", "gpu", what, consequence, next_step)


def _user(process: Process) -> str:
    held = "an unknown amount" if process.memory is None else format_bytes(process.memory)
    return f"{held} by {process.name or 'an unseen process'} (PID {process.pid})"


def _places(cards: list[Adapter]) -> str:
    return ", ".join(card.pci for card in cards)


def _count(things: list[str], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
