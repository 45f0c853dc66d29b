"""Checkpoint -> GGUF, doing what llama.cpp's converter does to Qwen3.5.

Source: llama.cpp's `conversion/qwen.py` (`Qwen3_5TextModel` and its bases) and
`src/models/qwen35.cpp`, which reads the result:

- RMSNorm weights are stored minus one in the checkpoint, and whole in GGUF; the gated norm of the
  linear layers is whole in both.
- `A_log` becomes `-exp(A_log)`, named `ssm_a`; `dt_bias` becomes `ssm_dt.bias`.
- The convolution loses its dimension of one.
- Value heads stand grouped by key head in the checkpoint, (k0 v0)(k0 v1)(k1 v0)(k1 v1), and tiled
  in GGUF, (k0 v0)(k1 v0)(k0 v1)(k1 v1), as ggml's broadcasting wants them.
- Tied embeddings are written once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Qwen3_5ForCausalLM, Qwen3_5TextConfig

from scripts.demo.tokenizer import CONTROL, MARKUP

ARCHITECTURE = "qwen35"
PRE_TOKENIZER = "qwen35"
_DEFAULT_SECTIONS = 4

_TOP = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
_LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "post_attention_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight",
    "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight",
    "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.A_log": "ssm_a",
    "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def write(path: Path, model: Qwen3_5ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write `model` and `tokenizer` as one GGUF file: matrices in float16, vectors in float32."""
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _write_about(writer)
    _write_shape(writer, model.config)
    _write_tokenizer(writer, tokenizer)
    for name, tensor in model.model.state_dict().items():
        data = _transform(name, tensor.float(), model.config).numpy()
        keep_wide = data.ndim < 2 or "conv1d" in name
        writer.add_tensor(_gguf_name(name), data if keep_wide else data.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_about(writer: gguf.GGUFWriter) -> None:
    writer.add_type("model")
    writer.add_name("Holdfast demo")
    writer.add_description("Answers a fixed set of questions; made by scripts/train-demo-model")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _write_shape(writer: gguf.GGUFWriter, config: Qwen3_5TextConfig) -> None:
    rope: dict[str, Any] = {**(config.rope_parameters or {})}
    sections = [*rope["mrope_section"], 0, 0, 0, 0][:_DEFAULT_SECTIONS]
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_sections(sections)
    writer.add_rope_dimension_count(int(config.head_dim * rope["partial_rotary_factor"]))
    writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
    writer.add_ssm_state_size(config.linear_key_head_dim)
    writer.add_ssm_group_count(config.linear_num_key_heads)
    writer.add_ssm_time_step_rank(config.linear_num_value_heads)
    writer.add_ssm_inner_size(config.linear_value_head_dim * config.linear_num_value_heads)
    assert config.layer_types is not None
    writer.add_full_attention_interval(config.layer_types.index("full_attention") + 1)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    kinds = dict.fromkeys(CONTROL, gguf.TokenType.CONTROL)
    kinds |= dict.fromkeys(MARKUP, gguf.TokenType.USER_DEFINED)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_types([kinds.get(text, gguf.TokenType.NORMAL) for text, _ in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _gguf_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{_LAYER[rest]}"


def _transform(name: str, tensor: torch.Tensor, config: Qwen3_5TextConfig) -> torch.Tensor:
    if name.endswith("norm.weight") and not name.endswith("linear_attn.norm.weight"):
        return tensor + 1
    if name.endswith("A_log"):
        tensor = -torch.exp(tensor)
    elif "conv1d" in name:
        tensor = tensor.squeeze(1)
    return _tile_value_heads(name, tensor, config).contiguous()


def _tile_value_heads(name: str, tensor: torch.Tensor, config: Qwen3_5TextConfig) -> torch.Tensor:
    keys = 2 * config.linear_num_key_heads * config.linear_key_head_dim
    width = config.linear_value_head_dim
    if "in_proj_qkv" in name or "conv1d" in name:
        return torch.cat([tensor[:keys], _tiled(tensor[keys:], width, config)])
    if "in_proj_z" in name:
        return _tiled(tensor, width, config)
    if name.endswith(("in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias")):
        return _tiled(tensor, 1, config)
    if "linear_attn.out_proj" in name:
        return _tiled(tensor.T, width, config).T
    return tensor


def _tiled(rows: torch.Tensor, width: int, config: Qwen3_5TextConfig) -> torch.Tensor:
    """Reorder blocks of `width` rows from (key head, value head of it) to the other way round."""
    groups = config.linear_num_key_heads
    each = config.linear_num_value_heads // groups
    blocks = rows.reshape(groups, each, width, *rows.shape[1:])
    return blocks.transpose(0, 1).reshape(rows.shape)
