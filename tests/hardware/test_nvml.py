"""The probe against an NVML library that speaks the real C interface, through the real pynvml."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from server.hardware import Link, Machine, Process

GIB = 2**30
DRIVER = {"driver": "580.95.05", "cuda": 13000}
Probed = Callable[..., Machine]
MakeGpu = Callable[..., dict[str, object]]
WriteFile = Callable[[str, str], None]


def whats(machine: Machine, severity: str = "warning") -> list[str]:
    return [
        finding.what
        for finding in machine.findings
        if finding.severity == severity and finding.area == "gpu"
    ]


def test_two_cards_one_of_them_busy(probed: Probed, two_4090s: dict[str, object]) -> None:
    machine = probed(two_4090s)
    assert (machine.driver, machine.cuda) == ("580.95.05", "13.0")
    first, second = machine.gpus
    assert first.name == "NVIDIA GeForce RTX 4090"
    assert first.uuid == "GPU-00000000-aaaa-bbbb-cccc-dddddddddddd"
    assert first.pci == "0000:01:00.0"
    assert first.memory_total == 24 * GIB
    assert first.memory_used == 18 * GIB + 200 * 2**20
    assert first.memory_free == 24 * GIB - first.memory_used - 400 * 2**20
    assert first.compute_capability == (8, 9)
    assert first.bandwidth == 1_008_096_000_000  # NVIDIA's data sheet: 1008 GB/s
    assert first.processes == (
        Process(4242, "python3", 18 * GIB),
        Process(900, "Xorg", 200 * 2**20),
    )
    assert (first.pcie_generation, first.pcie_width, first.pcie_width_possible) == (4, 16, 16)
    assert (first.temperature, first.power_limit) == (41, 450.0)
    assert (first.mig, first.mig_instances) == (None, ())
    assert first.health.ecc is None
    assert first.health.recovery == "none"
    assert first.health.xid_events is True
    assert second.processes == ()
    assert machine.links == (Link(0, 1, "pcie", 0, None, "host bridge"),)
    assert whats(machine) == [
        "GPU 0 has 18.2 GiB of 24.0 GiB in use: 18.0 GiB by python3 (PID 4242), "
        "200.0 MiB by Xorg (PID 900)"
    ]


def test_memory_of_processes_that_cannot_be_seen(probed: Probed, make_gpu: MakeGpu) -> None:
    """In a container, other containers' processes are not listed, and their memory is gone."""
    machine = probed({**DRIVER, **make_gpu(0, memory=f"{24 * GIB} {9 * GIB} 0")})
    assert whats(machine, "note") == [
        "GPU 0 has 9.0 GiB of 24.0 GiB in use: 9.0 GiB by processes that cannot be seen from here"
    ]


def test_a_process_whose_memory_is_not_told(probed: Probed, make_gpu: MakeGpu) -> None:
    used = make_gpu(0, memory=f"{24 * GIB} {9 * GIB} 0", process__0="77")
    machine = probed({**DRIVER, **used})
    assert machine.gpus[0].processes == (Process(77, None, None),)
    assert whats(machine, "note") == [
        "GPU 0 has 9.0 GiB of 24.0 GiB in use: an unknown amount by an unseen process (PID 77)"
    ]


def test_a_process_that_computes_and_draws_is_one(probed: Probed, make_gpu: MakeGpu) -> None:
    both = make_gpu(0, process__0="77 1000", graphics__0="77 3000")
    assert probed({**DRIVER, **both}).gpus[0].processes == (Process(77, None, 3000),)


def test_eight_gpus_behind_nvswitches(probed: Probed, make_gpu: MakeGpu) -> None:
    card = {"name": "NVIDIA H100 80GB HBM3", "links": 18, "link_speed": 25000, "capability": "9.0"}
    card |= {"bus_width": 5120, "memory_clock": 2619, "topology": 50}
    card |= {f"link__{lane}": "switch" for lane in range(18)}
    scenario = dict(DRIVER)
    for index in range(8):
        scenario |= make_gpu(index, **card)
    machine = probed(scenario)
    assert len(machine.gpus) == 8
    assert machine.gpus[0].bandwidth == 3_352_320_000_000  # data sheet: 3.35 TB/s
    assert len(machine.links) == 28
    assert set(machine.links) == {
        Link(first, second, "nvswitch", 18, 450_000_000_000, "sockets")
        for first in range(8)
        for second in range(first + 1, 8)
    }


def test_pairs_of_bridged_cards(probed: Probed, make_gpu: MakeGpu) -> None:
    """Four cards in two bridged pairs, one bridge with a dead lane; older speed figure."""
    bus = [f"00000000:{index + 1:02X}:00.0" for index in range(4)]
    peers = {0: 1, 1: 0, 2: 3, 3: 2}
    scenario = dict(DRIVER)
    for index, peer in peers.items():
        lanes = {f"link__{lane}": bus[peer] for lane in range(4 if index < 2 else 3)}
        scenario |= make_gpu(index, links=4, common_link_speed=14062, topology=20, **lanes)
    links = {(link.first, link.second): link for link in probed(scenario).links}
    assert links[0, 1] == Link(0, 1, "nvlink", 4, 4 * 14_062_000_000, "switches")
    assert links[2, 3] == Link(2, 3, "nvlink", 3, 3 * 14_062_000_000, "switches")
    assert links[0, 2] == Link(0, 2, "pcie", 0, None, "switches")


def test_mig(probed: Probed, make_gpu: MakeGpu) -> None:
    instances: dict[str, Any] = {}
    for number in (0, 2):  # a gap, as after an instance was destroyed
        instances |= {
            f"mig__{number}__name": "NVIDIA A100-SXM4-80GB MIG 3g.40gb",
            f"mig__{number}__uuid": f"MIG-{number}",
            f"mig__{number}__memory": f"{40 * GIB} {GIB} 0",
            f"mig__{number}__multiprocessors": 42,
            f"mig__{number}__process__0": f"5{number} {GIB}",
        }
    scenario = {**DRIVER, **make_gpu(0, mig=1, error__x=0, **instances), **make_gpu(1, mig=1)}
    scenario["0.error.nvmlDeviceGetComputeRunningProcesses_v3"] = 4
    machine = probed(scenario)
    gpu = machine.gpus[0]
    assert gpu.mig is True
    assert [one.uuid for one in gpu.mig_instances] == ["MIG-0", "MIG-2"]
    assert gpu.mig_instances[1].index == 2
    assert gpu.mig_instances[0].memory_free == 39 * GIB
    assert gpu.mig_instances[0].multiprocessors == 42
    assert gpu.mig_instances[1].processes == (Process(52, None, GIB),)
    assert whats(machine) == ["GPU 1 is in MIG mode and has no instance"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"ecc": 1, "ecc_uncorrected": 0, "remapped": "0 0 0 0"}, None),
        (
            {"ecc": 1, "ecc_uncorrected": 3},
            "GPU 0 has had 3 uncorrected memory errors since start-up",
        ),
        (
            {"ecc": 1, "remapped": "0 2 1 0"},
            "GPU 0 has a bad memory row that waits to be replaced by a spare one",
        ),
        ({"ecc": 1, "remapped": "0 9 1 1"}, "GPU 0 has run out of spare memory rows"),
        ({"retire_pending": 1}, "a bad memory row that waits"),
        ({"recovery": 1}, "The driver asks, after an error of GPU 0: reset the GPU"),
        ({"recovery": 2}, "The driver asks, after an error of GPU 0: reboot"),
        ({"recovery": 99}, "The driver asks, after an error of GPU 0: action 99"),
        ({"memory": "0 0 0", "error.nvmlDeviceGetMemoryInfo": 999}, "does not tell how much"),
    ],
)
def test_health(
    probed: Probed, make_gpu: MakeGpu, answers: dict[str, object], told: str | None
) -> None:
    if "memory" in answers:
        answers |= {"error.nvmlDeviceGetMemoryInfo_v2": 999}
    machine = probed({**DRIVER, **make_gpu(0, **answers)})
    assert len(machine.gpus) == 1
    assert len(whats(machine)) == (told is not None)
    assert told is None or told in whats(machine)[0]


@pytest.mark.parametrize("memory", [None, "0 0 0"])
def test_unified_memory_is_the_machines(
    probed: Probed, make_gpu: MakeGpu, memory: str | None
) -> None:
    """GB10: NVML refuses memory figures (some drivers: zeros), and has no bus width either."""
    card = {"name": "NVIDIA GB10", "capability": "12.1", "bus_width": None, "memory_clock": None}
    machine = probed({**DRIVER, **make_gpu(0, memory=memory, pcie_width=1, **card)})
    gpu = machine.gpus[0]
    assert gpu.unified
    assert gpu.memory_total == machine.memory.total == 64 * GIB
    assert gpu.memory_free == machine.memory.available == 60000000 * 1024
    assert gpu.bandwidth is None
    assert whats(machine, "note") == ["GPU 0 has no memory of its own: it shares the machine's RAM"]


@pytest.mark.parametrize(
    ("broken", "name", "reason"),
    [
        ({"1.handle": 15}, None, "GPU is lost"),
        ({"1.error": 15, "1.name": "NVIDIA L4"}, None, "GPU is lost"),
        (
            {"1.name": "NVIDIA L4", "1.uuid": "GPU-1", "1.error.nvmlDeviceGetMigMode": 16},
            "NVIDIA L4",
            "GPU requires restart",
        ),
        ({"1.handle": 4}, None, "Insufficient Permissions"),
        ({"1.handle": 7777}, None, "an error only this driver knows"),
    ],
)
def test_a_lost_gpu_is_named_and_the_others_are_told(
    probed: Probed,
    make_gpu: MakeGpu,
    broken: dict[str, object],
    name: str | None,
    reason: str,
) -> None:
    machine = probed({**DRIVER, **make_gpu(0), **broken, **make_gpu(2)})
    assert [gpu.index for gpu in machine.gpus] == [0, 2]
    (lost,) = machine.lost_gpus
    assert (lost.index, lost.name, lost.reason) == (1, name, reason)
    assert any(what.startswith("GPU 1") and reason in what for what in whats(machine))


def test_an_old_driver_lacks_symbols(probed: Probed, make_gpu: MakeGpu) -> None:
    busy = make_gpu(0, process__0=f"4242 {GIB}", capability="6.1")
    machine = probed({"driver": "470.256.02", "cuda": 11040, **busy}, library="old")
    (gpu,) = machine.gpus
    assert machine.cuda == "11.4"
    assert gpu.memory_total == 24 * GIB
    assert gpu.memory_used == 403 * 2**20  # the first version counts the reserve in
    assert gpu.processes == (Process(4242, None, GIB),)
    assert gpu.bandwidth is None
    assert gpu.health.recovery is None
    assert whats(machine, "note") == ["GPU 0 has compute capability 6.1; vLLM needs 7.0"]


def test_a_narrow_slot(probed: Probed, make_gpu: MakeGpu) -> None:
    machine = probed({**DRIVER, **make_gpu(0, pcie_width=4)})
    assert whats(machine, "note") == ["GPU 0 has 4 of 16 PCIe lanes"]


def test_who_uses_a_gpu_may_be_refused(probed: Probed, make_gpu: MakeGpu) -> None:
    kinds = [f"{kind}RunningProcesses_v{version}" for kind in ("Compute", "Graphics")
             for version in (2, 3)]  # fmt: skip
    refused = {f"error.nvmlDeviceGet{kind}": 4 for kind in kinds}
    machine = probed({**DRIVER, **make_gpu(0, memory=f"{24 * GIB} {2 * GIB} 0", **refused)})
    assert machine.gpus[0].processes is None
    assert "2.0 GiB by processes that cannot be seen from here" in whats(machine, "note")[0]


CARD = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
}
LOADED = {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1\n"}
NODES = {"dev/nvidiactl": "", "dev/nvidia0": ""}


@pytest.mark.parametrize(
    ("library", "scenario", "files", "severity", "told", "advice"),
    [
        ("absent", {}, {}, "note", "There is no NVIDIA GPU in this machine", ""),
        ("absent", {}, CARD, "warning", "no driver is loaded for it", "Install the NVIDIA driver"),
        ("absent", {}, CARD | LOADED, "warning", "libnvidia-ml.so.1 is not here", "--gpus all"),
        ("broken", {}, CARD, "warning", "cannot be loaded", "Reinstall"),
        ("current", {"init": 9}, {}, "note", "There is no NVIDIA GPU in this machine", ""),
        ("current", {"init": 9}, CARD, "warning", "no driver is loaded", "modprobe nvidia"),
        ("current", {"init": 9}, CARD | LOADED, "warning", "not in /dev", "DeviceAllow="),
        ("current", {"init": 18}, CARD | LOADED | NODES, "warning", "570.1", "Restart"),
        ("current", {"init": 4}, CARD | LOADED | NODES, "warning", "Insufficient Perm", "dmesg"),
        ("current", {"init": 999}, CARD, "warning", "Unknown Error (NVML error 999)", "dmesg"),
        ("current", {"init": 7777}, CARD, "warning", "an error only this driver kn", "dmesg"),
        ("current", {"count_error": 999}, CARD, "warning", "Unknown Error", "dmesg"),
        ("current", DRIVER, CARD | LOADED | NODES, "warning", "lists no GPU", "dmesg"),
    ],
)
def test_no_gpu_and_why(
    probed: Probed,
    write_file: WriteFile,
    library: str,
    scenario: dict[str, object],
    files: dict[str, str],
    severity: str,
    told: str,
    advice: str,
) -> None:
    for path, text in files.items():
        write_file(path, text)
    machine = probed(scenario, library=library)
    assert machine.gpus == ()
    (finding,) = machine.findings
    assert finding.severity == severity
    assert told in finding.what
    assert "CPU" in finding.consequence
    assert advice in finding.next_step


def test_a_missing_device_name_makes_a_gpu_vanish_and_is_told(
    probed: Probed, write_file: WriteFile, make_gpu: MakeGpu
) -> None:
    for path, text in (CARD | LOADED | NODES).items():
        write_file(path, text)
    for bus in ("01", "02"):
        write_file(f"proc/driver/nvidia/gpus/0000:{bus}:00.0/information", "")
    machine = probed({**DRIVER, **make_gpu(0)})
    assert whats(machine) == [
        "1 GPU of this machine cannot be seen from here: 0000:02:00.0",
        "/dev/nvidia-uvm is missing",
    ]


def test_under_wsl_device_names_are_different(
    probed: Probed, write_file: WriteFile, make_gpu: MakeGpu
) -> None:
    write_file("dev/dxg", "")
    assert whats(probed({**DRIVER, **make_gpu(0)})) == []


def test_device_names_that_may_not_be_opened() -> None:
    """As an ordinary user, whom files without any permission keep out."""
    code = """
import os, tempfile
from pathlib import Path
from typing import Any
from server.hardware import adapters
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
with tempfile.TemporaryDirectory() as root:
    (Path(root) / "dev").mkdir()
    for name, mode in {"nvidiactl": 0o666, "nvidia0": 0, "nvidia-uvm": 0o444}.items():
        (Path(root) / "dev" / name).touch()
        (Path(root) / "dev" / name).chmod(mode)
    print(*adapters.read(Path(root)).unreadable_nodes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["/dev/nvidia-uvm", "/dev/nvidia0"], done.stderr
