"""Questions over the admin socket, to a real server on one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from server.cli import admin
from server.errors import EngineError, EngineUnready
from tests.cli.unix_server import unix_server

SLOW = threading.Event()


def answer(method: str, path: str, body: bytes) -> tuple[int, bytes]:
    if path == "/refuse":
        return 404, b'{"error":{"message":"There is no model \\"x\\"."}}'
    if path == "/break":
        return 500, b"no JSON"
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


def test_a_refusal_without_words(path: Path) -> None:
    with pytest.raises(EngineError, match="answered 500"):
        admin.post(path, "/break", {})


def test_no_answer_is_not_taken_for_no_holdfast(path: Path) -> None:
    with pytest.raises(EngineUnready, match=r"has not answered within 0\.05 s"):
        admin.post(path, "/slow", {}, timeout=0.05)
    SLOW.set()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineUnready, match="holdfast serve"):
        admin.get(tmp_path / "admin.sock", "/admin/ps")
