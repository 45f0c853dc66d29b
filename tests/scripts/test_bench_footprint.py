"""The measurement of predicted memory, on a model of a few megabytes and the real engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks.footprint import Effort, Shape, measure


@pytest.mark.integration
def test_starts_are_held_against_predictions(tmp_path: Path) -> None:
    effort = Effort((("demo", "Q8_0"),), (Shape(1024, 1, "f16"), Shape(2048, 3, "q8_0")))
    report = measure(effort, tmp_path)
    results = {result.case: result for result in report.results}
    assert results["KV, state inexact"].figure == 0
    assert len(results["total, before"].holdfast.values) == 2
    assert len(results["total, after one start"].holdfast.values) == 1
    assert results["total, before"].figure < 20
    assert results["compute, before"].figure < 1
    assert results["total, before"].peers["GPUStack's"].median > 1000
    assert not list(tmp_path.glob("*.gguf"))
