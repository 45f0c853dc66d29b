from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue import Architecture, load
from server.planning.footprint import llama_server
from server.planning.sizing import COMFORT, CONTEXTS, SLOTS, choose_context_slots, reserve, threads
from server.settings import Settings
from server.units import GIB, MIB

CATALOGUE = load(Settings(home=Path("/nonexistent"), configs=()))
WEIGHTS = {"qwen3.5-0.8b": 530 * MIB, "qwen3.5-9b": 5_700 * MIB, "qwen3.5-27b": 16_700 * MIB}


def architecture(model: str) -> Architecture:
    return CATALOGUE.models[model].architecture


@pytest.mark.parametrize(
    ("model", "memory", "slots", "context"),
    [
        ("qwen3.5-0.8b", 2 * GIB, 1, 32_768),
        ("qwen3.5-0.8b", 4 * GIB, 4, 32_768),
        ("qwen3.5-0.8b", 12 * GIB, 4, 131_072),
        ("qwen3.5-0.8b", 16 * GIB, 4, 262_144),
        ("qwen3.5-9b", 8 * GIB, 1, 16_384),
        ("qwen3.5-9b", 12 * GIB, 2, 32_768),
        ("qwen3.5-9b", 24 * GIB, 4, 65_536),
        ("qwen3.5-9b", 128 * GIB, 4, 262_144),
        ("qwen3.5-27b", 24 * GIB, 1, 32_768),
        ("qwen3.5-27b", 48 * GIB, 4, 65_536),
    ],
)
def test_machines(model: str, memory: int, slots: int, context: int) -> None:
    sizing = choose_context_slots(
        architecture(model),
        model_context=262_144,
        weights_bytes=WEIGHTS[model],
        mmproj_bytes=0,
        memory=memory,
    )
    assert sizing.fits
    assert (sizing.slots, sizing.context) == (slots, context)


@pytest.mark.parametrize(
    ("memory", "kept"), [(0, 0), (GIB, GIB // 10), (40 * GIB, 4 * GIB), (999 * GIB, 4 * GIB)]
)
def test_the_reserve(memory: int, kept: int) -> None:
    assert reserve(memory) == kept


@pytest.mark.parametrize(
    ("model_context", "context", "slots", "expected"),
    [
        (262_144, 10_000, 3, (3, 10_000)),
        (262_144, 10_000, None, (4, 10_000)),
        (262_144, None, 16, (16, 262_144)),
        (2_048, None, None, (4, 2_048)),
        (40_000, None, None, (4, 40_000)),
    ],
)
def test_what_is_configured_is_kept_and_the_models_context_is_the_limit(
    model_context: int, context: int | None, slots: int | None, expected: tuple[int, int]
) -> None:
    sizing = choose_context_slots(
        architecture("qwen3.5-0.8b"),
        model_context=model_context,
        weights_bytes=WEIGHTS["qwen3.5-0.8b"],
        mmproj_bytes=0,
        memory=900 * GIB,
        context=context,
        slots=slots,
    )
    assert sizing.fits
    assert (sizing.slots, sizing.context) == expected


@pytest.mark.parametrize(("context", "slots"), [(None, None), (262_144, None), (None, 8)])
def test_what_does_not_fit_is_shown_at_its_smallest(context: int | None, slots: int | None) -> None:
    sizing = choose_context_slots(
        architecture("qwen3.5-27b"),
        model_context=262_144,
        weights_bytes=WEIGHTS["qwen3.5-27b"],
        mmproj_bytes=900 * MIB,
        memory=8 * GIB,
        context=context,
        slots=slots,
    )
    assert not sizing.fits
    assert (sizing.context, sizing.slots) == (context or 4_096, slots or 1)
    assert sizing.footprint.weights == WEIGHTS["qwen3.5-27b"] + 900 * MIB


memories = st.integers(1, 200 * GIB)


@given(model=st.sampled_from(sorted(WEIGHTS)), one=memories, other=memories)
def test_never_over_the_memory_and_never_worse_with_more(model: str, one: int, other: int) -> None:
    less, more = (
        choose_context_slots(
            architecture(model),
            model_context=262_144,
            weights_bytes=WEIGHTS[model],
            mmproj_bytes=0,
            memory=memory,
        )
        for memory in sorted((one, other))
    )
    for sizing, memory in ((less, min(one, other)), (more, max(one, other))):
        assert sizing.fits == (sizing.footprint.total <= memory - reserve(memory))
        assert sizing.footprint == llama_server(
            WEIGHTS[model], 0, architecture(model), sizing.context, sizing.slots
        )
        assert sizing.slots in SLOTS
        assert sizing.context in CONTEXTS
        assert sizing.slots == 1 or sizing.context >= COMFORT
    if less.fits:
        assert (more.slots, more.context) >= (less.slots, less.context)


@pytest.mark.parametrize(
    ("weights", "cores", "count"),
    [(7 * MIB, 16, 1), (64 * MIB, 16, 16), (5 * GIB, 2, 2), (5 * GIB, 0, 1)],
)
def test_a_tiny_model_is_computed_by_one_thread(weights: int, cores: int, count: int) -> None:
    assert threads(weights, cores) == count
