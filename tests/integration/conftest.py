from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest

from server import settings
from server.engines.vllm_binary import Interpreter, find_vllm
from server.errors import EngineMissing
from tests.integration.clouds import Clouds, clouds
from tests.integration.running import Holdfast, holdfast


@pytest.fixture(scope="session")
def require_vllm() -> Interpreter:
    """The Python that runs vLLM; without one the test fails and says what makes it."""
    try:
        return find_vllm(settings.load(os.environ))
    except EngineMissing as error:
        pytest.fail(f"this test needs vLLM. {error.sentence}", pytrace=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holdfast]:
    """A Holdfast that serves the demo, shared by a module's tests."""
    with holdfast(tmp_path_factory.mktemp("demo") / "home", "--demo") as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def played() -> Iterator[Clouds]:
    """Three clouds, played, shared by a module's tests."""
    with clouds() as found:
        yield found


@pytest.fixture
def client(node: Holdfast) -> openai.OpenAI:
    """OpenAI's SDK, for the `node` of a module."""
    return node.client(timeout=60)


@pytest.fixture
def claude(node: Holdfast) -> anthropic.Anthropic:
    """Anthropic's SDK, for the same."""
    return anthropic.Anthropic(base_url=node.root, api_key="none", max_retries=0)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Holdfast]:
    """A Holdfast that serves the demo, for a test that breaks things."""
    with holdfast(tmp_path / "home", "--demo") as running:
        running.wait_ready()
        yield running
