"""The parser of GGUF headers: bytes in, a GgufHeader out, or what is wrong at which byte.

Every length is held against what is left of the file before it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from server.errors import StoreError
from server.store.ggml_types import GGML_TYPES
from server.store.gguf_header import Array, GgufHeader, Scalar, TensorInfo
from server.units import MIB

_KEPT = 64  # values of an array
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_LONGEST_HEADER = 1024 * MIB
_MOST_ENTRIES = 1 << 20  # keys, or tensors; the largest models have a few thousand
_LONGEST_KEY = 65535  # bytes; the format's own limit
_LONGEST_NAME = 63  # bytes; GGML_MAX_NAME - 1
_MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
_MOST_ELEMENTS = (1 << 63) - 1
_DEFAULT_ALIGNMENT = 32

_SCALARS: Mapping[int, tuple[str, struct.Struct]] = {
    0: ("u8", struct.Struct("<B")),
    1: ("i8", struct.Struct("<b")),
    2: ("u16", struct.Struct("<H")),
    3: ("i16", struct.Struct("<h")),
    4: ("u32", struct.Struct("<I")),
    5: ("i32", struct.Struct("<i")),
    6: ("f32", struct.Struct("<f")),
    7: ("bool", struct.Struct("<?")),
    10: ("u64", struct.Struct("<Q")),
    11: ("i64", struct.Struct("<q")),
    12: ("f64", struct.Struct("<d")),
}
_STRING = 8
_ARRAY = 9
_U32 = _SCALARS[4][1]
_U64 = _SCALARS[10][1]


class MoreWanted(Exception):  # noqa: N818 - a signal to the caller, not an error
    """The header goes on beyond the bytes that were given."""


def parse(path: Path, head: bytes, size: int) -> GgufHeader:
    """The header in `head`, the first bytes of the file `path` of `size` bytes.

    Raises MoreWanted if `head` is too short for it, StoreError if the file is malformed.
    """
    return _Parser(path, head, size).header()


class _Parser:
    """Walks over the start of a file of `size` bytes, of which `head` was read."""

    def __init__(self, path: Path, head: bytes, size: int) -> None:
        self._path = path
        self._head = head
        self._size = size
        self._at = 0

    def header(self) -> GgufHeader:
        version = self._version()
        tensor_count = self._count("tensors")
        metadata = self._metadata(self._count("metadata keys"))
        alignment = self._alignment(metadata)
        raw = self._tensor_infos(tensor_count)
        data = _padded(self._at, alignment) if tensor_count else self._at
        tensors = self._place(raw, data, alignment)
        return GgufHeader(version, tensor_count, metadata, tensors, data, self._size)

    def _version(self) -> int:
        magic = self._take(4)
        if magic != _MAGIC:
            self._fail(0, f"the file begins with {magic!r} and not with {_MAGIC!r}")
        version = self._u32()
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            hint = " (a big-endian file)" if swapped in _VERSIONS else ""
            self._fail(4, f"version {version} is not 2 or 3{hint}")
        return version

    def _count(self, what: str) -> int:
        at = self._at
        count = self._u64()
        if count > _MOST_ENTRIES:
            self._fail(at, f"{count} {what} are more than {_MOST_ENTRIES}")
        return count

    def _metadata(self, count: int) -> dict[str, Scalar | Array]:
        metadata: dict[str, Scalar | Array] = {}
        for _ in range(count):
            at = self._at
            key = self._name("a key", _LONGEST_KEY)
            if not key or key in metadata:
                self._fail(at, f"the key {key!r} is empty or given twice")
            metadata[key] = self._value(key)
        return metadata

    def _value(self, key: str) -> Scalar | Array:
        at = self._at
        kind = self._u32()
        if kind == _STRING:
            return self._take(self._u64()).decode("utf-8", "replace")
        if kind == _ARRAY:
            return self._array(key)
        if kind not in _SCALARS:
            self._fail(at, f"the value of {key!r} has the unknown type {kind}")
        return self._scalar(_SCALARS[kind][1])

    def _array(self, key: str) -> Array:
        at = self._at
        kind = self._u32()
        length = self._u64()
        if kind == _STRING:
            self._skip_strings(length, at)
            return Array("string", length, None)
        if kind not in _SCALARS:
            what = (
                "an array of arrays" if kind == _ARRAY else f"an array of the unknown type {kind}"
            )
            self._fail(at, f"{key!r} is {what}")
        name, form = _SCALARS[kind]
        raw = self._take(length * form.size)
        if length > _KEPT:
            return Array(name, length, None)
        return Array(name, length, tuple(value for (value,) in form.iter_unpack(raw)))

    def _skip_strings(self, count: int, at: int) -> None:
        if count * 8 > self._size - self._at:
            self._fail(at, f"{count} strings do not fit in the rest of the file")
        # The one loop that is long: two vocabulary arrays are half a million turns of it.
        head, end, position, length_at = self._head, len(self._head), self._at, _U64.unpack_from
        for _ in range(count):
            if position + 8 > end:
                break
            position += 8 + length_at(head, position)[0]
        else:
            if position <= end:
                self._at = position
                return
        if position > self._size or end == self._size:
            self._fail(at, f"one of {count} strings reaches beyond the end of the file")
        raise MoreWanted

    def _alignment(self, metadata: Mapping[str, Scalar | Array]) -> int:
        value = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or value < 1
            or value & (value - 1)
        ):
            self._fail(self._at, f"general.alignment is {value!r} and not a power of two")
        return value

    def _tensor_infos(self, count: int) -> list[tuple[int, TensorInfo]]:
        """Each tensor, with the byte that describes it; its offset is still that in the data."""
        seen: set[str] = set()
        infos = []
        for _ in range(count):
            at = self._at
            info = self._tensor_info()
            if info.name in seen:
                self._fail(at, f"there are two tensors called {info.name!r}")
            seen.add(info.name)
            infos.append((at, info))
        return infos

    def _tensor_info(self) -> TensorInfo:
        at = self._at
        name = self._name("a tensor's name", _LONGEST_NAME)
        dimensions = self._u32()
        if dimensions > _MOST_DIMENSIONS:
            self._fail(at, f"the tensor {name!r} has {dimensions} dimensions, more than 4")
        shape = tuple(self._u64() for _ in range(dimensions))
        elements = 1
        for extent in shape:
            elements *= extent
        if max(elements, *shape, 0) > _MOST_ELEMENTS:
            self._fail(at, f"the tensor {name!r} has an impossible shape, {shape}")
        kind = GGML_TYPES.get(number := self._u32())
        if kind is None:
            self._fail(at, f"the tensor {name!r} has the unknown type {number}")
        if (shape[0] if shape else 1) % kind.block:
            self._fail(at, f"a row of the tensor {name!r} is not whole {kind.name} blocks")
        size = elements // kind.block * kind.bytes
        return TensorInfo(name, shape, kind.name, self._u64(), size)

    def _place(
        self, infos: list[tuple[int, TensorInfo]], data: int, alignment: int
    ) -> tuple[TensorInfo, ...]:
        """The tensors at their places in the file, each right behind the one before it."""
        placed = []
        end = 0
        for at, info in infos:
            if info.offset != end:
                self._fail(at, f"the tensor {info.name!r} is at {info.offset}, expected at {end}")
            start = data + info.offset
            if start + info.bytes > self._size:
                self._fail(
                    at,
                    f"the tensor {info.name!r} ends at byte {start + info.bytes}, "
                    f"and the file has {self._size}",
                )
            placed.append(TensorInfo(info.name, info.shape, info.type, start, info.bytes))
            end = _padded(info.offset + info.bytes, alignment)
        return tuple(placed)

    def _name(self, what: str, longest: int) -> str:
        at = self._at
        length = self._u64()
        if length > longest:
            self._fail(at, f"{what} of {length} bytes is longer than {longest}")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            self._fail(at, f"{what} is not UTF-8")

    def _take(self, count: int) -> bytes:
        start, end = self._at, self._at + count
        if end > self._size:
            self._fail(start, f"{count} bytes are announced and {self._size - start} are left")
        if end > len(self._head):
            if len(self._head) >= min(self._size, _LONGEST_HEADER):
                self._fail(start, "the header is too large, or the file shrank while it was read")
            raise MoreWanted
        self._at = end
        return self._head[start:end]

    def _scalar(self, form: struct.Struct) -> Scalar:
        value: Scalar = form.unpack(self._take(form.size))[0]
        return value

    def _u32(self) -> int:
        value: int = _U32.unpack(self._take(4))[0]
        return value

    def _u64(self) -> int:
        value: int = _U64.unpack(self._take(8))[0]
        return value

    def _fail(self, at: int, what: str) -> NoReturn:
        raise StoreError(
            f"{self._path} is not a sound GGUF file",
            why=f"at byte {at}: {what}",
            next_step="It is damaged or incomplete: fetch it again",
        )


def _padded(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
