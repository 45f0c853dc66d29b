"""What prompts are counted for: by whom they are answered, and what clients are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.integration.clouds import Clouds, gateway
from tests.integration.running import Holdfast, run

pytestmark = pytest.mark.integration

CONTEXT = 4096
PATIENT = {"x-slo-ttft-ms": "600000"}
EITHER = """
[[alias]]
name = "either"
candidates = ["demo", "openai/gpt-5"]
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path_factory.mktemp("counted"), played, EITHER) as running:
        yield running


def story(word: str, times: int) -> Any:
    content = f"{word} upon a time there was a router that knew each of its engines. " * times
    return [{"role": "user", "content": content}]


def counted(claude: anthropic.Anthropic, messages: Any) -> tuple[int, str | None]:
    raw = claude.messages.with_raw_response.count_tokens(model="demo", messages=messages)
    return raw.parse().input_tokens, raw.headers.get("x-holdfast-count")


def times(claude: anthropic.Anthropic, word: str, most: int) -> int:
    """How often the story can be told in `most` tokens."""
    one, two = (counted(claude, story(word, told))[0] for told in (1, 2))
    return (most - one) // (two - one) + 1


@pytest.mark.parametrize(("share", "route"), [(0.98, "local"), (1.05, "cloud")])
def test_whether_it_fits_is_known_before_anybody_is_asked(
    claude: anthropic.Anthropic, share: float, route: str
) -> None:
    """By the estimate alone both would be sent to the engine, which refuses one."""
    for word in ("Once", "Twice"):  # at first nothing was learnt
        messages = story(word, times(claude, word, int(share * CONTEXT)))
        # As Claude Code does, and so that no strained machine counts too late for the decision.
        assert counted(claude, messages)[1] == "engine"
        raw = claude.messages.with_raw_response.create(
            model="either", max_tokens=16, messages=messages, extra_headers=PATIENT
        )
        assert raw.headers["x-holdfast-route"] == route
        assert raw.headers["x-holdfast-attempts"] == "1"


def test_of_a_model_that_is_not_loaded_an_estimate_is_told_and_said_to_be_one(
    claude: anthropic.Anthropic, node: Holdfast
) -> None:
    messages = story("Never", 20)
    exact, source = counted(claude, messages)
    assert source == "engine"
    unloaded = run("unload", "demo", home=node.home)
    assert unloaded.returncode == 0, unloaded.stderr
    longer = story("Never", 21)
    estimate, source = counted(claude, longer)
    assert source == "estimate"
    assert estimate == pytest.approx(exact, rel=0.5)
    assert node.engine()["state"] != "ready", "nothing is loaded only to count"
