"""The disk: which mount holds a folder, what stands behind it, and how fast it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from server.hardware import disk
from server.hardware.cgroup import Mount, parse_mounts
from server.hardware.disk import Block

WriteFile = Callable[[str, str], None]


def mount(point: str, filesystem: str = "ext4") -> Mount:
    return Mount("0:1", "/", point, filesystem, "/dev/sda", ())


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/", "/"),
        ("/srv", "/"),
        ("/data", "/data"),
        ("/data/models", "/data"),
        ("/database", "/"),
        ("/data/nfs/x", "/data/nfs"),
    ],
)
def test_find_mount(path: str, point: str) -> None:
    mounts = (mount("/"), mount("/data/nfs"), mount("/data"))
    found = disk.find_mount(path, mounts)
    assert found is not None
    assert found.point == point


def test_a_later_mount_hides_an_earlier_one() -> None:
    found = disk.find_mount("/data/x", (mount("/data", "ext4"), mount("/data", "tmpfs")))
    assert found is not None
    assert found.filesystem == "tmpfs"


NVME, SSD = Block("nvme0n1", False, False), Block("sda", False, False)
HDD, VIRTUAL = Block("sdb", True, False), Block("vda", True, False)


@pytest.mark.parametrize(
    ("filesystem", "blocks", "kind"),
    [
        ("ext4", (NVME,), "nvme"),
        ("xfs", (SSD,), "ssd"),
        ("btrfs", (HDD,), "hdd"),
        ("ext4", (VIRTUAL,), "virtual"),  # its rotational flag says nothing
        ("ext4", (Block("sda", True, True),), "virtual"),
        ("xfs", (NVME, HDD), "hdd"),  # a volume over several is as slow as the slowest
        ("ext4", (NVME, SSD), "ssd"),
        ("zfs", (), "unknown"),
        ("ext4", (Block("sda", None, False),), "unknown"),
        ("nfs4", (), "network"),
        ("fuse.sshfs", (), "network"),
        ("tmpfs", (), "tmpfs"),
        ("overlay", (), "overlay"),
    ],
)
def test_classify(filesystem: str, blocks: tuple[Block, ...], kind: str) -> None:
    assert disk.classify(filesystem, blocks) == kind


def test_encrypted_volume_on_a_partition_of_a_hard_disk(
    root: Path, write_file: WriteFile, make_link: Callable[[str, str], None]
) -> None:
    sda = "sys/devices/pci0000:00/ata1/block/sda"
    write_file(f"{sda}/queue/rotational", "1\n")
    write_file(f"{sda}/device/vendor", "ATA     \n")
    write_file(f"{sda}/sda3/partition", "3\n")
    write_file("sys/devices/virtual/block/dm-0/queue/rotational", "1\n")
    write_file("sys/devices/virtual/block/dm-1/queue/rotational", "1\n")
    make_link("sys/devices/virtual/block/dm-0/slaves/sda3", f"{sda}/sda3")
    make_link("sys/devices/virtual/block/dm-1/slaves/dm-0", "sys/devices/virtual/block/dm-0")
    make_link("sys/dev/block/253:1", "sys/devices/virtual/block/dm-1")
    write_file("proc/self/mountinfo", "22 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw\n")
    found = disk.read(Path("/"), root)
    assert (found.kind, found.device, found.mount) == ("hdd", "/dev/mapper/vg-root", "/")


def test_btrfs_is_found_by_its_source(
    root: Path, write_file: WriteFile, make_link: Callable[[str, str], None]
) -> None:
    write_file("sys/devices/x/sdc/queue/rotational", "0\n")
    make_link("sys/class/block/sdc", "sys/devices/x/sdc")
    write_file("proc/self/mountinfo", "22 1 0:33 /@home / rw - btrfs /dev/sdc rw\n")
    assert disk.read(Path("/"), root).kind == "ssd"


def test_a_hypervisors_disk_by_its_vendor(
    root: Path, write_file: WriteFile, make_link: Callable[[str, str], None]
) -> None:
    write_file("sys/devices/x/sdc/queue/rotational", "1\n")
    write_file("sys/devices/x/sdc/device/vendor", "QEMU    \n")
    make_link("sys/dev/block/8:32", "sys/devices/x/sdc")
    write_file("proc/self/mountinfo", "22 1 8:32 / / rw - ext4 /dev/sdc rw\n")
    assert disk.read(Path("/"), root).kind == "virtual"


def test_without_proc_and_sys(tmp_path: Path) -> None:
    found = disk.read(tmp_path, tmp_path)
    assert (found.kind, found.filesystem) == ("unknown", "unknown")
    assert found.total > 0


def test_this_machine(tmp_path: Path) -> None:
    found = disk.read(tmp_path / "not" / "made" / "yet")
    assert found.path == str(tmp_path / "not" / "made" / "yet")
    assert found.total == psutil.disk_usage(str(tmp_path)).total
    assert 0 < found.free <= found.total
    assert found.writable
    assert os.path.ismount(found.mount)
    text = Path("/proc/self/mountinfo").read_text()
    assert found.filesystem in {mount.filesystem for mount in parse_mounts(text)}


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert not disk.read(tmp_path / "home").writable


def test_measuring_leaves_nothing_behind(tmp_path: Path) -> None:
    measured = disk.measure(disk.read(tmp_path))
    assert measured.read_speed is not None
    assert measured.write_speed is not None
    assert measured.read_speed > 1_000_000
    assert measured.write_speed > 1_000_000
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too little"):
        disk.measure(replace(disk.read(tmp_path), free=1))
