from __future__ import annotations

from typing import Any

import pytest

from server.cli.ps import state, table

MIB = 1024**2
ENGINE: dict[str, Any] = {
    "name": "qwen3.5-9b:q4_k_m", "state": "ready", "progress": None, "waits_for": None,
    "pinned": False, "devices": ["ram"], "pid": 4242, "running": 1, "slots": 4, "waiting": 2,
    "context": 8192, "predicted": {"ram": 70 * MIB}, "actual": {"ram": 72 * MIB}, "decode": 31.26,
    "seconds": 90.0, "restarts": 0, "steps_down": [], "last_error": None,
    "left_alone": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "ready"),
        ({"pinned": True}, "ready (pinned)"),
        ({"state": "starting", "progress": 0.4}, "starting 40%"),
        ({"state": "stopped", "waits_for": "room: a to finish"}, "waits"),
        ({"state": "starting", "progress": 0.4, "waits_for": "room"}, "starting 40%"),
    ],
)
def test_states_in_words(changes: dict[str, Any], words: str) -> None:
    assert state(ENGINE | changes) == words


def test_the_table() -> None:
    other = ENGINE | {
        "name": "b", "state": "failed", "devices": ["GPU-1", "GPU-2"], "pid": None, "actual": None,
        "decode": None, "last_error": "it ended.", "steps_down": ["2 slots instead of 4 slots"],
        "waits_for": "room", "left_alone": "it failed 5 times in a row",
    }  # fmt: skip
    assert table([ENGINE, other]) == [
        "MODEL              STATE  WHERE         PID   SLOTS  QUEUE  CONTEXT  PREDICTED  ACTUAL    "
        "TOK/S  FOR     RESTARTS",
        "qwen3.5-9b:q4_k_m  ready  RAM           4242  1/4    2      8192     70.0 MiB   72.0 MiB  "
        "31.3   1m 30s  0",
        "b                  waits  GPU-1, GPU-2  -     1/4    2      8192     70.0 MiB   -         "
        "-      1m 30s  0",
        "b waits for room",
        "b had too little memory and runs with 2 slots instead of 4 slots",
        "b: it failed 5 times in a row",
        "b: it ended.",
    ]
