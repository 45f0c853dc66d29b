"""The official SDKs of OpenAI and Anthropic for Node at a Holdfast with clouds behind it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import demo
from tests.integration.clouds import MODELS, Clouds, gateway
from tests.integration.running import Holdfast

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
SDKS = Path(sys.prefix) / "node"
"""Where scripts/setup --dev installs them."""
ALL = ("demo", *MODELS)
WHAT = demo.question("what-is-holdfast")
CITY = ["weather", {"city": "Köln 🌍"}]

Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def node_program() -> str:
    """Without Node or the SDKs these tests fail, and say what makes them: a client that was not
    tried is not one that works."""
    program = shutil.which("node")
    if program is None or not (SDKS / "node_modules" / "openai").is_dir():
        lacks = "node is not on PATH" if program is None else f"they are not in {SDKS}"
        pytest.fail(
            f"this test needs Node and the SDKs for it: {lacks}. Install Node 20 or newer, with "
            "npm; then run scripts/setup --dev.",
            pytrace=False,
        )
    return program


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path_factory.mktemp("node"), played) as running:
        yield running


@pytest.fixture(scope="module", params=ALL)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ran(program: str, script: str, url: str, model: str) -> Told:
    """What the program of tests/integration/agents tells of all that it tried."""
    question = WHAT.messages[-1]["content"]
    done = subprocess.run(
        [program, HERE / script, SDKS, url, model, question],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: Told = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def openai_told(node_program: str, node: Holdfast, model: str) -> Told:
    return ran(node_program, "openai.mjs", node.url, model)


@pytest.fixture(scope="module")
def anthropic_told(node_program: str, node: Holdfast, model: str) -> Told:
    return ran(node_program, "anthropic.mjs", node.root, model)


def words(model: str) -> str:
    return WHAT.content if model == "demo" else f"Hello from {model.partition('/')[2]}."


def test_openai_chat_whole_and_streamed(openai_told: Told, model: str) -> None:
    chat, stream = openai_told["chat"], openai_told["stream"]
    assert chat["text"] == stream["text"] == words(model)
    assert chat["reason"] == "stop"
    assert chat["route"] == ("local" if model == "demo" else "cloud")
    assert stream["usage"]["completion_tokens"] == chat["usage"]["completion_tokens"] > 0


def test_openai_responses_whole_streamed_and_continued(openai_told: Told, model: str) -> None:
    told = openai_told["responses"]
    assert told["text"] == words(model)
    assert (told["first"], told["last"]) == ("response.created", "response.completed")
    assert told["previous"]
    if model != "demo":  # the demo knows a question as the first of a conversation only
        assert told["streamed"] == words(model)


def test_openai_responses_asked_for_again_and_deleted(openai_told: Told) -> None:
    question = WHAT.messages[-1]["content"]
    assert openai_told["stored"] == {"same": True, "asked": [question], "gone": 404}


def test_openai_tools_over_two_turns(openai_told: Told, model: str) -> None:
    if model == "demo":
        assert "tools" not in openai_told
        return
    told = openai_told["tools"]
    assert told["calls"] == [CITY]
    assert told["reason"] == "tool_calls"
    assert "sunny" in told["text"]
    assert openai_told["responses_tools"]["calls"] == [CITY]


def test_openai_errors_are_the_sdks_own(openai_told: Told) -> None:
    errors = openai_told["errors"]
    for kind in ("unknown", "stream"):
        assert errors[kind]["kind"] == "NotFoundError"
        assert (errors[kind]["status"], errors[kind]["code"]) == (404, "model_not_found")
    assert errors["invalid"]["kind"] == errors["responses"]["kind"] == "BadRequestError"
    assert errors["invalid"]["param"] == "temperature"
    assert errors["responses"]["param"] == "input"


def test_openai_lists_the_models(openai_told: Told, model: str) -> None:
    assert openai_told["models"] == {"listed": True, "one": model}


def test_anthropic_whole_and_streamed(anthropic_told: Told, model: str) -> None:
    whole, stream = anthropic_told["message"], anthropic_told["stream"]
    assert whole["text"] == stream["text"] == stream["whole"] == words(model)
    assert whole["reason"] == "end_turn"
    assert stream["usage"]["output_tokens"] == whole["usage"]["output_tokens"] > 0


def test_anthropic_tools_over_two_turns(anthropic_told: Told, model: str) -> None:
    if model == "demo":
        assert "tools" not in anthropic_told
        return
    told = anthropic_told["tools"]
    assert told["calls"] == [CITY]
    assert told["reason"] == "tool_use"
    assert "sunny" in told["text"]


def test_anthropic_errors_are_the_sdks_own(anthropic_told: Told) -> None:
    errors = anthropic_told["errors"]
    for kind in ("unknown", "stream"):
        assert (errors[kind]["kind"], errors[kind]["status"]) == ("NotFoundError", 404)
        assert errors[kind]["body"]["error"]["type"] == "not_found_error"
    assert errors["invalid"]["kind"] == "BadRequestError"
    assert errors["invalid"]["body"]["error"]["type"] == "invalid_request_error"


def test_anthropic_counts_and_lists(anthropic_told: Told) -> None:
    assert anthropic_told["count"]["input_tokens"] > 0
    assert anthropic_told["models"] == {"listed": True}
