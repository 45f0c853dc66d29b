"""Graphics and compute adapters as the kernel sees them, driver or no driver.

NVML tells only of GPUs that it can reach. What stands on the PCI bus and in the driver's own
folder shows those that it cannot: a card without its driver, a device name that a container or a
systemd unit was not given.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

VENDORS: dict[str, Literal["NVIDIA", "AMD", "Intel"]] = {
    "0x10de": "NVIDIA",
    "0x1002": "AMD",
    "0x8086": "Intel",
}
_DISPLAY, _ACCELERATOR = "0x03", "0x12"  # PCI base classes; pci.ids


@dataclass(frozen=True, slots=True)
class Adapter:
    vendor: Literal["NVIDIA", "AMD", "Intel"]
    pci: str
    """`0000:01:00.0`."""
    driver: str | None
    """The kernel driver bound to it, e.g. `nvidia`, `nouveau`, `vfio-pci`, `amdgpu`."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What there is to see of GPUs without asking a GPU driver."""

    adapters: tuple[Adapter, ...]
    kernel_driver: str | None
    """Version of the loaded NVIDIA kernel module."""
    driver_gpus: tuple[str, ...]
    """PCI addresses of the GPUs that the NVIDIA kernel module drives."""
    nodes: frozenset[str]
    """NVIDIA names in /dev: `nvidiactl`, `nvidia0`, `nvidia-uvm`, and WSL's `dxg`."""
    unreadable_nodes: tuple[str, ...]
    """Those of them that this user may not open."""

    @property
    def nvidia(self) -> tuple[Adapter, ...]:
        return tuple(adapter for adapter in self.adapters if adapter.vendor == "NVIDIA")


def read(root: Path = Path("/")) -> Presence:
    """What stands in /sys, /proc and /dev under `root`; absent folders count as empty."""
    nodes = [node for pattern in ("nvidia*", "dxg") for node in (root / "dev").glob(pattern)]
    devices = [node for node in nodes if not node.is_dir()]
    return Presence(
        adapters=_adapters(root),
        kernel_driver=_kernel_driver(_text(root / "proc/driver/nvidia/version")),
        driver_gpus=tuple(
            sorted(folder.name for folder in (root / "proc/driver/nvidia/gpus").glob("*"))
        ),
        nodes=frozenset(node.name for node in devices),
        unreadable_nodes=tuple(sorted(f"/dev/{node.name}" for node in devices if _closed(node))),
    )


def pci_address(bus_id: str) -> str:
    """NVML's `00000000:01:00.0` as the kernel writes it, `0000:01:00.0`; "" if it is none."""
    domain, _, rest = bus_id.partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}".lower()
    except ValueError:
        return ""


def _adapters(root: Path) -> tuple[Adapter, ...]:
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor = VENDORS.get(_text(device / "vendor"))
        kind = _text(device / "class")
        wanted = kind.startswith(_DISPLAY) or (
            kind.startswith(_ACCELERATOR) and vendor in ("NVIDIA", "AMD")
        )  # Intel's base class 12 is signal processors in every laptop
        if vendor and wanted:
            driver = device / "driver"
            bound = driver.resolve().name if driver.exists() else None
            found.append(Adapter(vendor, device.name, bound))
    return tuple(found)


def _kernel_driver(text: str) -> str | None:
    """`NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue ...` -> `580.95.05`."""
    first = text.partition("\n")[0]
    return next((word for word in first.split() if word[0].isdecimal() and "." in word), None)


def _closed(node: Path) -> bool:
    return not os.access(node, os.R_OK | os.W_OK)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
