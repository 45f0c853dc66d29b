"""Where the kernel tells how many it has killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.hardware.oom import oom_kills

V2 = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "31 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
EVENTS = "low 0\nhigh 12\nmax 7\noom 3\noom_kill {}\noom_group_kill 1\n"


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "count"),
    [
        pytest.param(
            {
                "proc/self/cgroup": "0::/serve.slice/holdfast.service\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/serve.slice/holdfast.service/memory.events": EVENTS.format(2),
                "sys/fs/cgroup/serve.slice/memory.events": EVENTS.format(5),
                "proc/vmstat": "oom_kill 9\n",
            },
            2,
            id="version 2, its own group",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/init/scope\n",
                "proc/self/mountinfo": V2,
                "sys/fs/cgroup/init/memory.events": EVENTS.format(5),
            },
            5,
            id="the next group above that tells",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/box\n0::/\n",
                "proc/self/mountinfo": f"{V2}\n{V1}",
                "sys/fs/cgroup/memory/box/memory.oom_control": (
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"
                ),
            },
            4,
            id="version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": V2,
                "proc/vmstat": "nr_free_pages 1\noom_kill 9\n",
            },
            9,
            id="the root group does not tell",
        ),
        pytest.param({"proc/vmstat": "oom_kill 9\n"}, 9, id="no groups"),
        pytest.param({"proc/vmstat": "nr_free_pages 1\n"}, None, id="an old kernel"),
        pytest.param({}, None, id="nothing can be read"),
    ],
)
def test_where_it_is_told(tmp_path: Path, files: dict[str, str], count: int | None) -> None:
    assert oom_kills(system(tmp_path, files)) == count
