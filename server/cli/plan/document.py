"""A plan as JSON: sizes in bytes, rates in tokens per second."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import server
from server.cli.plan.draft import Draft
from server.planning.plan import Option

SCHEMA = 1


def document(draft: Draft) -> dict[str, Any]:
    """All of the plan, every rejection and every command included; what --apply sends."""
    rig, plan = draft.rig, draft.plan.to_dict()
    for one in plan["assignments"]:
        deployment = one["deployment"]
        one["preload"] = bool(draft.preload & {deployment["model"], deployment["build"]})
    return {
        "schema": SCHEMA,
        "holdfast": server.__version__,
        "subject": draft.subject,
        "here": draft.here,
        "devices": [asdict(device) for device in (*rig.gpus, rig.ram)],
        "devices_left_out": list(rig.left_out),
        "demand": asdict(draft.demand),
        **plan,
        "commands": [
            {"build": one.build, "environment": dict(one.environment), "argv": list(one.argv)}
            for one in draft.commands
        ],
        "left_out": list(draft.left_out),
        "not_in_store": sorted(draft.unheld),
        "next_steps": [asdict(step) for step in draft.steps],
    }


def explanation(draft: Draft, model: str) -> dict[str, Any]:
    """What concerns one model: its place in the plan, every option, every rejection."""
    whole = document(draft)
    return {key: whole[key] for key in ("schema", "holdfast", "subject", "here", "devices")} | {
        "model": model,
        "assignment": next(
            (a for a in whole["assignments"] if a["deployment"]["model"] == model), None
        ),
        "options": [_option(o) for o in draft.options if o.deployment.model == model],
        "rejections": [
            one
            for one in whole["rejections"]
            if one["name"].partition(" ")[0].partition(":")[0] == model
        ],
        "commands": [one for one in whole["commands"] if one["build"].startswith(f"{model}:")],
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "deployment": option.deployment.to_dict(),
        "bytes": option.footprint.to_dict(),
        "speed": asdict(option.speed),
        "load_seconds": option.load_seconds,
        "held": option.held,
        "size_estimated": option.estimated,
    }
