"""NVIDIA GPUs through NVML, the library that the driver brings (the `pynvml` module).

Each question may be refused: the card lacks the feature, the driver is too old to know the call,
the user may not ask. Such an answer is None in the result. A GPU that fails in a way that makes it
unusable is set aside by name, and the others are still told.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from server.hardware.adapters import pci_address
from server.hardware.links import read_links
from server.hardware.machine import Gpu, Health, Link, LostGpu, MigInstance, Process

_FATAL = {
    pynvml.NVML_ERROR_INSUFFICIENT_POWER,
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_IRQ_ISSUE,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
}
"""After one of these the GPU can run nothing, whatever was asked; others refuse one answer."""

RECOVERY = {
    pynvml.NVML_GPU_RECOVERY_ACTION_NONE: "none",
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "reset the GPU",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "reboot",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P: "stop the peer-to-peer traffic",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "stop all work and reset the GPU",
}

_PROCESS_CALLS = (
    (
        pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
        pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
    ),
    (
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
    ),
)  # the newest first; drivers before 510 have only the second version


@dataclass(frozen=True, slots=True)
class Failure:
    """Why NVML as a whole gave no answer."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    gpus: tuple[Gpu, ...] = ()
    lost_gpus: tuple[LostGpu, ...] = ()
    links: tuple[Link, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    failure: Failure | None = None


def read(root: Path = Path("/")) -> Report:
    """Everything NVML tells; never raises. Names of processes come from /proc under `root`."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Report(failure=_failure(error))
    try:
        return _read(root)
    except pynvml.NVMLError as error:
        return Report(failure=_failure(error))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def ask(question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where it is refused. Raises NVMLError when the GPU itself is gone."""
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _FATAL:
            raise
        return None


def bandwidth(bus_width: int | None, clock: int | None) -> int | None:
    """Peak bytes/s from bits of bus width and the memory's maximum clock in MHz; see `Gpu`."""
    if not bus_width or not clock:
        return None
    return bus_width * clock * 1_000_000 * 2 // 8


def _read(root: Path) -> Report:
    cuda = ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    gpus: list[Gpu] = []
    lost: list[LostGpu] = []
    handles: dict[int, Any] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            gpus.append(_gpu(index, handle, root))
            handles[index] = handle
        except pynvml.NVMLError as error:
            lost.append(_lost(index, str(error)))
    try:
        links = read_links(handles, {gpu.pci: gpu.index for gpu in gpus if gpu.pci}, ask)
    except pynvml.NVMLError:
        links = ()  # a GPU went away meanwhile; the next probe names it
    return Report(
        gpus=tuple(gpus),
        lost_gpus=tuple(lost),
        links=links,
        driver=ask(pynvml.nvmlSystemGetDriverVersion),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
    )


def _gpu(index: int, handle: Any, root: Path) -> Gpu:
    """One GPU. Raises NVMLError when it has no name or UUID to go by, or is gone."""
    pci = ask(pynvml.nvmlDeviceGetPciInfo_v3, handle)
    total, free, used, unified = _memory(handle)
    mig = ask(pynvml.nvmlDeviceGetMigMode, handle)
    power = ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    enabled = mig is not None and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    return Gpu(
        index=index,
        name=pynvml.nvmlDeviceGetName(handle),
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        pci=pci_address(pci.busId) if pci else None,
        memory_total=total,
        memory_free=free,
        memory_used=used,
        unified=unified,
        bandwidth=bandwidth(
            ask(pynvml.nvmlDeviceGetMemoryBusWidth, handle),
            ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        ),
        compute_capability=ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
        processes=_processes(handle, root),
        mig=None if mig is None else enabled,
        mig_instances=_mig_instances(handle, root) if enabled else (),
        health=_health(handle),
        pcie_generation=ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        pcie_width=ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        pcie_width_possible=ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        temperature=ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_limit=None if power is None else power / 1000,
    )


def _memory(handle: Any) -> tuple[int | None, int | None, int | None, bool]:
    """(total, free, used, unified) in bytes.

    The second version of the call keeps the driver's own reserve out of `used`, as nvidia-smi
    does; drivers before 510 have the first only. A GPU that shares the machine's RAM (GB10,
    Jetson) answers "not supported", or all zeros.
    """
    unified = False
    for version in (pynvml.nvmlMemory_v2, None):
        try:
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version)
        except pynvml.NVMLError as error:
            if error.value in _FATAL:
                raise
            unified = error.value == pynvml.NVML_ERROR_NOT_SUPPORTED
            continue
        if memory.total:
            return memory.total, memory.free, memory.used, False
        unified = True
    return None, None, None, unified


def _processes(handle: Any, root: Path) -> tuple[Process, ...] | None:
    """Who computes or draws on this GPU, the greatest user first; None where it is not told."""
    told = False
    found: list[Any] = []
    for versions in _PROCESS_CALLS:
        answers = (ask(question, handle) for question in versions)
        answer = next((answer for answer in answers if answer is not None), None)
        told = told or answer is not None
        found += answer or ()
    if not told:
        return None
    memory: dict[int, int | None] = {}
    for process in found:
        before = memory.get(process.pid)
        used = process.usedGpuMemory
        memory[process.pid] = used if before is None else max(before, used or 0)
    users = (Process(pid, _name(pid, root), used) for pid, used in memory.items())
    return tuple(sorted(users, key=lambda user: (-(user.memory or 0), user.pid)))


def _name(pid: int, root: Path) -> str | None:
    """The process's short name. Not its command line: that may hold keys."""
    try:
        return (root / f"proc/{pid}/comm").read_text().strip() or None
    except OSError:
        return None


def _mig_instances(handle: Any, root: Path) -> tuple[MigInstance, ...]:
    instances = []
    for index in range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        slice_ = ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        uuid = None if slice_ is None else ask(pynvml.nvmlDeviceGetUUID, slice_)
        if uuid is None:  # numbers have gaps where an instance was destroyed
            continue
        total, free, _, _ = _memory(slice_)
        attributes = ask(pynvml.nvmlDeviceGetAttributes_v2, slice_)
        instances.append(
            MigInstance(
                index=index,
                uuid=uuid,
                name=ask(pynvml.nvmlDeviceGetName, slice_) or f"MIG instance {index}",
                memory_total=total,
                memory_free=free,
                multiprocessors=attributes.multiprocessorCount if attributes else None,
                processes=_processes(slice_, root),
            )
        )
    return tuple(instances)


def _health(handle: Any) -> Health:
    ecc = ask(pynvml.nvmlDeviceGetEccMode, handle)
    on = None if ecc is None else bool(ecc[0])
    uncorrected = None
    if on:
        uncorrected = ask(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        )
    rows = ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    retiring = None if rows else ask(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle)
    events = ask(pynvml.nvmlDeviceGetSupportedEventTypes, handle)
    return Health(
        ecc=on,
        ecc_uncorrected=uncorrected,
        rows_remapped=rows[1] if rows else None,
        remap_pending=bool(rows[2]) if rows else (None if retiring is None else bool(retiring)),
        remap_failed=bool(rows[3]) if rows else None,
        recovery=_recovery(handle),
        xid_events=None if events is None else bool(events & pynvml.nvmlEventTypeXidCriticalError),
    )


def _recovery(handle: Any) -> str | None:
    field = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    values = ask(pynvml.nvmlDeviceGetFieldValues, handle, [field])
    if not values or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return RECOVERY.get(values[0].value.uiVal, f"action {values[0].value.uiVal}")


def _lost(index: int, reason: str) -> LostGpu:
    """Whatever can still be said of a GPU that failed."""

    def still(question: Callable[[Any], Any]) -> Any:
        try:
            return question(pynvml.nvmlDeviceGetHandleByIndex(index))
        except pynvml.NVMLError:
            return None

    pci = still(pynvml.nvmlDeviceGetPciInfo_v3)
    return LostGpu(
        index=index,
        name=still(pynvml.nvmlDeviceGetName),
        pci=pci_address(pci.busId) if pci else None,
        reason=reason,
    )


def _failure(error: Any) -> Failure:
    message = str(error)
    if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        try:  # pynvml swallows what the dynamic linker said: absent, or broken?
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as reason:
            message = str(reason)
    return Failure(error.value, message)
