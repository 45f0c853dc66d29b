"""A plan is sent to a running Holdfast; the server on the socket is real, and answers by rote."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from server.cli.plan.applying import apply, told
from server.errors import EngineError, EngineUnready
from tests.cli.plan.drafts import ASKED, BIG, PLAN, SMALL, draft
from tests.cli.unix_server import unix_server

HERE = draft(replace(PLAN, assignments=(BIG, SMALL)), here=True)
START = {"kind": "start", "name": "qwen3.5-9b:q4_k_m", "reason": "it is planned"}
STOP = {"kind": "stop", "name": "demo:f16", "reason": "it is no longer planned"}


class Running:
    """What a Holdfast is asked."""

    def __init__(self, *actions: dict[str, Any], status: int = 200) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._actions = actions
        self._status = status

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((f"{method} {path}", orjson.loads(body)))
        if self._status != 200:
            return self._status, b'{"error":{"message":"This is no plan for this machine."}}'
        return 200, orjson.dumps({"actions": self._actions})

    @property
    def routes(self) -> list[str]:
        return [route for route, _ in self.asked]


def applied(running: Running, folder: Path, *, yes: bool = False, json: bool = False) -> None:
    with unix_server(folder / "s", running.answer):
        apply(HERE, folder / "s", yes=yes, json=json)


def test_what_only_starts_needs_no_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running(START)
    applied(running, tmp_path)
    assert running.routes == ["POST /admin/plan/apply?dry_run=1", "POST /admin/plan/apply"]
    builds = [one["deployment"]["build"] for one in running.asked[1][1]["assignments"]]
    assert builds == ["qwen3.5-122b-a10b:ud-q4_k_xl", "qwen3.5-9b:q4_k_m"]
    out = capsys.readouterr().out
    assert "start qwen3.5-9b:q4_k_m  it is planned" in out
    assert "`holdfast ps`" in out


def test_yes_is_an_answer(tmp_path: Path) -> None:
    running = Running(STOP, START)
    applied(running, tmp_path, yes=True)
    assert running.routes[-1] == "POST /admin/plan/apply"


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    applied(Running(START), tmp_path, json=True)
    assert orjson.loads(capsys.readouterr().out) == {"actions": [START]}


def test_nothing_to_do() -> None:
    assert told([]) == ["Nothing has to change: what runs is what is planned."]


def test_a_refusal_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no plan for this machine"):
        applied(Running(status=400), tmp_path)


def test_what_is_not_in_the_store_cannot_run(tmp_path: Path) -> None:
    absent = draft(replace(PLAN, assignments=(SMALL, ASKED)), here=True)
    with pytest.raises(EngineUnready, match=r"holdfast pull qwen3\.5-27b:q4_k_m"):
        apply(absent, tmp_path / "s", yes=True, json=False)


ALONE = """
import sys
from pathlib import Path
from server.cli.plan.applying import apply
from tests.cli.plan.test_applying import HERE
apply(HERE, Path(sys.argv[1]), yes=False, json=False)
"""


@pytest.mark.integration
def test_without_anybody_to_ask_nothing_is_ended(tmp_path: Path) -> None:
    running = Running(STOP, START)
    with unix_server(tmp_path / "s", running.answer):
        done = subprocess.run(
            [sys.executable, "-c", ALONE, tmp_path / "s"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
            timeout=60,
        )
    assert "ConfigError: this would end what runs" in done.stderr
    assert "Add --yes if that is meant" in done.stderr
    assert running.routes == ["POST /admin/plan/apply?dry_run=1"]


@pytest.mark.integration
@pytest.mark.parametrize(("answer", "goes_on"), [(b"y\n", True), (b"n\n", False), (b"\n", False)])
def test_a_person_is_asked(tmp_path: Path, answer: bytes, goes_on: bool) -> None:
    running = Running(STOP, START)
    ours, its = pty.openpty()
    with (
        unix_server(tmp_path / "s", running.answer),
        subprocess.Popen(
            [sys.executable, "-c", ALONE, tmp_path / "s"],
            stdin=its,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        ) as process,
    ):
        os.write(ours, answer)
        out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(its)
    assert b"stop  demo:f16" in out
    assert b"Go on?" in err
    assert ("POST /admin/plan/apply" in running.routes) is goes_on
