from __future__ import annotations

import pytest

from server.hardware.machine import Process
from server.planning.device import Device
from server.planning.rig import Rig

GIB = 1024**3


@pytest.fixture
def rig() -> Rig:
    """One GPU, which two strangers use, and RAM."""
    strangers = (Process(4242, "python", 3 * GIB), Process(7, None, None))
    gpu = Device(
        "GPU-1", "GPU 0 (Card)", "Card", 0, "GPU-1", 24 * GIB, 20 * GIB, 1e12, 1e14, (8, 9), 3e10,
        strangers,
    )  # fmt: skip
    ram = Device("ram", "RAM", "CPU", None, "ram", 64 * GIB, 60 * GIB, 5e10, 1e12, None, 5e10)
    return Rig((gpu,), ram, (), 8, 10**12, 1e9, ())
