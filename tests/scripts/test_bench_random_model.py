from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
import pytest

from scripts.benchmarks import random_model
from server import catalogue
from server.catalogue import Architecture
from server.settings import Settings


def architecture(name: str) -> Architecture:
    return catalogue.load(Settings(Path(), ())).models[name].architecture


def shapes(shape: Architecture) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in random_model.tensors(shape)}


def test_the_tensors_of_the_smallest_qwen() -> None:
    """As llama.cpp's loader asks for them (src/models/qwen35.cpp), for 0.8B's config.json."""
    found = shapes(architecture("qwen3.5-0.8b"))
    assert len(found) == 2 + 6 * 11 + 18 * 14
    assert found["token_embd.weight"] == (248_320, 1024)
    assert found["blk.0.attn_qkv.weight"] == (6144, 1024)
    assert found["blk.0.ssm_conv1d.weight"] == (6144, 4)
    assert found["blk.0.ssm_out.weight"] == (1024, 2048)
    assert found["blk.3.attn_q.weight"] == (4096, 1024)
    assert found["blk.3.attn_k.weight"] == (512, 1024)
    assert found["blk.3.ffn_down.weight"] == (1024, 3584)
    assert sum(np.prod(shape) for shape in found.values()) == 752_393_024


def test_every_layer_is_of_one_kind() -> None:
    found = shapes(architecture("qwen3.5-0.8b"))
    full = {re.findall(r"\d+", name)[0] for name in found if "attn_k.weight" in name}
    linear = {re.findall(r"\d+", name)[0] for name in found if "ssm_a" in name}
    assert full == {"3", "7", "11", "15", "19", "23"}
    assert full | linear == {str(layer) for layer in range(24)}
    assert not full & linear


@pytest.mark.parametrize("size", [2048, 248_320])
def test_vocabulary_is_a_valid_byte_level_bpe(size: int) -> None:
    tokens, merges = random_model.vocabulary(size)
    assert len(tokens) == len(set(tokens)) == size
    assert len(merges) == size - 256 - 3
    known = set(tokens)
    assert all("".join(merge.split(" ")) in known for merge in merges)
    assert all(part in known for merge in merges for part in merge.split(" "))
    if size > random_model.TURN_END_ID:
        assert tokens[random_model.TURN_END_ID] == random_model.TURN_END
        assert tokens[random_model.END_OF_TEXT_ID] == random_model.END_OF_TEXT


def test_written_file_is_a_gguf_of_that_shape(tmp_path: Path) -> None:
    shape = architecture("demo")
    random_model.write(tmp_path / "tiny.gguf", shape)
    reader = gguf.GGUFReader(tmp_path / "tiny.gguf")

    def field(name: str) -> object:
        return reader.fields[name].contents()

    assert field("general.architecture") == "qwen35"
    assert field("qwen35.block_count") == shape.layers
    assert field("qwen35.attention.head_count_kv") == shape.kv_heads
    assert field("qwen35.ssm.inner_size") == (
        shape.linear_value_heads * shape.linear_value_head_dim
    )
    assert len(field("tokenizer.ggml.tokens")) == shape.vocab  # type: ignore[arg-type]
    written = {one.name: tuple(int(n) for n in reversed(one.shape)) for one in reader.tensors}
    assert written == shapes(shape)
    embedding = next(one for one in reader.tensors if one.name == "token_embd.weight").data
    assert 0.5 < float(embedding.astype(np.float32).std()) * shape.hidden**0.5 < 2


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    shape = architecture("demo")
    for name in ("one", "two"):
        random_model.write(tmp_path / name, shape)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
