"""The disk under a folder: room, kind, and (only when asked) its measured speed."""

from __future__ import annotations

import mmap
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from server.hardware.cgroup import Mount, parse_mounts
from server.hardware.machine import Disk, DiskClass
from server.units import MIB

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "lustre",
    "beegfs", "gpfs", "afs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.juicefs", "fuse.rclone", "fuse.cephfs",
}  # fmt: skip
_SAMPLE = 256 * MIB
_BLOCK = 4 * MIB


@dataclass(frozen=True, slots=True)
class Block:
    """A block device, as /sys/class/block tells."""

    name: str
    rotational: bool | None
    hypervisor: bool
    """Its vendor or driver is a hypervisor's."""


def find_mount(path: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that holds an absolute, resolved path: the longest point; the last of equals."""
    best: Mount | None = None
    for mount in mounts:
        point = mount.point.rstrip("/")
        inside = path == point or path.startswith(point + "/")
        if inside and (best is None or len(point) >= len(best.point.rstrip("/"))):
            best = mount
    return best


def classify(filesystem: str, blocks: tuple[Block, ...]) -> DiskClass:
    """The speed class of a file system on these devices; several devices count as the slowest."""
    if filesystem in _NETWORK:
        return "network"
    if filesystem in ("tmpfs", "ramfs"):
        return "tmpfs"
    if filesystem == "overlay":
        return "overlay"
    kinds = {_classify_block(block) for block in blocks}
    slowest: tuple[DiskClass, ...] = ("hdd", "virtual", "ssd", "nvme")
    return next((kind for kind in slowest if kind in kinds), "unknown")


def _classify_block(block: Block) -> DiskClass:
    if block.name.startswith("nvme"):
        return "nvme"
    if block.hypervisor or block.name.startswith(("vd", "xvd")):
        return "virtual"
    if block.rotational is None:
        return "unknown"
    return "hdd" if block.rotational else "ssd"


def read(path: Path, root: Path = Path("/")) -> Disk:
    """The disk that holds `path`, or would hold it once made.

    `path` is a real path of this system; /proc and /sys are read under `root`.
    """
    folder = existing(path)
    mounts = parse_mounts(_text(root / "proc/self/mountinfo"))
    mount = find_mount(str(folder.resolve()), mounts)
    space = os.statvfs(folder)
    filesystem = mount.filesystem if mount else "unknown"
    return Disk(
        path=str(path),
        mount=mount.point if mount else "/",
        filesystem=filesystem,
        device=mount.source if mount else "unknown",
        total=space.f_blocks * space.f_frsize,
        free=space.f_bavail * space.f_frsize,
        kind=classify(filesystem, _blocks(mount, root) if mount else ()),
        writable=not os.path.isfile(path) and os.access(folder, os.W_OK | os.X_OK),
    )


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    while not os.path.isdir(path) and path != path.parent:  # False, too, where we may not look
        path = path.parent
    return path


def measure(disk: Disk) -> Disk:
    """The disk with its measured speeds: a 256 MiB file is written, synced, read and removed.

    Both ways go round the page cache (O_DIRECT), or the figures would be those of RAM. File
    systems without O_DIRECT get the next best: an fsync and dropped pages. Raises OSError.
    """
    if disk.free < 2 * _SAMPLE:
        raise OSError(f"less than {2 * _SAMPLE // MIB} MiB free: too little to measure with")
    handle, name = tempfile.mkstemp(prefix=".holdfast-speed-", dir=existing(Path(disk.path)))
    os.close(handle)
    block = mmap.mmap(-1, _BLOCK)  # page-aligned, which O_DIRECT asks for
    try:
        block.write(os.urandom(_BLOCK))  # a compressing file system must not win by it
        write = _timed(name, os.O_WRONLY, block)
        read_ = _timed(name, os.O_RDONLY, block)
    finally:
        block.close()
        os.unlink(name)
    return replace(disk, write_speed=write, read_speed=read_)


def _timed(name: str, mode: int, block: mmap.mmap) -> int:
    """Bytes/s of moving the sample once through the file."""
    try:
        file = os.open(name, mode | getattr(os, "O_DIRECT", 0))
    except OSError:
        file = os.open(name, mode)
    try:
        if mode == os.O_RDONLY and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        for _ in range(_SAMPLE // _BLOCK):
            moved = os.writev(file, [block]) if mode == os.O_WRONLY else os.readv(file, [block])
            if moved != _BLOCK:
                raise OSError(f"only {moved} of {_BLOCK} bytes moved")
        if mode == os.O_WRONLY:
            os.fsync(file)
        return int(_SAMPLE / (time.perf_counter() - start))
    finally:
        os.close(file)


def _blocks(mount: Mount, root: Path) -> tuple[Block, ...]:
    """The physical devices under a mount: partitions, LVM, RAID and encryption are followed."""
    known = root / "sys/dev/block" / mount.device
    if not known.exists():  # btrfs and others have numbers of their own; their source is a device
        known = root / "sys/class/block" / Path(mount.source).name
    if not mount.source or not known.exists():
        return ()
    return tuple(_leaves(known.resolve(), {}))


def _leaves(device: Path, seen: Mapping[Path, None]) -> list[Block]:
    if (device / "partition").exists():
        device = device.parent
    below = [link.resolve() for link in sorted((device / "slaves").glob("*"))]
    if below and device not in seen:
        return [block for next_ in below for block in _leaves(next_, {**seen, device: None})]
    rotational = _text(device / "queue/rotational")
    vendor = f"{_text(device / 'device/vendor')} {_text(device / 'device/model')}"
    return [
        Block(
            name=device.name,
            rotational={"0": False, "1": True}.get(rotational),
            hypervisor=bool(re.search(r"qemu|virtual|vmware|vbox|google|msft", vendor, re.I)),
        )
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
