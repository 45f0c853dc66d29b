"""What of a machine can be placed on, and what cannot and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from server.hardware import Process
from server.hardware.imagined import imagined
from server.planning.rig import RAM_ID, Own, rig
from server.units import GIB, MIB
from tests.planning.machines import CASES, DEMANDS, HARDWARE, KNOWN, busy, changed, sliced, without


def test_the_corpus_is_large_and_every_demand_is_in_it() -> None:
    assert len(CASES) == len({case.name for case in CASES}) >= 150
    assert {case.wanted for case in CASES} == set(DEMANDS)
    assert len(HARDWARE) >= 60


@pytest.mark.parametrize("hardware", HARDWARE)
def test_what_holds_on_every_machine(hardware: str) -> None:
    machine = HARDWARE[hardware]
    found = rig(machine)
    assert rig(machine) == found
    devices = (*found.gpus, found.ram)
    assert len({device.id for device in devices}) == len(devices)
    for device in devices:
        assert 0 <= device.free <= device.memory
        assert min(device.bandwidth, device.compute, device.host_link) > 0
        assert found.device(device.id) is device
    assert found.pools().keys() == {device.pool for device in devices}
    assert all(free >= 0 for free in found.pools().values())
    whole = [gpu.id for gpu in found.gpus if not gpu.mig]
    assert len(found.interconnects) == len(whole) * (len(whole) - 1) // 2
    told = Counter(gpu.index for gpu in machine.gpus)
    told.update(gpu.index for gpu in machine.lost_gpus)
    seen = {gpu.index for gpu in found.gpus}
    named = {int(text.split()[1].strip(":,")) for text in found.left_out}
    assert seen | named == set(told), "every GPU is used, or named as left out"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_has_wishes(case) -> None:  # type: ignore[no-untyped-def]
    assert case.demand.wishes
    assert {wish.model for wish in case.demand.wishes} <= set(KNOWN.models)
    assert case.demand.auto == (case.wanted.startswith("auto"))


def test_one_card() -> None:
    found = rig(imagined("1x4090+64G"))
    (gpu,) = found.gpus
    free = 24_564 * MIB - 512 * MIB
    assert (gpu.id, gpu.name) == ("GPU-0", "GPU 0 (NVIDIA GeForce RTX 4090)")
    assert gpu.pool == "GPU-0"
    assert gpu.free == free - free // 10
    assert (gpu.bandwidth, gpu.compute, gpu.capability) == (1008e9, 165.2e12, (8, 9))
    assert gpu.host_link == pytest.approx(31.5e9, rel=0.01)
    assert (found.ram.id, found.ram.pool, found.ram.index) == (RAM_ID, RAM_ID, None)
    assert found.ram.free == imagined("1x4090+64G").memory.available - 4 * GIB
    assert (found.cores, found.left_out) == (8, ())
    assert found.disk_speed == 2.5e9


def test_a_measured_disk_counts() -> None:
    machine = imagined("1x4090+64G")
    told = replace(machine, disk=replace(machine.disk, read_speed=7_000_000_000))
    assert rig(told).disk_speed == 7e9


def test_an_unknown_device_or_way() -> None:
    found = rig(imagined("2x4090+64G"))
    with pytest.raises(KeyError):
        found.device("GPU-9")
    with pytest.raises(KeyError):
        found.interconnect("GPU-0", "GPU-0")
    assert found.interconnect("GPU-1", "GPU-0") == found.interconnects[0]


# ---- What others use, and what we use ourselves ----


def test_memory_of_strangers_is_taken_off_and_they_are_named() -> None:
    found = rig(busy("2x4090+128G", {0: 20 * GIB}))
    first, second = found.gpus
    assert second.free - first.free == pytest.approx(20 * GIB * 0.9, abs=2)
    assert first.used_by == (Process(4242, "python3", 20 * GIB),)
    assert second.used_by == ()


@pytest.mark.parametrize(
    "own",
    [
        Own({"GPU-0": 18 * GIB}, pids={4242}),
        Own(pids={4242}),  # what the driver tells of our PIDs is enough
        Own({"GPU-0": 18 * GIB, RAM_ID: 0}, pids=[4242]),
    ],
)
def test_what_our_own_engines_hold_is_free_for_a_new_plan(own: Own) -> None:
    found = rig(busy("4090+64G", {0: 18 * GIB}), own=own)
    assert found.gpus == rig(imagined("4090+64G")).gpus


def test_our_own_memory_without_a_pid_from_the_driver() -> None:
    """In a container NVML tells PIDs of the host, or none: the ledger of the fleet counts."""
    machine = busy("4090+64G", {0: 18 * GIB})
    hidden = replace(machine, gpus=(replace(machine.gpus[0], processes=None),))
    assert (
        rig(hidden, own=Own({"GPU-0": 18 * GIB})).gpus[0].free
        == rig(imagined("4090+64G")).gpus[0].free
    )


def test_never_more_is_free_than_there_is() -> None:
    found = rig(imagined("4090+64G"), own=Own({"GPU-0": 900 * GIB, RAM_ID: 900 * GIB}))
    assert found.gpus[0].free < found.gpus[0].memory
    assert found.ram.free < found.ram.memory


def test_ram_that_our_engines_hold() -> None:
    machine = HARDWARE["cpu whose RAM is in use"]
    before, after = rig(machine).ram.free, rig(machine, own=Own({RAM_ID: 8 * GIB})).ram.free
    assert after - before == pytest.approx(8 * GIB * 0.9, rel=0.01)


# ---- GPUs that are special ----


def test_unified_memory_is_one_pool() -> None:
    found = rig(imagined("unified+128G"))
    (gpu,) = found.gpus
    assert gpu.pool == RAM_ID
    assert gpu.free == found.ram.free
    assert found.pools() == {RAM_ID: found.ram.free}
    assert found.ram.bandwidth == gpu.bandwidth == gpu.host_link == 273e9


def test_what_our_engines_hold_of_unified_memory_is_ram() -> None:
    machine = imagined("unified+128G")
    used = replace(machine.memory, available=machine.memory.available - 40 * GIB)
    strained = replace(machine, memory=used)
    assert rig(strained, own=Own({"GPU-0": 40 * GIB})).ram.free == rig(machine).ram.free


def test_mig_instances_are_devices_of_their_own() -> None:
    found = rig(sliced("A100-80G+256G", 0, "3g.40gb", "1g.10gb"))
    half, small = found.gpus
    assert (half.id, half.pool, half.index, half.mig) == ("MIG-0-0", "MIG-0-0", 0, True)
    assert half.name == "GPU 0, MIG 0 (NVIDIA A100-SXM4-80GB MIG 3g.40gb)"
    assert half.bandwidth == pytest.approx(2039e9 / 2, rel=0.02)
    assert half.compute == pytest.approx(312e12 / 2, rel=0.02)
    assert half.capability == (8, 0)
    assert small.memory < half.memory / 3
    assert found.interconnects == ()


def test_a_mig_instance_that_tells_no_memory() -> None:
    machine = sliced("A100-80G+256G", 0, "3g.40gb", "3g.40gb")
    first, second = machine.gpus[0].mig_instances
    parts = (replace(first, memory_free=None), second)
    found = rig(replace(machine, gpus=(replace(machine.gpus[0], mig_instances=parts),)))
    assert [gpu.id for gpu in found.gpus] == ["MIG-0-1"]
    assert found.left_out == (
        "GPU 0, MIG 0 (NVIDIA A100-SXM4-80GB MIG 3g.40gb): the driver does not tell its memory",
    )


@pytest.mark.parametrize(
    ("hardware", "used", "why"),
    [
        ("2x4090, one lost", [1], "GPU 0 (NVIDIA GeForce RTX 4090): GPU is lost"),
        ("4090 whose memory is not told", [], "does not tell how much memory it has"),
        ("2x3090, one failing", [0], "GPU 1 (NVIDIA GeForce RTX 3090): its memory is failing"),
        ("A100 that waits for a reset", [], "a bad row of its memory waits for a reset"),
        ("H100 to be reset", [1], "the driver asks, after an error: reset the GPU"),
        ("A100 in MIG mode without instances", [], "it is in MIG mode and has no instance"),
    ],
)
def test_what_is_left_out_and_why(hardware: str, used: list[int], why: str) -> None:
    found = rig(HARDWARE[hardware])
    assert [gpu.index for gpu in found.gpus] == used
    (told,) = found.left_out
    assert why in told


def test_what_the_driver_does_not_tell_comes_from_the_table() -> None:
    told = rig(HARDWARE["1x4090+64G"]).gpus[0]
    assert rig(HARDWARE["4090 with an old driver"]).gpus == (told,)


def test_a_card_that_nobody_knows_is_taken_for_the_slowest() -> None:
    (gpu,) = rig(HARDWARE["a card that nobody knows"]).gpus
    slowest = min(rig(imagined(f"{name}+64G")).gpus[0].bandwidth for name in ("A2", "Orin", "3050"))
    assert gpu.bandwidth == slowest
    assert gpu.capability == (13, 0)


def test_what_nvml_measures_stands_before_the_table() -> None:
    (gpu,) = rig(changed("4090+64G", 0, bandwidth=900_000_000_000)).gpus
    assert gpu.bandwidth == 900e9


def test_a_control_groups_limit_is_the_ram_there_is() -> None:
    found = rig(HARDWARE["4090 with little RAM granted"])
    assert found.ram.memory == 8 * GIB
    assert found.ram.free < 8 * GIB


# ---- Ways between GPUs ----


@pytest.mark.parametrize(
    ("text", "kind", "gigabytes_a_second"),
    [
        ("2x4090+64G", "pcie", 31.5),
        ("4090+4060+64G", "pcie", 15.75),  # the lesser slot
        ("2x3090+nvlink+64G", "nvlink", 56.2),
        ("8xH100+2T", "nvswitch", 450),
    ],
)
def test_how_fast_two_gpus_reach_each_other(
    text: str, kind: str, gigabytes_a_second: float
) -> None:
    way = rig(imagined(text)).interconnect("GPU-0", "GPU-1")
    assert way.kind == kind
    assert way.bandwidth / 1e9 == pytest.approx(gigabytes_a_second, rel=0.01)


def test_a_link_of_which_the_driver_tells_no_speed_has_the_tables() -> None:
    machine = imagined("2xH100+512G")
    links = tuple(replace(link, bandwidth=None) for link in machine.links)
    assert rig(replace(machine, links=links)).interconnects[0].bandwidth == 450e9


def test_without_any_link_told_it_is_pcie() -> None:
    assert rig(replace(imagined("2xH100+512G"), links=())).interconnects[0].kind == "pcie"


def test_gpus_that_are_left_keep_their_ways() -> None:
    found = rig(without("8xH100+2T", 5))
    assert len(found.interconnects) == 21
    assert {way.kind for way in found.interconnects} == {"nvswitch"}
