"""A GGUF in a Qwen3.5 model's exact shape with random weights: as fast, and nothing to download.

Speed and memory depend on the tensors' shapes and types alone. Shapes and names are those that
llama.cpp's converter writes for `qwen35` (conversion/qwen.py, class Qwen3_5TextModel); the types
are those that its `llama-quantize` chooses. The vocabulary has the real size and a working
tokenizer.
"""

from __future__ import annotations

import itertools
import math
import os
import string
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

from server.catalogue import Architecture

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# The ids that these three have in Qwen3.5's vocabulary.
END_OF_TEXT_ID, TURN_START_ID, TURN_END_ID = 248_044, 248_045, 248_046
CONTEXT = 262_144
SEED = 35

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
"""Without the empty thinking that Qwen3.5's ends in: there it is the last four tokens of a prompt,
before which llama-server keeps its last checkpoint. Spelt in this vocabulary it would be twenty,
and no turn of a conversation would find the one before it in the cache."""

Fill = Literal["random", "one", "minus one"]


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """Rows first, as numpy has it; GGUF stores the dimensions the other way round."""
    fill: Fill = "random"

    @property
    def dtype(self) -> type[np.float16] | type[np.float32]:
        """The converter keeps vectors and the convolution in 32 bits."""
        small = len(self.shape) == 1 or "ssm_conv1d" in self.name
        return np.float32 if small else np.float16


def tensors(shape: Architecture) -> Iterator[Tensor]:
    """Every tensor of a dense model of this shape with tied embeddings, in file order."""
    yield Tensor("token_embd.weight", (shape.vocab, shape.hidden))
    yield Tensor("output_norm.weight", (shape.hidden,), "one")
    for layer in range(shape.layers):
        full = (layer + 1) % shape.full_attention_interval == 0
        for tensor in (*(_full(shape) if full else _linear(shape)), *_rest(shape)):
            yield Tensor(f"blk.{layer}.{tensor.name}", tensor.shape, tensor.fill)


def _full(shape: Architecture) -> Iterator[Tensor]:
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield Tensor("attn_q.weight", (2 * queries, shape.hidden))  # with the output gate
    yield Tensor("attn_k.weight", (keys, shape.hidden))
    yield Tensor("attn_v.weight", (keys, shape.hidden))
    yield Tensor("attn_output.weight", (shape.hidden, queries))
    yield Tensor("attn_q_norm.weight", (shape.head_dim,), "one")
    yield Tensor("attn_k_norm.weight", (shape.head_dim,), "one")


def _linear(shape: Architecture) -> Iterator[Tensor]:
    heads = shape.linear_value_heads
    keys = shape.linear_key_heads * shape.linear_key_head_dim
    values = heads * shape.linear_value_head_dim
    yield Tensor("attn_qkv.weight", (2 * keys + values, shape.hidden))
    yield Tensor("attn_gate.weight", (values, shape.hidden))
    yield Tensor("ssm_conv1d.weight", (2 * keys + values, shape.conv_kernel))
    yield Tensor("ssm_dt.bias", (heads,), "one")
    yield Tensor("ssm_a", (heads,), "minus one")
    yield Tensor("ssm_beta.weight", (heads, shape.hidden))
    yield Tensor("ssm_alpha.weight", (heads, shape.hidden))
    yield Tensor("ssm_norm.weight", (shape.linear_value_head_dim,), "one")
    yield Tensor("ssm_out.weight", (shape.hidden, values))


def _rest(shape: Architecture) -> Iterator[Tensor]:
    assert shape.ffn is not None
    yield Tensor("attn_norm.weight", (shape.hidden,), "one")
    yield Tensor("post_attention_norm.weight", (shape.hidden,), "one")
    yield Tensor("ffn_gate.weight", (shape.ffn, shape.hidden))
    yield Tensor("ffn_up.weight", (shape.ffn, shape.hidden))
    yield Tensor("ffn_down.weight", (shape.hidden, shape.ffn))


def vocabulary(size: int) -> tuple[list[str], list[str]]:
    """`size` tokens and the merges that make them: all bytes, pairs of letters, four-letter words.

    A word is one merge of two pairs, so that there are about as many merges as in the real one.
    """
    pairs = ["".join(two) for two in itertools.product(string.ascii_lowercase, repeat=2)]
    tokens = [*_byte_characters(), *pairs]
    words = list(itertools.islice(itertools.product(pairs, repeat=2), size - len(tokens) - 3))
    tokens += ["".join(word) for word in words]
    special = min(END_OF_TEXT_ID, len(tokens))
    tokens[special:special] = [END_OF_TEXT, TURN_START, TURN_END]
    return tokens, [" ".join(pair) for pair in pairs] + [" ".join(word) for word in words]


def ends(size: int) -> tuple[int, int]:
    """The ids of the tokens that end an answer, in a vocabulary of `size`."""
    first = min(END_OF_TEXT_ID, size - 3)
    return first, first + 2


def _byte_characters() -> list[str]:
    """The 256 characters that stand for bytes in a byte-level BPE vocabulary (as in GPT-2)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = itertools.count(0x100)
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def write(path: Path, shape: Architecture, *, seed: int = SEED) -> None:
    """Write the 16-bit file, tensor by tensor: no more than the largest one is held in memory."""
    writer = gguf.GGUFWriter(path, "qwen35")
    _describe(writer, shape)
    for tensor in tensors(shape):
        size = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(tensor.dtype), size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(seed)
    for tensor in tensors(shape):
        writer.write_tensor_data(_values(tensor, random))
    writer.close()


Quant = Literal["Q4_0", "Q4_K_M", "Q6_K", "Q8_0"]


def write_quantized(path: Path, shape: Architecture, quant: Quant, *, seed: int = SEED) -> None:
    """Write a file of random blocks, without the 16-bit one before it, four times as large."""
    writer = gguf.GGUFWriter(path, "qwen35")
    _describe(writer, shape)
    types = {tensor.name: quantized_type(tensor, shape.layers, quant) for tensor in tensors(shape)}
    for tensor in tensors(shape):
        kind = types[tensor.name]
        size = _stored_bytes(tensor, kind)
        writer.add_tensor_info(
            tensor.name, _stored_shape(tensor, kind), np.dtype(np.uint8), size, raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(seed)
    for tensor in tensors(shape):
        if types[tensor.name] is gguf.GGMLQuantizationType.F32:
            values = _values(tensor, random).astype(np.float32)
        else:
            values = _blocks(tensor, types[tensor.name], random)
        writer.write_tensor_data(values)
    writer.close()


def quantized_type(tensor: Tensor, layers: int, quant: Quant) -> gguf.GGMLQuantizationType:
    """What llama-quantize stores `tensor` as (src/llama-quant.cpp, `llama_tensor_get_type`)."""
    types = gguf.GGMLQuantizationType
    if tensor.dtype is np.float32:
        return types.F32
    if quant in ("Q6_K", "Q8_0"):
        return types[quant]
    if tensor.name == "token_embd.weight":  # the output head, too
        return types.Q6_K
    if quant == "Q4_0":
        return types.Q4_0
    layer = int(tensor.name.split(".")[1])
    first, last = layers // 8, 7 * layers // 8
    more = layer < first or layer >= last or (layer - first) % 3 == 2
    wide = more and tensor.name.endswith(("ffn_down.weight", "attn_v.weight", "attn_qkv.weight"))
    return types.Q6_K if wide else types.Q4_K


_SCALES = {
    gguf.GGMLQuantizationType.Q4_0: (0,),
    gguf.GGMLQuantizationType.Q8_0: (0,),
    gguf.GGMLQuantizationType.Q4_K: (0, 2),
    gguf.GGMLQuantizationType.Q6_K: (208,),
}
"""Bytes of a block at which its 16-bit scales begin (ggml/src/ggml-common.h)."""


def _blocks(
    tensor: Tensor, kind: gguf.GGMLQuantizationType, random: np.random.Generator
) -> np.ndarray:
    """Random blocks whose scales are small numbers, so that no activation overflows."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = np.frombuffer(random.bytes(_stored_bytes(tensor, kind)), np.uint8).reshape(-1, size)
    blocks = blocks.copy()
    scale = np.array([2**-12], np.float16).view(np.uint8)
    for start in _SCALES[kind]:
        blocks[:, start : start + 2] = scale
    return blocks


def _stored_shape(tensor: Tensor, kind: gguf.GGMLQuantizationType) -> tuple[int, ...]:
    """Rows, and the bytes of a row."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return (*tensor.shape[:-1], tensor.shape[-1] // block * size)


def _stored_bytes(tensor: Tensor, kind: gguf.GGMLQuantizationType) -> int:
    return math.prod(_stored_shape(tensor, kind))


def _describe(writer: gguf.GGUFWriter, shape: Architecture) -> None:
    assert shape.ffn is not None
    writer.add_name("random weights in Qwen3.5's shape")
    writer.add_block_count(shape.layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e7)
    writer.add_rope_dimension_sections([11, 11, 10, 0])
    writer.add_rope_dimension_count(shape.head_dim // 4)
    writer.add_ssm_conv_kernel(shape.conv_kernel)
    writer.add_ssm_state_size(shape.linear_key_head_dim)
    writer.add_ssm_group_count(shape.linear_key_heads)
    writer.add_ssm_time_step_rank(shape.linear_value_heads)
    writer.add_ssm_inner_size(shape.linear_value_heads * shape.linear_value_head_dim)
    writer.add_full_attention_interval(shape.full_attention_interval)
    tokens, merges = vocabulary(shape.vocab)
    control = {END_OF_TEXT, TURN_START, TURN_END}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen35")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if one in control else gguf.TokenType.NORMAL for one in tokens]
    )
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(TURN_END))
    writer.add_pad_token_id(tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _values(tensor: Tensor, random: np.random.Generator) -> np.ndarray:
    if tensor.fill != "random":
        return np.full(tensor.shape, 1 if tensor.fill == "one" else -1, tensor.dtype)
    rows, columns = tensor.shape
    values = np.empty(tensor.shape, tensor.dtype)
    step = max(1, 2**22 // columns)
    for start in range(0, rows, step):
        part = values[start : start + step]
        part[...] = random.standard_normal(part.shape, np.float32) / math.sqrt(columns)
    return values


def cached(folder: Path, shape: Architecture, quantizer: Path) -> Path:
    """The Q4_K_M file in `folder`, made if it is not there yet (about a minute, 1.5 GB meanwhile).

    Raises CalledProcessError when `quantizer`, llama.cpp's llama-quantize, fails.
    """
    template = zlib.crc32(CHAT_TEMPLATE.encode())
    name = f"random-{shape.layers}x{shape.hidden}-seed{SEED}-{template:08x}-q4_k_m.gguf"
    target = folder / name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / f"{target.stem}.{os.getpid()}.f16"
    small = folder / f"{target.stem}.{os.getpid()}.new"
    print(f"bench: making {target.name}, once", file=sys.stderr)
    try:
        write(whole, shape)
        subprocess.run(
            [quantizer, whole, small, "Q4_K_M"],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        small.replace(target)
    finally:
        whole.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
    return target
