"""Hardware written in a line, and the machine that it becomes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ConfigError
from server.hardware import Machine, gpu_table
from server.hardware.imagined import imagined
from server.units import GIB, MIB, TIB


@pytest.mark.parametrize(
    ("text", "cards", "ram", "cores"),
    [
        ("1x4090+64G", ["NVIDIA GeForce RTX 4090"], 64 * GIB, 8),
        ("4090+64G", ["NVIDIA GeForce RTX 4090"], 64 * GIB, 8),
        ("64G + 1 x RTX 4090", ["NVIDIA GeForce RTX 4090"], 64 * GIB, 8),
        ("2x4090+256G", ["NVIDIA GeForce RTX 4090"] * 2, 256 * GIB, 32),
        ("8xH100-80G+2T", ["NVIDIA H100 80GB HBM3"] * 8, 2 * TIB, 64),
        (
            "1x4090+1x3090+128G",
            ["NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090"],
            128 * GIB,
            16,
        ),
        ("cpu+16G", [], 16 * GIB, 4),
        ("CPU+1.5G+2c", [], 3 * GIB // 2, 2),
        ("cpu+64G+24cores", [], 64 * GIB, 24),
        ("unified+128G", ["NVIDIA GB10"], 128 * GIB, 16),
        ("Thor+128G", ["NVIDIA Thor"], 128 * GIB, 16),
    ],
)
def test_what_is_written_is_what_is_there(
    text: str, cards: list[str], ram: int, cores: int
) -> None:
    machine = imagined(text)
    assert [gpu.name for gpu in machine.gpus] == cards
    assert machine.memory.total == ram
    assert 0.7 * ram < machine.memory.available < ram
    assert machine.cpu.usable_cores == cores
    assert (machine.driver is None) == (not cards)


def test_a_gpu_is_that_of_the_table_and_idle() -> None:
    gpu = imagined("1x4090+64G").gpus[0]
    assert (gpu.uuid, gpu.index) == ("GPU-0", 0)
    assert gpu.memory_total == 24_564 * MIB
    assert gpu.memory_free == 24_564 * MIB - 512 * MIB
    assert gpu.bandwidth == 1_008_000_000_000
    assert gpu.compute_capability == (8, 9)
    assert gpu.processes == ()
    assert (gpu.pcie_generation, gpu.pcie_width) == (4, 16)


def test_unified_memory_is_that_of_the_machine() -> None:
    machine = imagined("unified+128G")
    gpu = machine.gpus[0]
    assert gpu.unified
    assert (gpu.memory_total, gpu.memory_free) == (machine.memory.total, machine.memory.available)
    assert machine.cpu.architecture == "aarch64"


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("2x4090+64G", {"pcie": 1}),
        ("8xH100+2T", {"nvswitch": 28}),
        ("4xV100-32G+256G", {"nvlink": 6}),
        ("2x3090+128G", {"pcie": 1}),
        ("2x3090+nvlink+128G", {"nvlink": 1}),
        ("4x3090+nvlink+128G", {"nvlink": 2, "pcie": 4}),
        ("2x4090+nvlink+128G", {"pcie": 1}),  # a card that has none
        ("1x3090+1x4090+nvlink+128G", {"pcie": 1}),
        ("1x4090+64G", {}),
    ],
)
def test_how_gpus_reach_each_other(text: str, links: dict[str, int]) -> None:
    machine = imagined(text)
    assert Counter(link.kind for link in machine.links) == links
    for link in machine.links:
        assert (link.bandwidth is None) == (link.kind == "pcie")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1x4091+64G", '"4091" is no GPU of the table. Did you mean "4090"'),
        ("RTX4091+64G", 'Did you mean "4090"'),
        ("xyzzy+64G", "GPUs: 2000-ada, 2060"),
        ("A100+64G", '"A100" may be A100-40G or A100-80G'),
        ("H100-40G+64G", '"H100-40G" is no GPU of the table'),
        ("1x4090", "it does not say how much RAM there is"),
        ("64G", 'it names no GPU; a machine without any is written "cpu"'),
        ("cpu", "it does not say how much RAM there is"),
        ("", "nothing between two signs of +"),
        ("4090++64G", "nothing between two signs of +"),
        ("cpu+4090+64G", '"cpu" stands for a machine without GPUs'),
        ("cpu+unified+64G", '"cpu" stands for a machine without GPUs'),
        ("2xGB10+64G", "stands alone"),
        ("unified+4090+64G", "stands alone"),
        ("nvlink+4090+64G", "NVLink joins two GPUs or more"),
        ("0x4090+64G", "0 GPUs are not from 1 to 64"),
        ("4090+64G+32G", "two sizes of RAM"),
        ("4090+64G+8c+8c", "two cores"),
        ("cpu+0c+64G", "from 1 to 1024 cores"),
        ("cpu+100M", "RAM must be from 512M to 64T"),
        ("cpu+9999T", "RAM must be from 512M to 64T"),
    ],
)
def test_what_is_not_understood(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        imagined(text)
    assert told in raised.value.sentence
    assert f'"{text}"' in raised.value.sentence
    assert raised.value.exit_code == 2


def test_a_machine_from_another_box(tmp_path: Path) -> None:
    file = tmp_path / "box.json"
    machine = imagined("2x3090+nvlink+128G")
    file.write_text(machine.to_json())
    assert imagined(str(file)) == machine
    assert Machine.from_json(machine.to_json()) == machine


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent.json", None, "cannot be read: No such file"),
        ("null\0.json", None, "cannot be read: "),
        ("bad.json", "{", "not the JSON of a machine"),
        ("other.json", "{}", "does not describe a machine"),
    ],
)
def test_a_file_that_is_no_machine(
    tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=told):
        imagined(str(tmp_path / name))


@given(st.text(max_size=40) | st.from_regex(r"([0-9]x?[0-9A-Z]{0,6}\+?){1,4}", fullmatch=True))
def test_whatever_is_written_is_understood_or_told(text: str) -> None:
    try:
        machine = imagined(text)
    except ConfigError:
        return
    assert machine.memory.total >= GIB // 2


@pytest.mark.parametrize("product", gpu_table.products(), ids=lambda product: product.label)
def test_every_product_can_be_imagined(product: gpu_table.Product) -> None:
    gpu = imagined(f"{product.label}+64G").gpus[0]
    assert gpu.name == product.name
    assert gpu.unified or gpu.memory_total == product.memory
