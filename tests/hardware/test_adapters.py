"""What stands on the PCI bus and in /dev, without asking a GPU driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.hardware import adapters
from server.hardware.adapters import Adapter

WriteFile = Callable[[str, str], None]


@pytest.mark.parametrize(
    ("bus_id", "address"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("0000000F:C1:00.0", "000f:c1:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),  # VMD domains have five digits
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_pci_address(bus_id: str, address: str) -> None:
    assert adapters.pci_address(bus_id) == address


def test_adapters(root: Path, write_file: WriteFile, make_link: Callable[[str, str], None]) -> None:
    devices = {
        "0000:00:02.0": ("0x8086", "0x030000"),  # Intel graphics
        "0000:00:0b.0": ("0x8086", "0x120000"),  # Intel signal processor: no adapter
        "0000:01:00.0": ("0x10de", "0x030200"),  # NVIDIA, no display
        "0000:01:00.1": ("0x10de", "0x040300"),  # its sound
        "0000:02:00.0": ("0x1002", "0x120000"),  # AMD Instinct
        "0000:03:00.0": ("0x1234", "0x030000"),  # a virtual machine's screen
    }
    for address, (vendor, kind) in devices.items():
        write_file(f"sys/bus/pci/devices/{address}/vendor", f"{vendor}\n")
        write_file(f"sys/bus/pci/devices/{address}/class", f"{kind}\n")
    write_file("sys/bus/pci/drivers/nouveau/bind", "")
    make_link("sys/bus/pci/devices/0000:01:00.0/driver", "sys/bus/pci/drivers/nouveau")
    found = adapters.read(root)
    assert found.adapters == (
        Adapter("Intel", "0000:00:02.0", None),
        Adapter("NVIDIA", "0000:01:00.0", "nouveau"),
        Adapter("AMD", "0000:02:00.0", None),
    )
    assert found.nvidia == (Adapter("NVIDIA", "0000:01:00.0", "nouveau"),)
    assert found.kernel_driver is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 2024\n"
            "GCC version:  gcc version 12.2.0\n",
            "470.256.02",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
            "580.95.05",
        ),
        ("something else\n", None),
    ],
)
def test_driver_version(root: Path, write_file: WriteFile, text: str, version: str | None) -> None:
    write_file("proc/driver/nvidia/version", text)
    assert adapters.read(root).kernel_driver == version


def test_device_names(root: Path, write_file: WriteFile) -> None:
    for name in ("nvidiactl", "nvidia0", "nvidia-uvm", "nvidia-caps/nvidia-cap1", "null"):
        write_file(f"dev/{name}", "")
    assert adapters.read(root).nodes == {"nvidiactl", "nvidia0", "nvidia-uvm"}


def test_an_empty_tree(tmp_path: Path) -> None:
    found = adapters.read(tmp_path)
    assert found.adapters == ()
    assert found.nodes == frozenset()
