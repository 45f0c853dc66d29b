"""Reading GGUF files, whole and split, against the gguf package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from server.errors import StoreError
from server.store.gguf import Array, TensorInfo, read_header, read_parts

Writer = Callable[..., Path]


def test_a_sound_file(write_gguf: Writer) -> None:
    header = read_header(write_gguf())
    assert (header.version, header.tensor_count, header.architecture) == (3, 3, "qwen35")
    assert header.metadata["qwen35.context_length"] == 4096
    assert header.metadata["general.flag"] is True
    assert header.metadata["general.small"] == -3
    assert header.metadata["general.large"] == 1 << 60
    assert header.metadata["general.exact"] == 0.1
    assert header.metadata["tokenizer.chat_template"] == "{{ messages }} ü"
    assert header.metadata["qwen35.rope.dimension_sections"] == Array("i32", 4, (4, 2, 2, 0))
    assert header.metadata["tokenizer.ggml.tokens"] == Array("string", 3, None)
    assert header.metadata["tokenizer.ggml.scores"] == Array("f32", 100, None)
    start = header.data_offset
    assert header.tensors == (
        TensorInfo("token_embd.weight", (32, 3), "F32", start, 384),
        TensorInfo("blk.0.weight", (32, 2), "Q8_0", start + 384, 68),
        TensorInfo("output_norm.weight", (5,), "F16", start + 480, 10),
    )


def test_agrees_with_the_gguf_package(write_gguf: Writer) -> None:
    path = write_gguf("aligned.gguf", alignment=64)
    ours, theirs = read_header(path), gguf.GGUFReader(path)
    assert [
        (tensor.name, list(tensor.shape), tensor.type, tensor.offset, tensor.bytes)
        for tensor in ours.tensors
    ] == [
        (t.name, t.shape.tolist(), t.tensor_type.name, t.data_offset, t.n_bytes)
        for t in theirs.tensors
    ]
    fields = {name: f for name, f in theirs.fields.items() if not name.startswith("GGUF.")}
    assert set(ours.metadata) == set(fields)
    for name, value in ours.metadata.items():
        expected = fields[name].contents()
        if isinstance(value, Array):
            assert value.length == len(expected)
            assert value.values is None or list(value.values) == expected
        else:
            assert value == expected


@pytest.mark.parametrize("what", ["absent", "folder"])
def test_what_cannot_be_read(tmp_path: Path, what: str) -> None:
    path = tmp_path if what == "folder" else tmp_path / "absent.gguf"
    with pytest.raises(StoreError, match="cannot be read"):
        read_header(path)


def test_a_split_model(write_gguf: Writer) -> None:
    first = write_gguf("split/m-00001-of-00003.gguf", split=(0, 3))
    with pytest.raises(StoreError, match=r"2 of them are absent: m-00002-of-00003\.gguf"):
        read_parts(first)
    second = write_gguf("split/m-00002-of-00003.gguf", split=(1, 3))
    write_gguf("split/m-00003-of-00003.gguf", split=(1, 3))
    with pytest.raises(StoreError, match=r"m-00003-of-00003\.gguf is not part 3 of 3"):
        read_parts(first)
    write_gguf("split/m-00003-of-00003.gguf", split=(2, 3))
    assert [header.metadata["split.no"] for header in read_parts(first)] == [0, 1, 2]
    with pytest.raises(StoreError, match="is not named like the first"):
        read_parts(second)


def test_a_whole_model_is_its_only_part(write_gguf: Writer) -> None:
    (header,) = read_parts(write_gguf())
    assert header.tensor_count == 3
