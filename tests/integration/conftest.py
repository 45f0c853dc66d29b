from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Holdfast, holdfast


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holdfast]:
    """A Holdfast that serves the demo, shared by a module's tests."""
    with holdfast(tmp_path_factory.mktemp("demo") / "home", "--demo") as running:
        running.wait_ready()
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Holdfast]:
    """A Holdfast that serves the demo, for a test that breaks things."""
    with holdfast(tmp_path / "home", "--demo") as running:
        running.wait_ready()
        yield running
