"""Both weight files hold the same Qwen3.5-architecture model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from server import demo

CONFIG: Mapping[str, Any] = json.loads((demo.SAFETENSORS / "config.json").read_text())
HIDDEN = CONFIG["hidden_size"]
KEY = CONFIG["linear_num_key_heads"] * CONFIG["linear_key_head_dim"]
VALUE = CONFIG["linear_num_value_heads"] * CONFIG["linear_value_head_dim"]
QUERY = CONFIG["num_attention_heads"] * CONFIG["head_dim"]
KEY_VALUE = CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
LINEAR_SHAPES = {
    "linear_attn.in_proj_qkv.weight": (2 * KEY + VALUE, HIDDEN),
    "linear_attn.in_proj_z.weight": (VALUE, HIDDEN),
    "linear_attn.in_proj_a.weight": (CONFIG["linear_num_value_heads"], HIDDEN),
    "linear_attn.in_proj_b.weight": (CONFIG["linear_num_value_heads"], HIDDEN),
    "linear_attn.conv1d.weight": (2 * KEY + VALUE, 1, CONFIG["linear_conv_kernel_dim"]),
    "linear_attn.A_log": (CONFIG["linear_num_value_heads"],),
    "linear_attn.dt_bias": (CONFIG["linear_num_value_heads"],),
    "linear_attn.norm.weight": (CONFIG["linear_value_head_dim"],),
    "linear_attn.out_proj.weight": (HIDDEN, VALUE),
}
FULL_SHAPES = {
    "self_attn.q_proj.weight": (2 * QUERY, HIDDEN),  # the query and its output gate
    "self_attn.k_proj.weight": (KEY_VALUE, HIDDEN),
    "self_attn.v_proj.weight": (KEY_VALUE, HIDDEN),
    "self_attn.o_proj.weight": (HIDDEN, QUERY),
    "self_attn.q_norm.weight": (CONFIG["head_dim"],),
    "self_attn.k_norm.weight": (CONFIG["head_dim"],),
}
SHARED_SHAPES = {
    "input_layernorm.weight": (HIDDEN,),
    "post_attention_layernorm.weight": (HIDDEN,),
    "mlp.gate_proj.weight": (CONFIG["intermediate_size"], HIDDEN),
    "mlp.up_proj.weight": (CONFIG["intermediate_size"], HIDDEN),
    "mlp.down_proj.weight": (HIDDEN, CONFIG["intermediate_size"]),
}


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return load_file(demo.SAFETENSORS / "model.safetensors")


@pytest.fixture(scope="module")
def reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(demo.GGUF)


def test_every_fourth_layer_is_full_attention() -> None:
    layers = CONFIG["layer_types"]
    assert layers == (["linear_attention"] * 3 + ["full_attention"]) * (len(layers) // 4)
    assert len(layers) == CONFIG["num_hidden_layers"] >= 4
    assert CONFIG["architectures"] == ["Qwen3_5ForCausalLM"]
    assert CONFIG["model_type"] == "qwen3_5_text"


def test_tensors_have_the_shapes_that_the_configuration_gives(
    tensors: dict[str, torch.Tensor],
) -> None:
    expected = {
        "model.embed_tokens.weight": (CONFIG["vocab_size"], HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for number, kind in enumerate(CONFIG["layer_types"]):
        shapes = SHARED_SHAPES | (LINEAR_SHAPES if kind == "linear_attention" else FULL_SHAPES)
        expected |= {f"model.layers.{number}.{name}": shape for name, shape in shapes.items()}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == expected
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert 1_000_000 < sum(tensor.numel() for tensor in tensors.values()) < 4_000_000


def test_the_gguf_header_says_the_same(reader: gguf.GGUFReader) -> None:
    rope = CONFIG["rope_parameters"]
    expected = {
        "general.architecture": "qwen35",
        "qwen35.block_count": CONFIG["num_hidden_layers"],
        "qwen35.context_length": CONFIG["max_position_embeddings"],
        "qwen35.embedding_length": HIDDEN,
        "qwen35.feed_forward_length": CONFIG["intermediate_size"],
        "qwen35.attention.head_count": CONFIG["num_attention_heads"],
        "qwen35.attention.head_count_kv": CONFIG["num_key_value_heads"],
        "qwen35.attention.key_length": CONFIG["head_dim"],
        "qwen35.attention.value_length": CONFIG["head_dim"],
        "qwen35.full_attention_interval": 4,
        "qwen35.rope.freq_base": rope["rope_theta"],
        "qwen35.rope.dimension_count": CONFIG["head_dim"] * rope["partial_rotary_factor"],
        "qwen35.rope.dimension_sections": [*rope["mrope_section"], 0],
        "qwen35.ssm.conv_kernel": CONFIG["linear_conv_kernel_dim"],
        "qwen35.ssm.state_size": CONFIG["linear_key_head_dim"],
        "qwen35.ssm.group_count": CONFIG["linear_num_key_heads"],
        "qwen35.ssm.time_step_rank": CONFIG["linear_num_value_heads"],
        "qwen35.ssm.inner_size": VALUE,
        "tokenizer.ggml.pre": "qwen35",
        "tokenizer.ggml.eos_token_id": CONFIG["eos_token_id"],
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": (demo.SAFETENSORS / "chat_template.jinja").read_text(),
    }
    assert {key: reader.fields[key].contents() for key in expected} == expected


def test_both_vocabularies_are_one(reader: gguf.GGUFReader, tokenizer: Tokenizer) -> None:
    ours = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    assert reader.fields["tokenizer.ggml.tokens"].contents() == [text for text, _ in ours]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    assert reader.fields["tokenizer.ggml.merges"].contents() == [" ".join(pair) for pair in merges]


@pytest.mark.parametrize("layer", range(CONFIG["num_hidden_layers"]))
def test_both_files_hold_the_same_numbers(
    layer: int, reader: gguf.GGUFReader, tensors: dict[str, torch.Tensor]
) -> None:
    """The one-to-one tensors exactly; the reordered ones as the same set of numbers."""
    other = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    ours = f"model.layers.{layer}."
    theirs = f"blk.{layer}."
    same = [
        ("mlp.gate_proj.weight", "ffn_gate.weight"),
        ("mlp.down_proj.weight", "ffn_down.weight"),
    ]
    shuffled = []
    if CONFIG["layer_types"][layer] == "full_attention":
        same += [("self_attn.q_proj.weight", "attn_q.weight")]
    else:
        shuffled = [
            ("linear_attn.in_proj_qkv.weight", "attn_qkv.weight"),
            ("linear_attn.out_proj.weight", "ssm_out.weight"),
            ("linear_attn.conv1d.weight", "ssm_conv1d.weight"),
        ]
    for mine, its in same:
        assert np.array_equal(tensors[ours + mine].float().numpy(), other[theirs + its])
    for mine, its in shuffled:
        numbers = np.sort(tensors[ours + mine].float().numpy(), axis=None)
        assert np.array_equal(numbers, np.sort(other[theirs + its].astype(np.float32), axis=None))
    norm = tensors[ours + "input_layernorm.weight"].float().numpy()
    assert np.array_equal(norm + np.float32(1), other[theirs + "attn_norm.weight"])
