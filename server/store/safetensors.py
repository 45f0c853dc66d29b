"""Headers of safetensors files, read with suspicion.

Eight bytes give the header's length, JSON follows, then the tensors. Every number is held against
the file's size before it is believed, and the tensors must fill the file without gap or overlap.

The format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import orjson

from server.errors import StoreError

_LONGEST_HEADER = 100_000_000  # bytes; the reference implementation's own limit
_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of an element; a type that is not known here is only held to its place in the file."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""
    bytes: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    tensors: tuple[Tensor, ...]
    """In the order in which they lie in the file."""
    metadata: Mapping[str, str]
    file_bytes: int


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """The header of one file, checked in full. Raises StoreError, saying what is wrong."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            length = int.from_bytes(head, "little")
            if len(head) < 8 or length > min(size - 8, _LONGEST_HEADER):
                _fail(path, f"its header should have {length} bytes, and the file has {size}")
            text = file.read(length)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read",
            why=error.strerror or str(error),
            next_step="Check the path and its permissions",
        ) from error
    return _header(path, text, 8 + length, size)


def _header(path: Path, text: bytes, data: int, size: int) -> SafetensorsHeader:
    try:
        raw = orjson.loads(text) if text.startswith(b"{") else None
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        _fail(path, "its header is no JSON table")
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _fail(path, "its metadata are not all texts")
    tensors = sorted(
        (_tensor(path, name, row, data) for name, row in raw.items()),
        key=lambda tensor: (tensor.offset, tensor.bytes),
    )
    end = data
    for tensor in tensors:
        if tensor.offset != end:
            _fail(path, f"the tensor {tensor.name!r} is at byte {tensor.offset}, expected at {end}")
        end += tensor.bytes
    if end != size:
        _fail(path, f"its tensors end at byte {end}, and the file has {size}")
    return SafetensorsHeader(tuple(tensors), metadata, size)


def _tensor(path: Path, name: str, row: object, data: int) -> Tensor:
    fields = row if isinstance(row, dict) else {}
    dtype = fields.get("dtype")
    shape, offsets = _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        _fail(path, f"the tensor {name[:80]!r} has no type, shape and place")
    begin, end = offsets
    if begin > end:
        _fail(path, f"the tensor {name[:80]!r} ends before it begins")
    bits = _BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != (end - begin) * 8:
        _fail(
            path,
            f"the tensor {name[:80]!r} of {dtype} {list(shape)} has {end - begin} bytes",
        )
    return Tensor(name, dtype, shape, data + begin, end - begin)


def _counts(value: object) -> tuple[int, ...] | None:
    """The list's counts, if it is a short one of numbers that no arithmetic blows up on."""
    if not isinstance(value, list) or len(value) > 32:
        return None
    fine = all(type(item) is int and 0 <= item < 2**63 for item in value)
    return tuple(value) if fine else None


def _fail(path: Path, why: str) -> NoReturn:
    raise StoreError(f"{path} is not a sound safetensors file", why=why)
