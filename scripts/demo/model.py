"""The demo model's shape, and the grid of numbers that both of its files hold exactly."""

from __future__ import annotations

import math

import torch
from transformers import PreTrainedTokenizerFast, Qwen3_5ForCausalLM, Qwen3_5TextConfig

VOCABULARY = 2048
CONTEXT = 4096


def config(tokenizer: PreTrainedTokenizerFast) -> Qwen3_5TextConfig:
    """Qwen3.5's text model in small: three gated delta net layers, then one of full attention.

    Twice as many value heads as key heads, as from 4B on; 16 of a head's 64 dimensions rotate. Of
    linear heads, which have 128 in the family, vLLM's kernels for CPUs take 64 or 128.
    """
    # type: ignore: the interval is no field of the class, which keeps and writes what else it is told.
    return Qwen3_5TextConfig(  # type: ignore[call-arg]
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=320,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        linear_conv_kernel_dim=4,
        layer_types=(["linear_attention"] * 3 + ["full_attention"]) * 2,
        full_attention_interval=4,
        max_position_embeddings=CONTEXT,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000_000,
            "partial_rotary_factor": 0.25,
            "mrope_section": [3, 3, 2],
            "mrope_interleaved": True,
        },
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )


def create(tokenizer: PreTrainedTokenizerFast) -> Qwen3_5ForCausalLM:
    """An untrained model in float32."""
    model = Qwen3_5ForCausalLM(config(tokenizer))
    model.float()
    for name, parameter in model.named_parameters():
        if name.endswith("linear_attn.dt_bias"):
            _start_with_memory(parameter)
    return model


@torch.no_grad()
def _start_with_memory(dt_bias: torch.Tensor) -> None:
    """Time steps between 0.001 and 0.1, log-uniform, as Mamba starts them (arXiv 2312.00752).

    transformers starts at softplus(1), with which most heads forget everything at each token: it
    is made for checkpoints, not for training from nothing.
    """
    low, high = math.log(1e-3), math.log(1e-1)
    step = torch.exp(torch.rand_like(dt_bias) * (high - low) + low)
    dt_bias.copy_(step + torch.log(-torch.expm1(-step)))  # the inverse of softplus


@torch.no_grad()
def round_to_grid(model: Qwen3_5ForCausalLM) -> None:
    """Round every weight to a number that bfloat16 and float16 both hold.

    The safetensors file is bfloat16, the GGUF float16 (whose products llama.cpp computes more
    finely than bfloat16's); after this rounding the two files carry the same numbers.
    """
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).to(torch.float16).float())
