from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from scripts.benchmarks import random_model
from server import catalogue
from server.catalogue import Architecture
from server.settings import Settings
from server.store.gguf import read_header


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
    end_of_text, turn_end = random_model.ends(size)
    assert (tokens[end_of_text], tokens[turn_end]) == ("<|endoftext|>", "<|im_end|>")
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


@pytest.mark.parametrize(
    ("quant", "kinds"),
    [
        ("Q4_0", {"Q4_0", "Q6_K", "F32"}),
        ("Q4_K_M", {"Q4_K", "Q6_K", "F32"}),
        ("Q6_K", {"Q6_K", "F32"}),
        ("Q8_0", {"Q8_0", "F32"}),
    ],
)
def test_quantized_files_are_sound(
    tmp_path: Path, quant: random_model.Quant, kinds: set[str]
) -> None:
    shape = replace(
        architecture("qwen3.5-0.8b"), layers=8, hidden=256, ffn=512, vocab=4096, heads=2
    )
    file = tmp_path / "quantized.gguf"
    random_model.write_quantized(file, shape, quant)
    header = read_header(file)
    assert {tensor.type for tensor in header.tensors} == kinds
    assert {tensor.name: tuple(reversed(tensor.shape)) for tensor in header.tensors} == shapes(
        shape
    )
    down = [t.type for t in header.tensors if t.name.endswith("ffn_down.weight")]
    if quant == "Q4_K_M":  # the first, the last, and every third of the others
        assert down == ["Q6_K" if layer in (0, 3, 6, 7) else "Q4_K" for layer in range(8)]
    weights = np.memmap(file, np.uint8)
    embedding = next(t for t in header.tensors if t.name == "token_embd.weight")
    start = embedding.offset
    values = gguf.dequantize(
        weights[start : start + embedding.bytes].reshape(4096, -1),
        gguf.GGMLQuantizationType[embedding.type],
    )
    assert np.isfinite(values).all()
    assert 0 < np.abs(values).max() < 100
