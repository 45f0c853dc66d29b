"""GGUF files of any Qwen3.5 shape that take no disk: a real header before a hole."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

from server.catalogue import Architecture

Shape = tuple[int, ...]
Q4, F32 = GGMLQuantizationType.Q4_K, GGMLQuantizationType.F32


@pytest.fixture
def hollow_gguf(tmp_path: Path) -> HollowGguf:
    return HollowGguf(tmp_path)


class HollowGguf:
    """All weights are zero and none is stored: for what depends on shapes only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, a: Architecture) -> Path:
        path = self.folder / "hollow.gguf"
        writer = GGUFWriter(path, "qwen35moe" if a.experts else "qwen35")
        _describe(writer, a)
        for name, shape in _tensors(a):
            _add(writer, name, shape)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        weights = sum(_padded(info.nbytes) for info in writer.tensors[0].values())
        writer.close()
        os.truncate(path, _padded(path.stat().st_size) + weights)
        return path


def _describe(writer: GGUFWriter, a: Architecture) -> None:
    writer.add_block_count(a.layers + a.mtp_layers)
    if a.mtp_layers:
        writer.add_nextn_predict_layers(a.mtp_layers)
    writer.add_context_length(262_144)
    writer.add_embedding_length(a.hidden)
    writer.add_feed_forward_length(a.ffn or a.moe_ffn or 0)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(a.kv_heads)
    writer.add_key_length(a.head_dim)
    writer.add_value_length(a.head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(a.head_dim // 4)
    writer.add_rope_dimension_sections([11, 11, 10, 0])
    writer.add_rope_freq_base(1e7)
    writer.add_full_attention_interval(a.full_attention_interval)
    writer.add_ssm_conv_kernel(a.conv_kernel)
    writer.add_ssm_inner_size(a.linear_value_heads * a.linear_value_head_dim)
    writer.add_ssm_state_size(a.linear_key_head_dim)
    writer.add_ssm_time_step_rank(a.linear_value_heads)
    writer.add_ssm_group_count(a.linear_key_heads)
    writer.add_vocab_size(a.vocab)
    writer.add_tokenizer_model("no_vocab")
    if a.experts is not None:
        writer.add_expert_count(a.experts)
        writer.add_expert_used_count(a.experts_per_token or 0)
        writer.add_expert_feed_forward_length(a.moe_ffn or 0)
        writer.add_expert_shared_feed_forward_length(a.shared_ffn or 0)


def _add(writer: GGUFWriter, name: str, shape: Shape) -> None:
    """Matrices that Q4_K can hold are Q4_K, all else is F32."""
    block, size = GGML_QUANT_SIZES[Q4]
    quantized = len(shape) > 1 and shape[-1] % block == 0 and "ffn_gate_inp" not in name
    if quantized:
        stored = (*shape[:-1], shape[-1] // block * size)
        writer.add_tensor_info(name, stored, np.dtype("uint8"), math.prod(stored), raw_dtype=Q4)
    else:
        writer.add_tensor_info(name, shape, np.dtype("float32"), 4 * math.prod(shape), F32)


def _tensors(a: Architecture) -> Iterator[tuple[str, Shape]]:
    """After llama.cpp's src/models/qwen35.cpp and qwen35moe.cpp; the last dimension is the row."""
    yield "token_embd.weight", (a.vocab, a.hidden)
    yield "output_norm.weight", (a.hidden,)
    if not a.tied:
        yield "output.weight", (a.vocab, a.hidden)
    for layer in range(a.layers):
        is_full = (layer + 1) % a.full_attention_interval == 0
        parts = {
            "attn_norm.weight": (a.hidden,),
            "post_attention_norm.weight": (a.hidden,),
            **(_attention(a) if is_full else _gated_delta_net(a)),
            **(_experts(a) if a.experts else _dense(a)),
        }
        for name, shape in parts.items():
            yield f"blk.{layer}.{name}", shape
    for layer in range(a.layers, a.layers + a.mtp_layers):
        for name, shape in _prediction(a).items():
            yield f"blk.{layer}.{name}", shape


def _prediction(a: Architecture) -> dict[str, Shape]:
    return {
        "attn_norm.weight": (a.hidden,),
        "post_attention_norm.weight": (a.hidden,),
        **_attention(a),
        **(_experts(a) if a.experts else _dense(a)),
        "nextn.eh_proj.weight": (a.hidden, 2 * a.hidden),
        "nextn.enorm.weight": (a.hidden,),
        "nextn.hnorm.weight": (a.hidden,),
    }


def _attention(a: Architecture) -> dict[str, Shape]:
    return {
        "attn_q.weight": (2 * a.heads * a.head_dim, a.hidden),
        "attn_k.weight": (a.kv_heads * a.head_dim, a.hidden),
        "attn_v.weight": (a.kv_heads * a.head_dim, a.hidden),
        "attn_output.weight": (a.hidden, a.heads * a.head_dim),
        "attn_q_norm.weight": (a.head_dim,),
        "attn_k_norm.weight": (a.head_dim,),
    }


def _gated_delta_net(a: Architecture) -> dict[str, Shape]:
    values = a.linear_value_heads * a.linear_value_head_dim
    conv = 2 * a.linear_key_heads * a.linear_key_head_dim + values
    return {
        "attn_qkv.weight": (conv, a.hidden),
        "attn_gate.weight": (values, a.hidden),
        "ssm_conv1d.weight": (conv, a.conv_kernel),
        "ssm_dt.bias": (a.linear_value_heads,),
        "ssm_a": (a.linear_value_heads,),
        "ssm_beta.weight": (a.linear_value_heads, a.hidden),
        "ssm_alpha.weight": (a.linear_value_heads, a.hidden),
        "ssm_norm.weight": (a.linear_value_head_dim,),
        "ssm_out.weight": (a.hidden, values),
    }


def _dense(a: Architecture) -> dict[str, Shape]:
    assert a.ffn is not None
    return {
        "ffn_gate.weight": (a.ffn, a.hidden),
        "ffn_up.weight": (a.ffn, a.hidden),
        "ffn_down.weight": (a.hidden, a.ffn),
    }


def _experts(a: Architecture) -> dict[str, Shape]:
    assert a.experts is not None
    assert a.moe_ffn is not None
    assert a.shared_ffn is not None
    return {
        "ffn_gate_inp.weight": (a.experts, a.hidden),
        "ffn_gate_exps.weight": (a.experts, a.moe_ffn, a.hidden),
        "ffn_up_exps.weight": (a.experts, a.moe_ffn, a.hidden),
        "ffn_down_exps.weight": (a.experts, a.hidden, a.moe_ffn),
        "ffn_gate_inp_shexp.weight": (a.hidden,),
        "ffn_gate_shexp.weight": (a.shared_ffn, a.hidden),
        "ffn_up_shexp.weight": (a.shared_ffn, a.hidden),
        "ffn_down_shexp.weight": (a.hidden, a.shared_ffn),
    }


def _padded(size: int) -> int:
    return -(-size // 32) * 32  # general.alignment
