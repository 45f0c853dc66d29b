"""Scratch space, against what llama-server logs: its two decimals of a MiB, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from server.catalogue import Architecture, load
from server.planning.footprint.batch import Batch
from server.planning.footprint.graph import model_bytes, prediction_bytes, waiting_bytes
from server.settings import Settings
from server.units import MIB

LOGGED = [
    ("0.8b", 1, 1024, 43.16),
    ("0.8b", 8, 4096, 59.14),
    ("0.8b", 4, 32768, 74.58),
    ("0.8b", 1, 262144, 298.16),
    ("0.8b", 32, 4096, 106.52),
    ("0.8b", 5, 4096, 46.99),  # 512 tokens are not a multiple of 5 slots
    ("0.8b", 3, 512, 43.02),
    ("0.8b", 1, 256, 21.27),  # less than a micro batch
    ("2b", 1, 4096, 52.16),
    ("2b", 8, 4096, 65.14),
    ("4b", 1, 1024, 70.02),
    ("4b", 8, 4096, 92.52),
    ("4b", 16, 4096, 126.02),
    ("4b", 32, 4096, 193.02),
    ("9b", 1, 32768, 128.02),
    ("9b", 8, 4096, 101.52),
    ("9b", 16, 4096, 135.02),
    ("9b", 32, 4096, 202.02),
    ("27b", 1, 1024, 133.02),
    ("27b", 8, 4096, 136.02),
    ("27b", 16, 4096, 185.77),
    ("27b", 32, 4096, 285.52),
    ("35b-a3b", 1, 4096, 76.02),
    ("35b-a3b", 8, 4096, 92.77),
    ("35b-a3b", 16, 4096, 125.52),
    ("35b-a3b", 32, 4096, 191.02),
    ("122b-a10b", 2, 4096, 124.02),
    ("122b-a10b", 4, 32768, 160.58),
    ("122b-a10b", 8, 4096, 157.14),
    ("122b-a10b", 16, 4096, 222.27),
    ("397b-a17b", 2, 4096, 176.02),
    ("397b-a17b", 8, 4096, 176.02),
    ("397b-a17b", 16, 4096, 230.27),
]
"""Slots, tokens of each, MiB: llama-cpp-python 0.3.36 on the CPU, a KV cache of f16."""

QUANTIZED = [
    ("0.8b", 1, 4096, 46.42),
    ("0.8b", 4, 4096, 46.85),
    ("9b", 4, 8192, 104.28),
    ("27b", 3, 4096, 136.55),
]
"""The same with a KV cache of q8_0."""

EMBEDDING = [
    (1, 512, 5.27),
    (4, 512, 5.27),
    (1, 1024, 5.77),
    (4, 2048, 6.77),
    (2, 4096, 8.77),
    (8, 4096, 8.77),
    (8, 8192, 12.24),
]
"""Slots and tokens of each, MiB of the demo with `--embeddings --pooling last`."""

DRAFTING = [
    ("0.8b", 1, 2, 46.16, 27.02),
    ("0.8b", 4, 3, 66.58, 27.02),
    ("4b", 8, 3, 140.52, 68.02),
    ("9b", 2, 2, 100.02, 92.02),
    ("35b-a3b", 2, 1, 76.02, 64.14),
]
"""Slots of 4,096 tokens, tokens drafted, MiB of the model and of the prediction block."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Architecture]:
    models = load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models
    return {name.removeprefix("qwen3.5-"): model.architecture for name, model in models.items()}


def mib(size: int) -> float:
    return round(size / MIB, 2)


@pytest.mark.parametrize(("size", "slots", "context", "logged"), LOGGED)
def test_a_model_on_the_cpu(
    shapes: Mapping[str, Architecture], size: str, slots: int, context: int, logged: float
) -> None:
    assert mib(model_bytes(shapes[size], Batch(slots, context))) == logged


@pytest.mark.parametrize(("size", "slots", "context", "logged"), QUANTIZED)
def test_a_quantized_cache_is_rotated(
    shapes: Mapping[str, Architecture], size: str, slots: int, context: int, logged: float
) -> None:
    assert mib(model_bytes(shapes[size], Batch(slots, context, "q8_0"))) == logged


@pytest.mark.parametrize(("slots", "context", "logged"), EMBEDDING)
def test_embeddings_make_every_token_an_output(
    shapes: Mapping[str, Architecture], slots: int, context: int, logged: float
) -> None:
    assert mib(model_bytes(shapes["demo"], Batch(slots, context, embeds=True))) == logged
    quantized = Batch(2, 32_768, "q8_0", embeds=True)
    assert mib(model_bytes(shapes["demo"], quantized)) == 36.2
    # With Qwen3.5's vocabulary, of 0.8B's shape with eight layers.
    large = replace(shapes["0.8b"], layers=8)
    assert mib(model_bytes(large, Batch(2, 4096))) == 46.3
    assert mib(model_bytes(large, Batch(2, 4096, embeds=True))) == 491.02


@pytest.mark.parametrize(("size", "slots", "drafted", "model", "block"), DRAFTING)
def test_multi_token_prediction(
    shapes: Mapping[str, Architecture],
    size: str,
    slots: int,
    drafted: int,
    model: float,
    block: float,
) -> None:
    a = shapes[size]
    if size != "0.8b":  # the logged files were kept small
        a = replace(a, vocab=32_768, experts=32 if a.experts else None)
    assert mib(model_bytes(a, Batch(slots, 4096, drafted=drafted))) == model
    assert mib(prediction_bytes(a, Batch(slots, 4096))) == block


def test_a_model_on_a_gpu(shapes: Mapping[str, Architecture]) -> None:
    """Two logs that others have published: 27B's shape with 16,384 tokens, and 0.8B with four slots
    in a unified cache of 2,048, which has the mask of one slot."""
    assert mib(model_bytes(shapes["27b"], Batch(1, 16_384, offloaded=True))) == 138.02
    assert mib(model_bytes(shapes["0.8b"], Batch(4, 2048, offloaded=True))) == 42.58
    assert mib(waiting_bytes(shapes["0.8b"], Batch(1, 2048, offloaded=True))) == 6.02


def test_two_gpus_that_take_turns(shapes: Mapping[str, Architecture]) -> None:
    """A published log of 27B's shape: 262,144 tokens of q8_0, three drafted, micro batches of 256.

    Four copies of each input, keys and values of a layer as f16, and what drafts in f16.
    """
    a = shapes["27b"]
    model = Batch(1, 262_144, "q8_0", 3, offloaded=True, copies=4, micro_batch=256)
    assert mib(model_bytes(a, model)) == 1597.09
    assert mib(waiting_bytes(a, model)) == pytest.approx(523.10, abs=0.011)
    drafts = Batch(1, 262_144, offloaded=True, copies=4, micro_batch=256)
    assert mib(prediction_bytes(a, drafts)) == 613.03
    hidden = 3 * 256 * a.hidden * 4
    assert mib(waiting_bytes(a, drafts) + hidden) == pytest.approx(537.04, abs=0.011)


def test_every_period_of_layers_lies_alike(shapes: Mapping[str, Architecture]) -> None:
    for a in shapes.values():
        interval = a.full_attention_interval
        two, one = replace(a, layers=2 * interval), replace(a, layers=interval)
        batch = Batch(4, 4096)
        assert model_bytes(a, batch) == model_bytes(two, batch)
        assert model_bytes(one, batch) <= model_bytes(two, batch)
