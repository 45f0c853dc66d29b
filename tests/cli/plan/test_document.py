"""The plan as JSON."""

from __future__ import annotations

import orjson

from server.cli.plan.document import document
from server.planning.deployment import Deployment
from tests.cli.plan.drafts import PLAN, SMALL, draft


def test_it_holds_all_and_is_json() -> None:
    data = orjson.loads(orjson.dumps(document(draft())))
    assert data["schema"] == 1
    assert data["subject"] == "2x4090+256G"
    assert [device["id"] for device in data["devices"]] == ["GPU-0", "GPU-1", "ram"]
    assert len(data["assignments"]) == 4
    assert len(data["rejections"]) == len(PLAN.rejections)
    assert data["left_out"] == ["qwen3.5-397b-a17b"]
    assert data["proven"] is True
    assert data["commands"][0]["environment"] == {"CUDA_VISIBLE_DEVICES": "GPU-0"}
    assert data["remedies"][0]["more"] == {"GPU-1": 8 * 2**30}


def test_deployments_can_be_read_back() -> None:
    data = orjson.loads(orjson.dumps(document(draft())))
    made = [Deployment.from_dict(one["deployment"]) for one in data["assignments"]]
    assert SMALL.option.deployment in made
