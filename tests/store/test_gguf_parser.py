"""The header parser against damage of every kind, in files made by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import StoreError
from server.store.gguf import Array, GgufHeader, read_header
from tests.effort import cpu_seconds

Writer = Callable[..., Path]


# The parts of a file: by default it has no keys and one tensor, of 8 f32.
def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(
    name: str = "w", shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0, dims: int = -1
) -> bytes:
    dimensions = len(shape) if dims < 0 else dims
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", dimensions) + sizes + struct.pack("<IQ", kind, offset)


def build(
    keys: bytes = b"",
    key_count: int = 0,
    tensors: bytes | None = None,
    tensor_count: int = 1,
    data: int = 32,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, tensor_count, key_count) + keys
    head += tensor() if tensors is None else tensors
    return head + b"\0" * (-len(head) % alignment) + b"\0" * data


HUGE = 1 << 62


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "0 are left"),
        (b"GGU", "3 are left"),
        (b"GGML" + b"\0" * 60, "begins with b'GGML'"),
        (build(version=1), "version 1 is not 2 or 3"),
        (build(version=0x03000000), "big-endian"),
        (build(tensor_count=HUGE), "tensors are more than"),
        (build(key_count=HUGE), "metadata keys are more than"),
        (build(key("a", 4, struct.pack("<I", 1)) * 2, 2), "'a' is empty or given twice"),
        (build(key("", 4, struct.pack("<I", 1)), 1), "'' is empty"),
        (build(struct.pack("<Q", HUGE), 1), "a key of"),
        (build(text("ä").replace("ä".encode(), b"\xff\xfe") + b"\0" * 8, 1), "not UTF-8"),
        (build(key("a", 99, b""), 1), "unknown type 99"),
        (build(key("a", 8, struct.pack("<Q", HUGE)), 1), "bytes are announced"),
        (build(key("a", 9, struct.pack("<IQ", 4, HUGE)), 1), "bytes are announced"),
        (build(key("a", 9, struct.pack("<IQ", 8, HUGE)), 1), "strings do not fit"),
        (build(key("a", 9, struct.pack("<IQQ", 8, 1, HUGE)), 1), "beyond the end"),
        (build(key("a", 9, struct.pack("<IQQ", 8, 1, (1 << 64) - 1)), 1), "beyond the end"),
        (build(key("a", 9, struct.pack("<IQ", 9, 1)), 1), "an array of arrays"),
        (build(key("a", 9, struct.pack("<IQ", 77, 1)), 1), "unknown type 77"),
        (build(key("general.alignment", 4, struct.pack("<I", 24)), 1), "not a power of two"),
        (build(key("general.alignment", 4, struct.pack("<I", 0)), 1), "not a power of two"),
        (build(key("general.alignment", 7, b"\1"), 1), "not a power of two"),
        (build(key("general.alignment", 8, text("32")), 1), "not a power of two"),
        (build(tensors=tensor("n" * 64)), "longer than 63"),
        (build(tensors=tensor(dims=5)), "5 dimensions"),
        (build(tensors=tensor(shape=(HUGE, HUGE))), "impossible shape"),
        (build(tensors=tensor(shape=(0, (1 << 64) - 1))), "impossible shape"),
        (build(tensors=tensor(kind=4)), "unknown type 4"),
        (build(tensors=tensor(kind=1 << 31)), "unknown type"),
        (build(tensors=tensor(kind=12)), "not whole Q4_K blocks"),
        (build(tensors=tensor(shape=(), kind=2)), "not whole Q4_0 blocks"),
        (build(tensors=tensor(offset=32)), "expected at 0"),
        (build(tensors=tensor() * 2, tensor_count=2, data=64), "two tensors called 'w'"),
        (build(tensors=tensor() + tensor("v"), tensor_count=2, data=64), "is at 0, expected at 32"),
        (build(tensors=tensor(shape=(9,))), "ends at byte"),
        (build(data=31), "and the file has"),
        (build(tensors=tensor(shape=(HUGE - 8,))), "ends at byte"),
    ],
)
def test_malformed(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        read_header(path)
    assert str(path) in caught.value.what
    assert caught.value.why.startswith("at byte ")
    assert fault in caught.value.why
    assert caught.value.next_step


@pytest.mark.parametrize(
    "content",
    [
        build(),
        build(version=2),
        build(tensors=tensor(shape=())),
        build(tensors=tensor(shape=(8, 0)) + tensor("v"), tensor_count=2),
        build(tensors=b"", tensor_count=0, data=0),
        build(tensors=tensor() + tensor("v", offset=32), tensor_count=2, data=64),
    ],
)
def test_odd_but_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    assert isinstance(read_header(path), GgufHeader)


@settings(max_examples=400)
@given(data=st.data())
def test_damage_gives_a_header_or_a_store_error(
    write_gguf: Writer, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(write_gguf("whole.gguf").read_bytes())
    header_end = 900
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, header_end))
        patch = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8]))
        content[at : at + len(patch)] = patch
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    try:
        header = read_header(path)
    except StoreError:
        return
    assert all(one.offset + one.bytes <= len(content) for one in header.tensors)
    assert sum(one.bytes for one in header.tensors) <= len(content)


def test_a_large_vocabulary_is_read_quickly(tmp_path: Path) -> None:
    count = 248_320
    tokens = b"".join(text(f"token{number}") for number in range(count))
    arrays = b"".join(
        key(f"tokenizer.ggml.{name}", 9, struct.pack("<IQ", 8, count) + tokens)
        for name in ("tokens", "merges")
    )
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(build(arrays, 2))
    header = read_header(path)
    assert header.metadata["tokenizer.ggml.merges"] == Array("string", count, None)
    assert cpu_seconds(lambda: read_header(path)) < 1, "a tenth of it, on a laptop"


def test_a_header_larger_than_the_first_read(tmp_path: Path) -> None:
    large = text("x" * (17 << 20))
    strings = struct.pack("<IQ", 8, 2) + large + text("y")
    path = tmp_path / "large.gguf"
    path.write_bytes(build(key("a", 8, large) + key("b", 9, strings), 2))
    header = read_header(path)
    assert len(str(header.metadata["a"])) == 17 << 20
    assert header.metadata["b"] == Array("string", 2, None)
    path.write_bytes(path.read_bytes()[: 20 << 20])
    with pytest.raises(StoreError, match="strings reaches beyond the end"):
        read_header(path)
