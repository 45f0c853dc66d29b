"""The whole probe: other vendors' cards, hidden /proc, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from server.hardware import Machine, probe
from tests.effort import cpu_seconds

Probed = Callable[..., Machine]
WriteFile = Callable[[str, str], None]


def test_a_healthy_machine_without_a_gpu(probed: Probed, tmp_path: Path) -> None:
    machine = probed({}, library="absent")
    assert machine.disk.path == str(tmp_path)
    assert (machine.cpu.physical, machine.cpu.logical) == (8, 16)
    assert [finding.what for finding in machine.findings if finding.severity != "note"] == []


def test_cards_of_other_vendors_are_noted(probed: Probed, write_file: WriteFile) -> None:
    for address, vendor in (("0000:00:02.0", "0x8086"), ("0000:03:00.0", "0x1002"),
                            ("0000:04:00.0", "0x1002")):  # fmt: skip
        write_file(f"sys/bus/pci/devices/{address}/vendor", f"{vendor}\n")
        write_file(f"sys/bus/pci/devices/{address}/class", "0x030000\n")
    findings = probed({}, library="absent").findings
    assert [(finding.severity, finding.what) for finding in findings] == [
        ("note", "There is no NVIDIA GPU in this machine"),
        ("note", "2 AMD graphics adapters (0000:03:00.0, 0000:04:00.0): not used"),
        ("note", "An Intel graphics adapter (0000:00:02.0): not used"),
    ]


def test_a_card_given_to_a_virtual_machine_is_not_missed(
    probed: Probed, write_file: WriteFile, make_link: Callable[[str, str], None]
) -> None:
    write_file("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    write_file("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
    write_file("sys/bus/pci/drivers/vfio-pci/bind", "")
    make_link("sys/bus/pci/devices/0000:01:00.0/driver", "sys/bus/pci/drivers/vfio-pci")
    (finding,) = probed({}, library="absent").findings
    assert (finding.severity, finding.area) == ("note", "gpu")


def test_a_sandbox_that_hides_proc(tmp_path: Path) -> None:
    """systemd's ProcSubset=pid leaves no /proc/cpuinfo and no /proc/meminfo."""
    machine = probe(tmp_path, root=tmp_path)
    assert machine.cpu.usable >= 1
    assert machine.memory.total > 0
    told = [finding for finding in machine.findings if "cannot be read" in finding.what]
    assert [finding.area for finding in told] == ["cpu", "memory"]
    assert all("ProcSubset" in finding.next_step for finding in told)


def test_it_is_fast_enough_for_every_start(tmp_path: Path) -> None:
    """The target without GPUs is 150 ms."""
    assert cpu_seconds(lambda: probe(tmp_path)) < 0.15
