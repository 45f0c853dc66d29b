from __future__ import annotations

import pytest

from server.catalogue import Model, load
from server.settings import Settings


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of the family that thinks by default."""
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models["qwen3.5-4b"]


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """One that does not, and has settings of its own for images."""
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=())).models["qwen3.5-0.8b"]
