"""What it takes to see: the demo with Qwen3.5's vision tokens, a tiny image encoder, and pictures.

The encoder's weights are random, so nothing sensible is said about a picture; all else is real. Its
shape is that of Qwen3.5's vision tower, as llama.cpp's converter writes it (Qwen3VLVisionModel in
conversion/qwen3vl.py) and its tools/mtmd/clip.cpp and models/qwen3vl.cpp read it.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from gguf import (
    GGMLQuantizationType,
    GGUFReader,
    GGUFType,
    GGUFValueType,
    GGUFWriter,
    TokenType,
    VisionProjectorType,
)

from server import demo

TEXT_WIDTH = 192
"""The demo's hidden size, to which the encoder projects."""

_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
_DEPTH, _HIDDEN, _HEADS, _FFN = 2, 64, 4, 128
_PATCH, _MERGE = 16, 2
_GRID = 8  # learned positions along one side, resampled to each picture's grid


def write_model(folder: Path, *, width: int = TEXT_WIDTH) -> Path:
    """The model `seeing` in `folder`; returns the configuration that describes it.

    `width` is what the encoder projects to: any other than the demo's makes a mismatched pair.
    """
    folder.mkdir(exist_ok=True)
    vocabulary = write_text(folder / "seeing.gguf")
    write_mmproj(folder / "mmproj.gguf", width)
    config = folder / "seeing.toml"
    config.write_text(
        f"""
[[model]]
id = "seeing"
like = "demo"

[model.architecture]
vocab = {vocabulary}

[model.architecture.vision]
depth = {_DEPTH}
hidden = {_HIDDEN}
heads = {_HEADS}
ffn = {_FFN}
positions = {_GRID**2}

[[build]]
model = "seeing"
id = "f16"
engine = "llama-server"
format = "gguf"
quant = "F16"
path = "seeing.gguf"
mmproj = {{ path = "mmproj.gguf" }}
"""
    )
    return config


def write_text(path: Path) -> int:
    """The demo, with the special tokens that stand around a picture, which it was not trained on.

    Their embeddings are zero. The output head is the same matrix: a logit of 0 is never the
    largest, so every answer to text stays what it was. Returns the size of the vocabulary.
    """
    source = GGUFReader(demo.GGUF)
    writer = GGUFWriter(path, source.fields["general.architecture"].contents())
    more: dict[str, list[Any]] = {
        "tokenizer.ggml.tokens": list(_TOKENS),
        "tokenizer.ggml.token_type": [TokenType.CONTROL] * len(_TOKENS),
    }
    for name, field in source.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue  # the writer's own
        value: Any = field.contents()
        if name in more:
            value = [*value, *more[name]]
        inner = field.types[1] if field.types[0] is GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], inner)
    for tensor in source.tensors:
        data = tensor.data
        if tensor.name == "token_embd.weight":
            data = np.concatenate([data, np.zeros((len(_TOKENS), TEXT_WIDTH), data.dtype)])
            vocabulary = len(data)
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    _write(writer)
    return vocabulary


def write_mmproj(path: Path, width: int = TEXT_WIDTH) -> None:
    """The image encoder, projecting to `width`."""
    writer = GGUFWriter(path, "clip")
    writer.add_type(GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(VisionProjectorType.QWEN3VL)
    writer.add_vision_projection_dim(width)
    writer.add_vision_image_size(_GRID * _PATCH)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_embedding_length(_HIDDEN)
    writer.add_vision_feed_forward_length(_FFN)
    writer.add_vision_block_count(_DEPTH)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_use_gelu(True)
    writer.add_vision_spatial_merge_size(_MERGE)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_is_deepstack_layers([False] * _DEPTH)
    random = np.random.default_rng(0)
    for name, shape in _tensors(width).items():
        if len(shape) == 1:
            data = np.full(shape, "ln" in name and name.endswith("weight"), np.float32)
            writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType.F32)
        else:
            scale = np.prod(shape[1:]) ** -0.5
            data = (random.standard_normal(shape) * scale).astype(np.float16)
            if name == "v.position_embd.weight":
                data = data.astype(np.float32)
            writer.add_tensor(name, data)
    _write(writer)


def _tensors(width: int) -> dict[str, tuple[int, ...]]:
    """Names as in gguf's MODEL_TENSOR.V_*; in each shape the last dimension is the row."""
    patch = (_HIDDEN, 3, _PATCH, _PATCH)
    merged = _HIDDEN * _MERGE**2
    layer = {
        "ln1": (_HIDDEN,),
        "attn_qkv": (3 * _HIDDEN, _HIDDEN),
        "attn_out": (_HIDDEN, _HIDDEN),
        "ln2": (_HIDDEN,),
        "ffn_up": (_FFN, _HIDDEN),
        "ffn_down": (_HIDDEN, _FFN),
    }
    with_bias = {
        **{f"v.blk.{i}.{name}": shape for i in range(_DEPTH) for name, shape in layer.items()},
        "v.post_ln": (_HIDDEN,),
        "mm.0": (merged, merged),
        "mm.2": (width, merged),
        "v.patch_embd": patch,
    }
    return {
        **{f"{name}.weight": shape for name, shape in with_bias.items()},
        **{f"{name}.bias": shape[:1] for name, shape in with_bias.items()},
        "v.patch_embd.weight.1": patch,  # a still picture is both frames of a patch in time
        "v.position_embd.weight": (_GRID**2, _HIDDEN),
    }


def _write(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def png(width: int, height: int, shade: int = 128) -> bytes:
    """A picture of one grey; W3C PNG, 11.2."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([shade]) * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def jpeg(width: int, height: int, shade: int = 128) -> bytes:
    """The same as a baseline JPEG (ITU-T T.81): the first 8 x 8 block says the grey, each further
    one that nothing changes. The quantizer of 8 makes a step of the DC coefficient one shade."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data

    step = shade - 128
    size = abs(step).bit_length()
    codes = bytes([1, 1, *bytes(14), 0, size or 1])  # 0: no change; 10: a change of `size` bits
    first = f"10{step if step > 0 else step + (1 << size) - 1:0{size}b}0" if step else "00"
    bits = first + "00" * (-(-width // 8) * -(-height // 8) - 1)
    bits += "1" * (-len(bits) % 8)
    return (
        b"\xff\xd8"
        + segment(0xDB, bytes([0, *[8] * 64]))
        + segment(0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0))
        + segment(0xC4, b"\x00" + codes)
        + segment(0xC4, bytes([0x10, 1, *bytes(15), 0]))
        + segment(0xDA, bytes([1, 1, 0, 0, 63, 0]))
        + int(bits, 2).to_bytes(len(bits) // 8, "big")
        + b"\xff\xd9"
    )


def gif(width: int, height: int, shade: int = 128) -> bytes:
    """The same as a GIF; the table of codes is cleared before it could grow."""
    pair = "000000100"  # from the right: clear, colour 0, colour 0
    bits = "101" + pair * -(-width * height // 2)  # and the end on the left
    data = int(bits, 2).to_bytes(-(-len(bits) // 8), "little")
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes([shade] * 6)
        + struct.pack("<cHHHHBB", b",", 0, 0, width, height, 0, 2)
        + b"".join(bytes([len(block)]) + block for block in blocks)
        + b"\0;"
    )
