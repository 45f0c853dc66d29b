"""The probe against nvidia-smi, on a machine with a real NVIDIA GPU."""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from server.hardware import probe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        shutil.which("nvidia-smi") is None
        or subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode != 0,
        reason="no NVIDIA GPU answers nvidia-smi here",
    ),
]
MIB = 2**20
FIELDS = (
    "index", "name", "uuid", "pci.bus_id", "memory.total", "memory.used", "compute_cap",
    "driver_version", "pcie.link.gen.max", "pcie.link.width.max", "power.limit",
    "ecc.mode.current", "mig.mode.current", "clocks.max.memory",
)  # fmt: skip


def nvidia_smi(*arguments: str) -> list[list[str]]:
    command = ["nvidia-smi", *arguments, "--format=csv,noheader,nounits"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [row for row in csv.reader(output.splitlines(), skipinitialspace=True) if row]


def number(text: str) -> float | None:
    """nvidia-smi's figure, or None for its "[N/A]" and "[Not Supported]"."""
    try:
        return float(text)
    except ValueError:
        return None


def test_probe_agrees_with_nvidia_smi(tmp_path: Path) -> None:
    start = time.perf_counter()
    machine = probe(tmp_path)
    seconds = time.perf_counter() - start
    rows = [
        dict(zip(FIELDS, row, strict=True)) for row in nvidia_smi(f"--query-gpu={','.join(FIELDS)}")
    ]
    assert [str(gpu.index) for gpu in machine.gpus] == [row["index"] for row in rows]
    for gpu, row in zip(machine.gpus, rows, strict=True):
        assert gpu.name == row["name"]
        assert gpu.uuid == row["uuid"]
        assert gpu.pci is not None
        assert row["pci.bus_id"].lower().endswith(gpu.pci)
        assert machine.driver == row["driver_version"]
        assert gpu.compute_capability is not None
        assert "{}.{}".format(*gpu.compute_capability) == row["compute_cap"]
        total, used = number(row["memory.total"]), number(row["memory.used"])
        if total is None:
            assert gpu.unified
        else:
            assert gpu.memory_total is not None
            assert gpu.memory_used is not None
            assert gpu.memory_total // MIB == total
            assert abs(gpu.memory_used / MIB - (used or 0)) <= 256  # others may come and go
        assert gpu.pcie_generation == number(row["pcie.link.gen.max"])
        assert gpu.pcie_width_possible == number(row["pcie.link.width.max"])
        assert gpu.power_limit == number(row["power.limit"])
        expected = {"Enabled": True, "Disabled": False}
        assert gpu.health.ecc == expected.get(row["ecc.mode.current"])
        assert gpu.mig == expected.get(row["mig.mode.current"])
        clock = number(row["clocks.max.memory"])
        if gpu.bandwidth and clock:
            width = gpu.bandwidth * 8 / (clock * 2_000_000)  # bits
            assert width == int(width)
            assert int(width) % 32 == 0
    print(f"\n{len(machine.gpus)} GPU(s), driver {machine.driver}, probed in {seconds:.3f} s")
    print(machine.to_json())


def test_processes_agree_with_nvidia_smi(tmp_path: Path) -> None:
    machine = probe(tmp_path)
    told = {
        (row[0], int(row[1])) for row in nvidia_smi("--query-compute-apps=gpu_uuid,pid")
        if row[1].isdecimal()
    }  # fmt: skip
    found = {(gpu.uuid, process.pid) for gpu in machine.gpus for process in gpu.processes or ()}
    assert {pair for pair in told if Path(f"/proc/{pair[1]}").exists()} <= found
