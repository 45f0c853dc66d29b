"""Control groups, version 1 and 2: which folders limit this process.

A process sits in a tree of groups, and each level may set a limit, so the tightest one counts. In
a container the tree that is mounted begins at the container's own group, and the path that the
kernel tells may be relative to the host's. cgroups(7), kernel Documentation/admin-guide/cgroup-v2.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    device: str
    """`major:minor`, `0:N` for file systems without a block device."""
    root: str
    """The folder of the file system that is mounted here."""
    point: str
    filesystem: str
    source: str
    options: tuple[str, ...]


def parse_mounts(mountinfo: str) -> tuple[Mount, ...]:
    """/proc/self/mountinfo -> mounts in mount order; lines that are none are left out."""
    mounts = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if separator and len(left) >= 6 and len(right) >= 3:
            options = tuple(left[5].split(",")) + tuple(right[2].split(","))
            mounts.append(
                Mount(
                    left[2], _plain(left[3]), _plain(left[4]), right[0], _plain(right[1]), options
                )
            )
    return tuple(mounts)


def folders(controller: str, membership: str, mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """Folders whose files limit this process, innermost first, as paths from the root.

    `membership` is the text of /proc/self/cgroup. A controller is found in version 1 (a hierarchy
    of its own) or in version 2 (the unified one), version 1 first: in hybrid set-ups the unified
    tree exists, but its controllers do not.
    """
    paths = _membership(membership)
    for mount in reversed(mounts):
        if mount.filesystem == "cgroup" and controller in mount.options and controller in paths:
            return tuple(_upwards(mount, paths[controller]))
    for mount in reversed(mounts):
        if mount.filesystem == "cgroup2" and "" in paths:
            return tuple(_upwards(mount, paths[""]))
    return ()


def read_number(path: Path) -> int | None:
    """The whole number in a file; None when it is absent, unreadable or not a number ("max")."""
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return None


def _membership(text: str) -> dict[str, str]:
    """{controller: path}; the unified hierarchy is the key ""."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _upwards(mount: Mount, path: str) -> Iterator[str]:
    """From the process's group to the mount point. Groups outside the mount are not visible."""
    inside = posixpath.relpath(path or "/", mount.root or "/")
    if inside.startswith(".."):
        inside = "."
    folder = posixpath.normpath(posixpath.join(mount.point, inside))
    while True:
        yield folder
        if folder == mount.point or folder == "/":
            return
        folder = posixpath.dirname(folder)


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
