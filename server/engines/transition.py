"""From what runs to what is planned: all actions in their order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from server.engines.decision import Action, decide
from server.engines.occupant import Memory, Occupant


def transition(occupants: Sequence[Occupant], capacity: Memory) -> tuple[Action, ...]:
    """Every action, in order, until nothing is left to do with `capacity` bytes by pool.

    What runs is taken to finish, and each action to succeed at once.
    """
    done: list[Action] = []
    world = tuple(_finished(one) for one in occupants)
    for _ in range(4 * len(occupants) + 4):
        decision = decide(world, capacity)
        if not decision.actions:
            break
        done += decision.actions
        world = tuple(after(one, decision.actions) for one in world)
        world = tuple(settled(one) for one in world if not (one.leaving and one.phase == "off"))
    return tuple(done)


def after(one: Occupant, actions: Iterable[Action]) -> Occupant:
    """`one` once those of `actions` that concern it have begun."""
    begun = {"start": "starting", "wake": "starting", "stop": "stopping", "sleep": "dozing"}
    for action in actions:
        if (action.name, action.leaving) == (one.name, one.leaving):
            one = replace(one, phase=begun[action.kind])  # type: ignore[arg-type]
            if action.kind == "stop":
                one = replace(one, wanted=stays_wanted(one, action))
    return one


def stays_wanted(one: Occupant, stop: Action) -> bool:
    """Whether it is to come back by itself after `stop`, once there is room."""
    return one.resident and stop.evicts


def settled(one: Occupant) -> Occupant:
    """`one` when what it is doing has succeeded."""
    if one.phase == "starting":
        return replace(one, phase="ready", waiting=0, urgent=False, served=0.0, idle=0.0)
    if one.phase == "dozing":
        return replace(one, phase="asleep")
    if one.phase == "stopping":
        return replace(one, phase="off", draining=False, unload=False)
    return one


def _finished(one: Occupant) -> Occupant:
    waiting = 0 if one.phase == "ready" else one.waiting
    return settled(replace(one, running=0, waiting=waiting, pause=None))
