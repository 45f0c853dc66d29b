"""The family planned for the real card, as if all of its builds were held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.units import format_bytes
from tests.gpu.conftest import Bench
from tests.integration.running import run

pytestmark = pytest.mark.gpu


async def test_a_plan_for_this_machine(bench: Bench, tmp_path: Path) -> None:
    box = tmp_path / "box.json"
    box.write_text(run("doctor", "--json", home=tmp_path).stdout)
    done = run("plan", "--hardware", str(box), "--json", home=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    devices = {device["id"]: device for device in plan["devices"]}
    assert {gpu.uuid for gpu in bench.machine.gpus} <= {
        *devices, *(one["id"] for one in plan["devices_left_out"]),
    }  # fmt: skip
    assert plan["assignments"], plan["rejections"]
    taken = dict.fromkeys(devices, 0)
    bench.tell(f"\nplan for {plan['subject']}: {', '.join(d['name'] for d in devices.values())}")
    for one in plan["assignments"]:
        deployment = one["deployment"]
        for device, sizes in one["bytes"].items():
            if one["residency"] == "resident":
                taken[device] += sum(sizes.values())
        bench.tell(f"  {deployment['build']}: {one['residency']}, {one['bytes']}")
    for name, size in taken.items():
        bench.tell(f"  {name}: {format_bytes(size)} of {format_bytes(devices[name]['memory'])}")
        assert size <= devices[name]["memory"]
    if bench.machine.gpus:
        assert any(gpu.uuid in taken and taken[gpu.uuid] for gpu in bench.machine.gpus)
