"""A plan as `holdfast plan` sent it, read back as berths. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.engines.berth import Berth, asleep_first
from server.engines.occupant import Memory
from server.errors import RequestError
from server.planning.deployment import Deployment
from server.planning.rig import Rig


def planned_berths(values: Mapping[str, Any], rig: Rig) -> tuple[Berth, ...]:
    """The assignments of `Plan.to_dict()`, for the devices of `rig`.

    Raises RequestError for what cannot be a plan, and for devices that are not on this machine.
    """
    assignments = values.get("assignments")
    if not isinstance(assignments, list):
        raise _no_plan("it has no list of assignments")
    found = [_berth(one, number, rig) for number, one in enumerate(assignments)]
    names = [berth.name for berth in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise _no_plan(f"{' and '.join(sorted(twice))} is assigned more than once")
    return asleep_first(found)


def _berth(one: Any, number: int, rig: Rig) -> Berth:
    try:
        deployment = Deployment.from_dict(one["deployment"])
        return Berth(
            name=deployment.build,
            deployment=deployment,
            needs=_by_pool(one["bytes"], rig),
            residency=_one_of(one["residency"], ("resident", "asleep", "on demand")),
            asleep=_by_pool(one["bytes_asleep"], rig) if one.get("bytes_asleep") else None,
            pin=bool(one.get("pin", False)),
            ttl=None if one.get("ttl") is None else float(one["ttl"]),
            preload=bool(one.get("preload", False)),
            weight=float(one.get("weight", 1.0)),
            load_seconds=float(one.get("load_seconds", 1.0)),
            least_context=int(one.get("least", {}).get("context", deployment.context)),
            least_slots=int(one.get("least", {}).get("slots", 1)),
        )
    except KeyError as error:
        raise _no_plan(f"assignments[{number}] has no {error}, or this machine has not") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_plan(f"assignments[{number}]: {error}") from error


def _by_pool(devices: Mapping[str, Mapping[str, int]], rig: Rig) -> Memory:
    found: dict[str, int] = {}
    for device, components in devices.items():
        pool = rig.device(device).pool
        found[pool] = found.get(pool, 0) + sum(map(int, components.values()))
    return found


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
    return value


def _no_plan(why: str) -> RequestError:
    return RequestError(
        "this is no plan for this machine",
        why=why,
        next_step="Send what `holdfast plan --json` prints on it",
    )
