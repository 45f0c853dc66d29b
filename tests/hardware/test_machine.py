"""A machine travels as JSON to another box and comes back the same."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from server.errors import ConfigError
from server.hardware import Machine

Probed = Callable[..., Machine]


def test_round_trip(
    probed: Probed, two_4090s: dict[str, object], make_gpu: Callable[..., dict[str, object]]
) -> None:
    mig = {"mig": 1, "mig__0__uuid": "MIG-0", "mig__0__memory": "5 4 0"}
    machine = probed({**two_4090s, **make_gpu(2, **mig), "3.handle": 15})
    assert len(machine.gpus) == 3
    assert machine.gpus[2].mig_instances
    assert machine.lost_gpus
    assert machine.links
    assert machine.findings
    assert Machine.from_json(machine.to_json()) == machine


def test_a_whole_doctor_document_and_unknown_keys(
    probed: Probed, two_4090s: dict[str, object]
) -> None:
    machine = probed(two_4090s)
    document = {"schema": 1, "machine": machine.to_dict() | {"from a later version": 1}}
    assert Machine.from_json(json.dumps(document)) == machine


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not the JSON of a machine"),
        ("{", "not the JSON of a machine"),
        ("[]", "does not describe a machine"),
        ("{}", "memory: Field required"),
        ("null", "does not describe a machine"),
    ],
)
def test_what_is_no_machine(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Machine.from_json(text)
    assert told in str(raised.value)
    assert "holdfast doctor --json" in str(raised.value)


def test_every_bad_key_is_named(probed: Probed, two_4090s: dict[str, object]) -> None:
    data = probed(two_4090s).to_dict()
    data["gpus"][1]["memory_total"] = "plenty"
    del data["cpu"]["model"]
    with pytest.raises(ConfigError) as raised:
        Machine.from_json(json.dumps(data))
    problems = raised.value.problems
    assert len(problems) == 2
    assert any(problem.startswith("gpus.1.memory_total: ") for problem in problems)
    assert any(problem.startswith("cpu.model: ") for problem in problems)
