"""What the header of a GGUF file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the metadata. Vocabularies are large, so only short lists keep their values."""

    type: str
    length: int
    values: tuple[Scalar, ...] | None
    """None where they are strings, or more than 64."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    name: str
    shape: tuple[int, ...]
    """Elements by dimension; the first one is that of a row."""
    type: str
    offset: int
    """Bytes from the start of the file."""
    bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    version: int
    tensor_count: int
    metadata: Mapping[str, Scalar | Array]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    """Byte at which the tensors begin."""
    file_bytes: int

    @property
    def architecture(self) -> str:
        """`general.architecture`, such as `qwen35`; empty if the file does not say."""
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""
