"""The table of GPUs: what stands in it, how names are found, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import ConfigError
from server.hardware import gpu_table
from server.hardware.nvml import bandwidth
from server.units import GIB, MIB

GOOD = (
    'name = "NVIDIA X", memory = 8192, bandwidth = 500, compute = 50, capability = "8.9", pcie = 4'
)


@pytest.mark.parametrize(
    ("name", "memory", "gigabytes_a_second", "teraflops", "capability"),
    [
        ("NVIDIA GeForce RTX 2080 Ti", 11 * GIB, 616, 53.8, (7, 5)),
        ("NVIDIA GeForce RTX 3090", 24 * GIB, 936, 71, (8, 6)),
        ("NVIDIA GeForce RTX 4090", 24_564 * MIB, 1008, 165.2, (8, 9)),
        ("NVIDIA GeForce RTX 5090", 32_607 * MIB, 1792, 209.5, (12, 0)),
        ("NVIDIA A100-SXM4-80GB", 80 * GIB, 2039, 312, (8, 0)),
        ("NVIDIA L40S", 46_068 * MIB, 864, 362, (8, 9)),
        ("NVIDIA H100 80GB HBM3", 81_559 * MIB, 3352, 989, (9, 0)),
        ("NVIDIA H200", 143_771 * MIB, 4800, 989, (9, 0)),
        ("NVIDIA B200", 183_359 * MIB, 8000, 2250, (10, 0)),
        ("NVIDIA GB10", 128 * GIB, 273, 125, (12, 1)),
    ],
)
def test_known_cards(
    name: str,
    memory: int,
    gigabytes_a_second: float,
    teraflops: float,
    capability: tuple[int, int],
) -> None:
    product = gpu_table.lookup(name)
    assert product is not None
    assert product.memory == memory
    assert product.bandwidth == gigabytes_a_second * 1e9
    assert product.compute == teraflops * 1e12
    assert product.capability == capability


@pytest.mark.parametrize(
    ("name", "bits", "megahertz"),
    [
        ("NVIDIA GeForce RTX 4090", 384, 10_501),
        ("NVIDIA H100 80GB HBM3", 5120, 2619),
        ("NVIDIA A100-SXM4-80GB", 5120, 1593),
        ("NVIDIA GeForce RTX 3090", 384, 9751),
        ("Tesla T4", 256, 5001),
    ],
)
def test_the_table_agrees_with_what_nvml_tells(name: str, bits: int, megahertz: int) -> None:
    product = gpu_table.lookup(name)
    assert product is not None
    assert bandwidth(bits, megahertz) == pytest.approx(product.bandwidth, rel=0.01)


def test_every_card_is_sensible() -> None:
    assert len(gpu_table.products()) > 80
    for product in gpu_table.products():
        assert 20 < product.compute / product.bandwidth < 1000, product.name
        assert (product.nvlink > 0) == (product.joined is not None)
        assert product.host_link < product.bandwidth
        assert not product.unified or product.joined is None


@pytest.mark.parametrize("product", gpu_table.products(), ids=lambda product: product.label)
def test_each_label_names_one_product(product: gpu_table.Product) -> None:
    assert gpu_table.find(product.label) == (product,)
    assert gpu_table.find(product.label.lower().replace("-", " ")) == (product,)
    assert product in gpu_table.find(product.name)
    assert gpu_table.lookup(product.name, product.memory) == product


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("4090", ["NVIDIA GeForce RTX 4090"]),
        ("rtx4090", ["NVIDIA GeForce RTX 4090"]),
        ("GeForce RTX 4090", ["NVIDIA GeForce RTX 4090"]),
        ("4060Ti-16G", ["NVIDIA GeForce RTX 4060 Ti"]),
        ("H100", ["NVIDIA H100 80GB HBM3"]),
        ("H100-80G", ["NVIDIA H100 80GB HBM3"]),
        ("h100 80 gib", ["NVIDIA H100 80GB HBM3"]),
        ("H100-PCIe", ["NVIDIA H100 PCIe"]),
        ("H100-40G", []),
        ("A100", ["NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB"]),
        ("A100-80G", ["NVIDIA A100-SXM4-80GB"]),
        ("L40S-48G", ["NVIDIA L40S"]),
        ("RTX 6000 Ada", ["NVIDIA RTX 6000 Ada Generation"]),
        ("RTX 6000", ["Quadro RTX 6000"]),
        ("GB10", ["NVIDIA GB10"]),
        ("Radeon", []),
        ("", []),
        ("G", []),
    ],
)
def test_what_people_may_mean(text: str, names: list[str]) -> None:
    assert [product.name for product in gpu_table.find(text)] == names


def test_cards_of_one_name_differ_in_memory() -> None:
    large = gpu_table.lookup("NVIDIA GeForce RTX 3060", 12 * GIB)
    small = gpu_table.lookup("NVIDIA GeForce RTX 3060", 8 * GIB)
    assert large is not None
    assert small is not None
    assert (large.bandwidth, small.bandwidth) == (360e9, 240e9)


def test_a_mig_instance_is_looked_up_as_its_card() -> None:
    slice_ = gpu_table.lookup("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 40 * GIB)
    assert slice_ is not None
    assert slice_.name == "NVIDIA A100-SXM4-80GB"


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H100", ""])
def test_no_other_card_is_taken_for_one_that_is_not_in_the_table(name: str) -> None:
    assert gpu_table.lookup(name) is None


def test_the_least_that_an_unknown_card_has() -> None:
    assert gpu_table.least((8, 9)) == (224e9, 30.2e12)
    slowest = min(product.bandwidth for product in gpu_table.products())
    assert gpu_table.least((99, 0))[0] == gpu_table.least(None)[0] == slowest


@pytest.mark.parametrize(
    ("generation", "lanes", "gigabytes_a_second"),
    [(3, 16, 15.8), (4, 8, 15.8), (5, 16, 63), (2, 1, 1)],
)
def test_pcie(generation: int, lanes: int, gigabytes_a_second: float) -> None:
    assert gpu_table.pcie_rate(generation, lanes) / 1e9 == pytest.approx(
        gigabytes_a_second, rel=0.02
    )


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([GOOD.replace("memory = 8192, ", "")], ["gpus[NVIDIA X] has no memory"]),
        ([GOOD.replace("8192", '"8G"')], [".memory = '8G': expected a whole number"]),
        ([GOOD.replace("8.9", "new")], [".capability = 'new': expected a compute capability"]),
        ([GOOD + ", colour = 1"], [".colour is not a known key"]),
        ([GOOD + ", nvlink = 50"], ["needs both nvlink and joined, or neither"]),
        ([GOOD, GOOD], ["gpus[NVIDIA X] stands twice with the same memory"]),
        ([GOOD.replace("500", "0"), GOOD.replace("4", "0")], ["bandwidth", "pcie"]),
    ],
)
def test_a_wrong_table_is_told_whole(rows: list[str], told: list[str]) -> None:
    text = "gpus = [\n" + "".join(f"    {{ {row} }},\n" for row in rows) + "]\n"
    with pytest.raises(ConfigError) as raised:
        gpu_table.parse(text, Path("table.toml"))
    assert len(raised.value.problems) == len(told)
    for problem, expected in zip(raised.value.problems, told, strict=True):
        assert problem.startswith("table.toml: gpus[NVIDIA X]")
        assert expected in problem
