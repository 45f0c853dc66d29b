"""What this machine has: GPUs, processor, memory and disk, and what is wrong with them."""

from server.hardware.machine import (
    Cpu,
    Disk,
    Finding,
    Gpu,
    Link,
    LostGpu,
    Machine,
    Memory,
    MigInstance,
    NumaNode,
    Process,
)
from server.hardware.probe import probe

__all__ = [
    "Cpu",
    "Disk",
    "Finding",
    "Gpu",
    "Link",
    "LostGpu",
    "Machine",
    "Memory",
    "MigInstance",
    "NumaNode",
    "Process",
    "probe",
]
