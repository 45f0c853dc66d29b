"""Headers of safetensors files: those the safetensors package writes, and damaged ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save_file

from server.errors import StoreError
from server.store.safetensors import SafetensorsHeader, Tensor, read_safetensors_header


def whole(folder: Path) -> Path:
    path = folder / "model.safetensors"
    tensors: dict[str, np.ndarray] = {
        "b": np.zeros((2, 3), dtype=np.float32),
        "a": np.ones(5, dtype=np.float16),
        "empty": np.zeros((0, 4), dtype=np.int64),
        "one": np.array(7, dtype=np.uint8),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    return path


def test_agrees_with_the_package(tmp_path: Path) -> None:
    path = whole(tmp_path)
    header = read_safetensors_header(path)
    data = path.read_bytes()
    theirs = load(data)
    assert header.metadata == {"format": "pt"}
    assert header.file_bytes == len(data)
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {
        name: array.shape for name, array in theirs.items()
    }
    for tensor in header.tensors:
        content = data[tensor.offset : tensor.offset + tensor.bytes]
        assert content == theirs[tensor.name].tobytes()


def write(folder: Path, header: Any, data: int = 8, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "made.safetensors"
    size = len(text) if length is None else length
    path.write_bytes(struct.pack("<Q", size) + text + bytes(data))
    return path


def tensor(begin: int = 0, end: int = 8, dtype: Any = "F32", shape: Any = (2,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_one_made_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": tensor()})
    start = path.stat().st_size - 8
    expected = SafetensorsHeader((Tensor("w", "F32", (2,), start, 8),), {}, start + 8)
    assert read_safetensors_header(path) == expected


def test_a_type_of_the_future_is_held_to_its_place_only(tmp_path: Path) -> None:
    path = write(tmp_path, {"w": tensor(dtype="F3_E1M1", shape=[99])})
    assert read_safetensors_header(path).tensors[0].bytes == 8


@pytest.mark.parametrize(
    ("header", "data", "length", "why"),
    [
        (b"", 0, None, "no JSON table"),
        (b"[]", 0, None, "no JSON table"),
        (b"{", 0, None, "no JSON table"),
        ({"w": tensor()}, 8, 2**63, "the file has"),
        ({"w": tensor()}, 8, 100, "the file has"),
        ({"w": tensor()}, 7, None, "end at byte"),
        ({"w": tensor()}, 9, None, "end at byte"),
        ({"w": tensor(0, 4, shape=[1])}, 8, None, "end at byte"),
        ({"w": tensor(4, 12)}, 12, None, "expected at"),
        ({"v": tensor(0, 8), "w": tensor(4, 12)}, 12, None, "expected at"),
        ({"v": tensor(0, 8), "w": tensor(12, 20)}, 20, None, "expected at"),
        ({"w": tensor(8, 0)}, 8, None, "ends before it begins"),
        ({"w": tensor(shape=[3])}, 8, None, "has 8 bytes"),
        ({"w": tensor(dtype="BF16")}, 8, None, "has 8 bytes"),
        ({"w": tensor(shape=[2**62, 2**62])}, 8, None, "has 8 bytes"),
        ({"w": tensor(shape=[-2])}, 8, None, "no type, shape and place"),
        ({"w": tensor(shape=[True])}, 8, None, "no type, shape and place"),
        ({"w": tensor(shape=[1] * 40)}, 8, None, "no type, shape and place"),
        ({"w": tensor(begin=-8, end=0)}, 8, None, "no type, shape and place"),
        ({"w": tensor(dtype=7)}, 8, None, "no type, shape and place"),
        ({"w": 7}, 8, None, "no type, shape and place"),
        ({"__metadata__": {"a": 1}}, 0, None, "not all texts"),
        ({"__metadata__": []}, 0, None, "not all texts"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, header: Any, data: int, length: int | None, why: str
) -> None:
    with pytest.raises(StoreError) as caught:
        read_safetensors_header(write(tmp_path, header, data, length))
    assert why in caught.value.why


@pytest.mark.parametrize("size", [0, 1, 7, 8])
def test_a_file_shorter_than_its_header(tmp_path: Path, size: int) -> None:
    path = whole(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StoreError, match="not a sound safetensors file"):
        read_safetensors_header(path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        read_safetensors_header(tmp_path / "none")


@settings(max_examples=300)
@given(cut=st.integers(0, 400), flips=st.lists(st.integers(0, 8 * 300), max_size=4))
def test_no_damage_breaks_the_reader(tmp_path: Path, cut: int, flips: list[int]) -> None:
    data = bytearray(whole(tmp_path).read_bytes())
    for bit in flips:
        if bit // 8 < len(data):
            data[bit // 8] ^= 1 << bit % 8
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data[: len(data) - cut] if cut < len(data) else b"")
    try:
        header = read_safetensors_header(path)
    except StoreError:
        return
    assert sum(tensor.bytes for tensor in header.tensors) < header.file_bytes
