"""Questions over the admin socket, to a real server on one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from server.cli import admin
from server.errors import (
    ConfigError,
    EngineError,
    EngineMissing,
    EngineUnready,
    HoldfastError,
    ModelNotFound,
    RequestError,
)
from tests.cli.unix_server import unix_server

SLOW = threading.Event()
STEP = b'data: {"doing":"loading a","progress":0.5,"stage":null}\n\n'
EVENTS = {
    b'"good"': STEP + b'data: {"done":{"name":"a"}}\n\n',
    b'"bad"': STEP + b'data: {"error":{"message":"a does not fit."}}\n\n',
    b'"cut"': STEP,
}


def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    if path.startswith("/refuse"):
        return 404, b'{"error":{"message":"There is no model \\"x\\"."}}'
    if path == "/break":
        return 500, b"no JSON"
    if path == "/events?follow=1":
        return 200, EVENTS[body]
    if path == "/slow":
        SLOW.wait(10)
    return 200, body if method == "POST" else b'{"engines":[]}'


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with unix_server(tmp_path / "admin.sock", answer):
        yield tmp_path / "admin.sock"


def test_an_answer(path: Path) -> None:
    assert orjson.loads(admin.get(path, "/admin/ps")) == {"engines": []}
    assert orjson.loads(admin.post(path, "/echo", {"model": "x"})) == {"model": "x"}


def test_a_refusal_is_told_in_its_own_words(path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        admin.post(path, "/refuse", {})
    assert caught.value.sentence == 'There is no model "x".'


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (RequestError("your mistake"), RequestError, 2),
        (ModelNotFound("no such model"), RequestError, 2),
        (ConfigError("the configuration has a problem"), ConfigError, 2),
        (EngineMissing("no engine"), EngineError, 3),
    ],
)
def test_a_refusal_ends_with_the_code_of_what_is_wrong(
    tmp_path: Path, error: HoldfastError, kind: type[HoldfastError], code: int
) -> None:
    told = orjson.dumps(error.openai_body())
    path = tmp_path / "a.sock"
    with unix_server(path, lambda *_: (error.status, told)), pytest.raises(kind) as caught:
        admin.post(path, "/admin/reload", {})
    assert caught.value.exit_code == code
    assert caught.value.sentence.lower() == error.sentence.lower()


def test_a_refusal_without_words(path: Path) -> None:
    with pytest.raises(EngineError, match="answered 500"):
        admin.post(path, "/break", {})


def test_no_answer_is_not_taken_for_no_holdfast(path: Path) -> None:
    with pytest.raises(EngineUnready, match=r"has not answered within 0\.05 s"):
        admin.post(path, "/slow", {}, timeout=0.05)
    SLOW.set()


def test_long_work_is_followed_to_its_end(path: Path) -> None:
    step = {"doing": "loading a", "progress": 0.5, "stage": None}
    assert list(admin.follow(path, "/events", "good")) == [step, {"done": {"name": "a"}}]
    assert list(admin.follow(path, "/echo", [1])) == [{"done": [1]}], "it was done at once"


@pytest.mark.parametrize(
    ("route", "values", "told"),
    [
        ("/events", "bad", "a does not fit"),
        ("/events", "cut", "the running Holdfast has ended"),
        ("/refuse", "", 'There is no model "x"'),
    ],
)
def test_long_work_that_fails(path: Path, route: str, values: str, told: str) -> None:
    with pytest.raises(EngineError, match=told):
        list(admin.follow(path, route, values))


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineUnready, match="holdfast serve"):
        admin.get(tmp_path / "admin.sock", "/admin/ps")
    with pytest.raises(EngineUnready, match="holdfast serve"):
        list(admin.follow(tmp_path / "admin.sock", "/admin/load", {}))
