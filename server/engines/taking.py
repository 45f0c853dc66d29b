"""What an engine takes of the machine now: by its own account, the kernel's and the driver's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from server.engines.actuals import with_process
from server.engines.program import LogReader, Reserved
from server.engines.resident import resident
from server.hardware import nvml
from server.hardware.machine import Gpu, MigInstance


def taken(reader: LogReader, pids: Collection[int], gpus: Collection[str]) -> Reserved:
    """What the processes `pids` of one engine hold, where it uses `gpus`: I/O, for a thread.

    Milliseconds for the kernel's account, and some more for the driver's.
    """
    held = on_gpus(nvml.read().gpus, pids) if gpus else {}
    return with_process(reader.reserved(), reader.filled, resident(pids), held)


def on_gpus(gpus: Iterable[Gpu], pids: Collection[int]) -> Mapping[str, int]:
    """Bytes that `pids` hold on each GPU or slice of one, by UUID, as far as the driver tells."""
    held: dict[str, int] = {}
    for gpu in gpus:
        places: list[Gpu | MigInstance] = [gpu, *gpu.mig_instances]
        for place in places:
            own = [p.memory for p in place.processes or () if p.pid in pids and p.memory]
            if own:
                held[place.uuid] = sum(own)
    return held
