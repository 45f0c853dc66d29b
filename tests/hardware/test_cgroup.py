"""Which control groups limit this process, on hosts and in containers, version 1 and 2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.hardware.cgroup import Mount, folders, parse_mounts

V2 = "30 22 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V2_CONTAINER = "30 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
V1_MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V1_CONTAINER = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
EMPTY_V2 = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("membership", "mounts", "expected"),
    [
        ("0::/\n", V2, ["/sys/fs/cgroup"]),
        (
            "0::/system.slice/holdfast.service\n",
            V2,
            [
                "/sys/fs/cgroup/system.slice/holdfast.service",
                "/sys/fs/cgroup/system.slice",
                "/sys/fs/cgroup",
            ],
        ),
        # A container without a cgroup namespace sees the host's path and only its own subtree.
        ("0::/docker/abc\n", V2_CONTAINER, ["/sys/fs/cgroup"]),
        ("0::/docker/abc/x\n", V2_CONTAINER, ["/sys/fs/cgroup/x", "/sys/fs/cgroup"]),
        # With a namespace the path is its own; a process moved in from outside shows "..".
        ("0::/\n", V2_CONTAINER, ["/sys/fs/cgroup"]),
        ("0::/../other\n", V2, ["/sys/fs/cgroup/other", "/sys/fs/cgroup"]),
        ("4:memory:/a\n0::/b\n", V1_MEMORY + EMPTY_V2, ["/sys/fs/cgroup/memory/a",
                                                         "/sys/fs/cgroup/memory"]),
        ("4:memory:/docker/abc\n", V1_CONTAINER, ["/sys/fs/cgroup/memory"]),
        ("", V2, []),
        ("0::/\n", "", []),
        ("4:cpu:/a\n", V1_MEMORY, []),
    ],
)  # fmt: skip
def test_folders(membership: str, mounts: str, expected: list[str]) -> None:
    assert list(folders("memory", membership, parse_mounts(mounts))) == expected


def test_mounts() -> None:
    text = (
        "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
        "not a mount\n"
    )
    options = ("rw", "noatime", "rw", "errors=continue")
    assert parse_mounts(text) == (Mount("98:0", "/mnt1", "/mnt 2", "ext3", "/dev/root", options),)


@given(st.text(), st.text())
def test_any_text_parses_and_ends(membership: str, mounts: str) -> None:
    folders("memory", membership, parse_mounts(mounts))


@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), max_size=8).map("/".join))
def test_no_path_leads_out_of_the_mount(path: str) -> None:
    for folder in folders("memory", f"0::/{path}\n", parse_mounts(V2)):
        assert folder == "/sys/fs/cgroup" or folder.startswith("/sys/fs/cgroup/")
