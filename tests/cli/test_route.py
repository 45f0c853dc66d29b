"""`holdfast route explain`: beside a Holdfast that answers, and without one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from server import catalogue, settings
from server.catalogue.router import Limits
from server.cli.app import app
from server.cli.route import lines
from server.errors import ConfigError
from server.ledger.keys import KeyBook, Terms
from server.routing.explain import explanation, read_question
from server.routing.planned import planned_candidates
from tests.cli.unix_server import unix_server
from tests.routing.cases import parse

ROWS = {
    "auto": "auto small.queue=40 big.queue=50 |",
    "local": "auto local tokens=200000 |",
    "routed": "auto with=shadow hedge_after=2 small.load=40 big.load=50 |",
    "named": "openai/mini |",
    "private": "private task=coding images=2 wants=tools max=77 |",
}


def found(name: str, **more: Any) -> dict[str, Any]:
    row = parse(ROWS[name])
    return explanation(row.needs, row.candidates, row.router, **more)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "auto",
            [
                "auto: about 1000 tokens; chat, guessed; at most 500 of answer",
                "It would go to openai/mini: overflow: qwen3.5-4b:q4_k_m would take 40.3 s.",
                "Policy cheapest, first token within 30.0 s.",
                " 1. openai/mini (cloud): about $0.00104, first token in 600 ms, 90 tokens/s",
                " 4. qwen3.5-4b:q4_k_m (local): free, first token in 40.3 s (queue 40.0 s + ",
                "  - openai/vectors (cloud): it makes embeddings, and nothing else",
            ],
        ),
        (
            "local",
            ["It would be refused: This model's maximum context length is 65536 tokens: the "],
        ),
        (
            "routed",
            [
                "by the route shadow.",
                "qwen3.5-4b:q4_k_m would be loaded meanwhile.",
                "A copy would go to anthropic/opus.",
                "After 2.0 s without a token the next would be asked as well.",
            ],
        ),
        (
            "private",
            [
                "private: about 1000 tokens; coding; at most 77 of answer; 2 images; wants tools",
                "Nothing of it may leave this machine: the policy is local-only.",
            ],
        ),
    ],
)
def test_the_text(name: str, told: list[str]) -> None:
    text = "\n".join(lines(found(name)))
    for line in told:
        assert line in text


def test_what_is_not_there_is_told_once() -> None:
    why = "acme has no key: ACME is not set"
    absent = {"acme/a": why, "acme/b": why, "qwen3.5-27b": "it is not running"}
    text = "\n".join(lines(found("auto", absent=absent, planned=True)))
    assert text.count(why) == 1
    assert "it is not running" not in text
    assert text.startswith("No Holdfast runs for this home")


def test_a_plan_has_no_model_that_is_no_longer_offered() -> None:
    known = replace(catalogue.load(settings.load({})), models={})
    cloud = next(iter(known.clouds.values()))
    today = datetime.date(2026, 11, 21)
    for retires, down in ((None, ""), (today, "its provider has not offered it since 2026-11-21")):
        one = replace(known, clouds={cloud.id: replace(cloud, retires=retires)})
        needs = parse(ROWS["named"]).needs
        (candidate,) = planned_candidates(one, [], {}, needs, today)
        assert candidate.down == down


questions: list[dict[str, Any]] = []


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of a Holdfast that answers every question with a row of the tables."""
    monkeypatch.setenv("COLUMNS", "200")
    questions.clear()
    socket = settings.load({}, home=tmp_path).admin_socket
    socket.parent.mkdir(parents=True, exist_ok=True)

    def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        assert (method, path) == ("POST", "/admin/route/explain")
        questions.append(orjson.loads(body))
        refused = questions[-1]["headers"].get("x-holdfast-local-only") == "true"
        return 200, orjson.dumps(found("local" if refused else "auto"))

    with unix_server(socket, answer):
        yield tmp_path


def run(*words: str, home: Path, **more: Any) -> Any:
    return CliRunner().invoke(app, ["route", "explain", *words, "--home", str(home)], **more)


def test_the_running_holdfast_is_asked(home: Path) -> None:
    result = run("Hello", "--tokens", "12", "--header", "X-SLO-TTFT-MS=500", home=home)
    assert result.exit_code == 0, result.output
    assert "overflow" in result.output
    message = {"role": "user", "content": "Hello"}
    assert questions == [
        {
            "request": {"model": "auto", "messages": [message]},
            "headers": {"x-slo-ttft-ms": "500"},
            "prompt_tokens": 12,
        }
    ]


def test_a_key_is_asked_for_with_what_it_may_do(home: Path) -> None:
    book = KeyBook(settings.load({}, home=home).keys_file)
    terms = Terms(team="lab", limits=Limits(rpm=5), models=("auto",), local_only=True)
    key, _ = book.create("laptop", terms)
    assert run("Hello", "--key", "laptop", home=home).exit_code == 0
    asked = questions[-1]["key"]
    assert (asked["id"], asked["team"], asked["models"]) == (key.id, "lab", ["auto"])
    assert asked["local_only"] is True
    assert asked["limits"]["rpm"] == 5
    question = read_question(questions[-1])
    assert question.terms == Terms(team="lab", limits=Limits(rpm=5))
    book.revoke("laptop")
    result = run("Hello", "--key", "laptop", home=home)
    assert isinstance(result.exception, ConfigError)
    assert "laptop" in result.exception.sentence


def test_candidates_with_the_same_reason_share_a_line() -> None:
    told = list(lines(found("named")))
    assert [line for line in told if "not what was asked for" in line] == [
        "  - qwen3.5-4b:q4_k_m, qwen3.5-27b:q4_k_m (local): not what was asked for",
        "  - google/flash, anthropic/opus, openai/vectors (cloud): not what was asked for",
    ]


def test_a_body_comes_from_a_file_or_standard_input(home: Path) -> None:
    body = {"model": "coding", "messages": [{"role": "user", "content": "Hi"}]}
    file = home / "body.json"
    file.write_bytes(orjson.dumps(body))
    run("--request", str(file), "--task", "coding", home=home)
    run("--request", "-", "--model", "auto", home=home, input=orjson.dumps(body))
    assert questions[0] == {"request": body, "headers": {"x-task-type": "coding"}}
    assert questions[1]["request"]["model"] == "auto"


def test_json_and_the_exit_code_of_a_refusal(home: Path) -> None:
    result = run("Hello", "--json", "--header", "x-holdfast-local-only=true", home=home)
    assert result.exit_code == 2
    assert orjson.loads(result.stdout)["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "there is no request"),
        (["Hello", "--request", "x.json"], "one too many"),
        (["--request", "/nonexistent/x.json"], "cannot be read"),
        (["Hello", "--header", "novalue"], "is not NAME=VALUE"),
        (["caf\udce9"], "is not UTF-8 text"),
        (["Hello", "--model", "caf\udce9"], "is not UTF-8 text"),
    ],
)
def test_mistakes_are_told(home: Path, words: list[str], told: str) -> None:
    result = run(*words, home=home)
    assert isinstance(result.exception, ConfigError)
    assert told in result.exception.sentence
    assert not questions


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_what_is_no_body_is_told(home: Path, text: str) -> None:
    file = home / "body.json"
    file.write_text(text)
    result = run("--request", str(file), home=home)
    assert isinstance(result.exception, ConfigError)
    assert "body.json" in result.exception.sentence
