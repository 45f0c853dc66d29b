"""Coding agents' traffic: what they really sent, replayed to a Holdfast with clouds behind it.

Each agent did one task: it was asked for something that takes a tool, called it, and told what the
tool had said. The clouds are played, and do in the first turn what the prompt tells them to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.integration.agents.listening import Heard, heard
from tests.integration.agents.traffic import Sent, agents, recorded, shortened
from tests.integration.clouds import MODELS, Clouds, gateway
from tests.integration.running import Holdfast

pytestmark = pytest.mark.integration

PATCH = "*** Begin Patch\n*** Add File: made.txt\n+made\n*** End Patch\n"
NOTE = "/project/note.txt"
CALLED: dict[str, tuple[str, Any]] = {
    "claude_code": ("Read", {"file_path": NOTE}),
    "codex": ("exec_command", {"cmd": "cat note.txt"}),
    "codex_patches": ("apply_patch", PATCH),
    "codex_scripts": (
        "exec",
        'const r = await tools.exec_command({cmd: "cat note.txt"}); text(r.output);',
    ),
    "opencode": ("read", {"filePath": NOTE}),
    "qwen_code": ("read_file", {"absolute_path": NOTE, "file_path": NOTE}),
}
"""What each of them was told to call."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, played: Clouds) -> Iterator[Holdfast]:
    with gateway(tmp_path_factory.mktemp("agents"), played) as running:
        yield running


def answered(node: Holdfast, sent: Sent) -> httpx2.Response:
    return httpx2.post(node.root + sent.path, headers=sent.headers, json=sent.body, timeout=120)


def told(node: Holdfast, sent: Sent) -> Heard:
    answer = answered(node, sent)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return heard(sent.dialect, answer.content)


def test_all_that_was_recorded_is_replayed() -> None:
    assert agents() == sorted(CALLED)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("agent", CALLED)
def test_a_task_is_done_with_any_cloud(
    node: Holdfast, played: Clouds, agent: str, model: str
) -> None:
    if (agent, model) == ("codex_scripts", MODELS[2]):  # it wants one call at a time
        refusal = answered(node, recorded(agent, model)[0])
        assert refusal.status_code == 400
        assert refusal.json()["error"]["param"] == "parallel_tool_calls"
        return
    *before, asked, reported = recorded(agent, model)
    for sent in before:  # opencode has a title made for the conversation
        assert told(node, sent).ended
    first = told(node, asked)
    assert first.calls == [CALLED[agent]]
    second = told(node, reported)
    assert not second.calls
    assert second.text.startswith("The tools said ")
    assert ("made.txt" if agent == "codex_patches" else "The lamp is green.") in second.text


@pytest.mark.parametrize("agent", CALLED)
def test_every_tool_that_an_agent_offers_reaches_the_model(
    node: Holdfast, played: Clouds, agent: str
) -> None:
    asked = recorded(agent, MODELS[1])[-2]
    played.anthropic.requests(clear=True)
    told(node, asked)
    (request,) = [one for one in played.anthropic.requests() if "tools" in one["body"]]
    offered = [tool["name"] for tool in request["body"]["tools"]]
    assert offered == _named(asked)


def _named(sent: Sent) -> list[str]:
    """As models are told, but for what Codex offers of OpenAI's own."""
    tools = list(sent.body.get("tools", ()))
    for item in sent.body.get("input", ()):
        tools += item.get("tools", ())
    names = []
    for tool in tools:
        if tool.get("type") == "namespace":
            names += [f"{tool['name']}__{one['name']}" for one in tool["tools"]]
        elif tool.get("type") != "web_search":
            names.append(tool.get("name") or tool.get("function", {}).get("name") or tool["type"])
    return names


@pytest.mark.parametrize("agent", CALLED)
def test_an_engine_answers_an_agent_with_a_whole_stream(node: Holdfast, agent: str) -> None:
    """The demo has no idea of it, but its engine is a real one."""
    for sent in shortened(agent, "demo"):
        said = told(node, sent)
        assert said.text or said.calls
        assert said.ended


@pytest.mark.parametrize("agent", CALLED)
def test_what_does_not_fit_the_demo_is_refused_as_the_agent_expects(
    node: Holdfast, agent: str
) -> None:
    sent = recorded(agent, "demo")[-1]
    answer = answered(node, sent)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "maximum context length is 4096 tokens" in error["message"]
    code = error["details"]["error_code"] if sent.dialect == "messages" else error["code"]
    assert code == "context_length_exceeded"
