"""A machine to order: an NVML library with a scenario, and a tree of /proc, /sys and /dev.

NVML is looked up by the dynamic linker, so a fake one can only be given to a new process. There is
one for each kind of library; it runs the real probe once for each scenario that it is sent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from server.hardware import Machine

SOURCE = Path(__file__).with_name("fake_nvml.c")
PROBE = """
import json, os, sys
from pathlib import Path
from server.hardware import probe
for line in sys.stdin:
    os.environ["FAKE_NVML"], home, root = json.loads(line)
    print(json.dumps(probe(Path(home), Path(root)).to_json()), flush=True)
"""

Scenario = Mapping[str, object]
Probed = Callable[..., Machine]


@pytest.fixture(scope="session")
def nvml_libraries(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders for LD_LIBRARY_PATH: a current driver's library, an old one's, and a broken file."""
    folders = {}
    for kind, flags in {"current": [], "old": ["-DOLD_DRIVER"]}.items():
        folder = tmp_path_factory.mktemp(f"nvml-{kind}")
        library = folder / "libnvidia-ml.so.1"
        strict = ["-Wall", "-Wextra", "-Werror"]
        command = ["cc", "-shared", "-fPIC", *strict, *flags, "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True)
        folders[kind] = folder
    folders["broken"] = tmp_path_factory.mktemp("nvml-broken")
    (folders["broken"] / "libnvidia-ml.so.1").write_bytes(b"not a library")
    folders["absent"] = tmp_path_factory.mktemp("nvml-absent")
    return folders


@pytest.fixture(scope="session")
def probers(nvml_libraries: Mapping[str, Path]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """One process for each kind of library, started when first needed."""
    running: dict[str, subprocess.Popen[str]] = {}
    yield running
    for process in running.values():
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.fixture
def probed(
    tmp_path: Path,
    root: Path,
    nvml_libraries: Mapping[str, Path],
    probers: dict[str, subprocess.Popen[str]],
) -> Probed:
    """The Machine that probe() makes of a scenario and of what lies under the fake `root`."""

    def run(scenario: Scenario, library: str = "current") -> Machine:
        path = tmp_path / "scenario"
        path.write_text("".join(f"{key} = {value}\n" for key, value in scenario.items()))
        if library not in probers:
            probers[library] = subprocess.Popen(
                [sys.executable, "-c", PROBE],
                env={**os.environ, "LD_LIBRARY_PATH": str(nvml_libraries[library])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = probers[library]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(path), str(tmp_path), str(root)]) + "\n")
        process.stdin.flush()
        return Machine.from_json(json.loads(process.stdout.readline()))

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small x86 machine without any GPU: 8 cores of 16 threads, 64 GiB, an NVMe disk."""
    folder = tmp_path / "root"
    blocks = (
        f"processor\t: {cpu}\nmodel name\t: AMD Ryzen 7\nphysical id\t: 0\n"
        f"core id\t\t: {cpu % 8}\nflags\t\t: fpu avx avx2 fma f16c avx512f avx_vnni\n"
        for cpu in range(16)
    )
    write(folder, "proc/cpuinfo", "\n".join(blocks))
    write(folder, "proc/self/status", "Name:\tpython\nCpus_allowed_list:\t0-15\n")
    write(folder, "proc/self/cgroup", "0::/user.slice/session.scope\n")
    write(
        folder,
        "proc/self/mountinfo",
        "22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n"
        "30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    )
    write(
        folder,
        "proc/meminfo",
        "MemTotal:       67108864 kB\nMemFree:        10000000 kB\n"
        "MemAvailable:   60000000 kB\nSwapTotal:       8388608 kB\nSwapFree:        8388608 kB\n",
    )
    block = "sys/devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1"
    write(folder, f"{block}/queue/rotational", "0\n")
    write(folder, f"{block}/nvme0n1p2/partition", "2\n")
    link(folder, "sys/dev/block/259:2", f"{block}/nvme0n1p2")
    return folder


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def link(root: Path, path: str, target: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(root / target)


def gpu(index: int, **answers: object) -> dict[str, object]:
    """A healthy RTX 4090 as GPU `index`; keywords override (`None` removes an answer)."""
    card: dict[str, object] = {
        "name": "NVIDIA GeForce RTX 4090",
        "uuid": f"GPU-{index:08d}-aaaa-bbbb-cccc-dddddddddddd",
        "pci": f"00000000:{index + 1:02X}:00.0",
        "memory": f"{24 * 2**30} {3 * 2**20} {400 * 2**20}",
        "capability": "8.9",
        "bus_width": 384,
        "memory_clock": 10501,
        "pcie_generation": 4,
        "pcie_width": 16,
        "pcie_width_possible": 16,
        "temperature": 41,
        "power_limit": 450000,
        "events": 8,
        "recovery": 0,
        "topology": 30,
    }
    card.update({key.replace("__", "."): value for key, value in answers.items()})
    return {f"{index}.{key}": value for key, value in card.items() if value is not None}


DRIVER: dict[str, object] = {"driver": "580.95.05", "cuda": 13000}


@pytest.fixture
def make_gpu() -> Callable[..., dict[str, object]]:
    return gpu


@pytest.fixture
def write_file(root: Path) -> Callable[[str, str], None]:
    return lambda path, text: write(root, path, text)


@pytest.fixture
def two_4090s(write_file: Callable[[str, str], None]) -> Scenario:
    """Two cards; on the first a stranger's python, on the second nothing."""
    write_file("proc/4242/comm", "python3\n")
    write_file("proc/900/comm", "Xorg\n")
    busy = gpu(
        0,
        memory=f"{24 * 2**30} {18 * 2**30 + 200 * 2**20} {400 * 2**20}",
        process__0=f"4242 {18 * 2**30}",
        graphics__0=f"900 {200 * 2**20}",
    )
    return {**DRIVER, **busy, **gpu(1)}


@pytest.fixture
def make_link(root: Path) -> Callable[[str, str], None]:
    return lambda path, target: link(root, path, target)
