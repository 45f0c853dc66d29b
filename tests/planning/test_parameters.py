"""Parameter counts, against the published totals, the files' bytes and transformers itself."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from server.catalogue import Architecture, Model, load
from server.planning.parameters import Parameters, parameters
from server.settings import Settings

SIZES = ("0.8b", "2b", "4b", "9b", "27b", "35b-a3b", "122b-a10b", "397b-a17b")

PUBLISHED = {
    "9b": {"total": 9_653_104_368},
    "122b-a10b": {"total": 125_086_497_008},
    "397b-a17b": {
        "text": 396_346_350_336,
        "vision": 456_010_480,
        "mtp": 6_595_568_128,
        "total": 403_397_928_944,
    },
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Model]:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_totals(models: Mapping[str, Model], size: str) -> None:
    count = parameters(models[f"qwen3.5-{size}"].architecture)
    assert {name: getattr(count, name) for name in PUBLISHED[size]} == PUBLISHED[size]


@pytest.mark.parametrize("size", SIZES)
def test_checkpoint_bytes(models: Mapping[str, Model], size: str) -> None:
    """Exactly the tensors' bytes; the files add 120 to 130 bytes of header for each tensor."""
    model = models[f"qwen3.5-{size}"]
    build = model.build("bf16")
    assert build is not None
    expected = parameters(model.architecture).checkpoint_bytes
    if build.tensor_bytes is not None:
        assert build.tensor_bytes == expected
    if build.bytes is not None:
        assert 120 < (build.bytes - expected) / tensors(model.architecture) < 130


@pytest.mark.parametrize(
    ("size", "published"), [("35b-a3b", 1811), ("122b-a10b", 1949), ("397b-a17b", 2924)]
)
def test_tensor_counts(models: Mapping[str, Model], size: str, published: int) -> None:
    assert tensors(models[f"qwen3.5-{size}"].architecture) == published


@pytest.mark.parametrize("size", ["0.8b", "4b", "9b", "27b", "35b-a3b"])
def test_unquantized_gguf(models: Mapping[str, Model], size: str) -> None:
    """Text without multi-token prediction, 11 to 17 MB of vocabulary, the router in 32 bits."""
    model = models[f"qwen3.5-{size}"]
    a = model.architecture
    build = model.build("bf16-gguf")
    assert build is not None
    assert build.bytes is not None
    routers = a.layers * a.hidden * ((a.experts or 0) + 1) if a.experts else 0
    rest = build.bytes - 2 * parameters(a).text - 2 * routers
    assert 11e6 < rest < 17e6


@pytest.mark.parametrize("size", ["0.8b", "2b", "4b", "9b", "27b", "35b-a3b"])
def test_image_encoder_file(models: Mapping[str, Model], size: str) -> None:
    """The mmproj in 16 bits is the vision tower and a few per cent (positions are in 32 bits)."""
    model = models[f"qwen3.5-{size}"]
    build = model.build("q4_k_m")
    assert build is not None
    assert build.mmproj is not None
    assert build.mmproj.bytes is not None
    assert 1 < build.mmproj.bytes / (2 * parameters(model.architecture).vision) < 1.02


def test_without_vision_and_mtp(models: Mapping[str, Model]) -> None:
    assert parameters(models["demo"].architecture) == Parameters(3_466_096, 0, 0, 408)


@pytest.mark.integration
@pytest.mark.parametrize("size", SIZES)
def test_transformers_counts_the_same(models: Mapping[str, Model], size: str) -> None:
    """The modules that transformers makes from the same numbers, on a device without memory."""
    import torch
    from transformers import AutoModelForImageTextToText

    a = models[f"qwen3.5-{size}"].architecture
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(_config(a))
    count = parameters(a)
    vision = sum(tensor.numel() for tensor in model.model.visual.parameters())
    assert vision == count.vision
    assert sum(tensor.numel() for tensor in model.parameters()) == count.text + vision


def tensors(a: Architecture) -> int:
    """Tensors of the checkpoint; the MTP block keeps its experts apart, the layers fuse them."""
    feed_forward = 7 if a.experts else 3
    text = 2 + (0 if a.tied else 1) + 8 * a.full_layers + 11 * a.linear_layers
    mtp = 4 + 8 + (5 + 3 * a.experts if a.experts else 3)
    assert a.vision is not None
    return text + a.layers * feed_forward + mtp + 12 * a.vision.depth + 9


def _config(a: Architecture) -> object:
    from transformers import Qwen3_5Config, Qwen3_5MoeConfig

    assert a.vision is not None
    text = {
        "vocab_size": a.vocab,
        "hidden_size": a.hidden,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim,
        "linear_num_key_heads": a.linear_key_heads,
        "linear_key_head_dim": a.linear_key_head_dim,
        "linear_num_value_heads": a.linear_value_heads,
        "linear_value_head_dim": a.linear_value_head_dim,
        "linear_conv_kernel_dim": a.conv_kernel,
        "tie_word_embeddings": a.tied,
        "dtype": "bfloat16",
    }
    vision = {
        "depth": a.vision.depth,
        "hidden_size": a.vision.hidden,
        "num_heads": a.vision.heads,
        "intermediate_size": a.vision.ffn,
        "out_hidden_size": a.hidden,
        "patch_size": a.vision.patch,
        "temporal_patch_size": a.vision.temporal_patch,
        "spatial_merge_size": a.vision.merge,
        "num_position_embeddings": a.vision.positions,
        "in_channels": a.vision.channels,
    }
    if a.experts is None:
        text["intermediate_size"] = a.ffn
        return Qwen3_5Config(text_config=text, vision_config=vision, tie_word_embeddings=a.tied)
    text |= {
        "num_experts": a.experts,
        "num_experts_per_tok": a.experts_per_token,
        "moe_intermediate_size": a.moe_ffn,
        "shared_expert_intermediate_size": a.shared_ffn,
    }
    return Qwen3_5MoeConfig(text_config=text, vision_config=vision, tie_word_embeddings=a.tied)
