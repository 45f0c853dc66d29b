from __future__ import annotations

from dataclasses import replace

from server.engines.taking import on_gpus
from server.hardware.machine import Gpu, Health, MigInstance, Process

HEALTH = Health(None, None, None, None, None, None, None)
GPU = Gpu(
    index=0, name="one", uuid="GPU-a", pci=None, memory_total=None, memory_free=None,
    memory_used=None, unified=False, bandwidth=None, compute_capability=None, processes=(),
    mig=None, mig_instances=(), health=HEALTH, pcie_generation=None, pcie_width=None,
    pcie_width_possible=None, temperature=None, power_limit=None,
)  # fmt: skip


def test_what_its_processes_hold_on_each_gpu() -> None:
    gpus = [
        replace(
            GPU, processes=(Process(1, "api", 500), Process(2, "core", 70), Process(9, "x", 3))
        ),
        replace(GPU, uuid="GPU-b", processes=(Process(2, "core", 11),)),
        replace(GPU, uuid="GPU-c", processes=(Process(9, "x", 5),)),
    ]
    assert on_gpus(gpus, [1, 2]) == {"GPU-a": 570, "GPU-b": 11}


def test_on_a_slice_of_one() -> None:
    mig = MigInstance(0, "MIG-a", "1g", None, None, None, (Process(1, "api", 40),))
    assert on_gpus([replace(GPU, mig_instances=(mig,))], [1]) == {"MIG-a": 40}


def test_what_the_driver_does_not_tell_is_not_taken_for_nothing() -> None:
    gpus = [
        replace(GPU, processes=None),
        replace(GPU, uuid="b", processes=(Process(1, "x", None),)),
    ]
    assert on_gpus(gpus, [1]) == {}
