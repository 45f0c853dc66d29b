"""`holdfast plan --apply`: the running Holdfast changes to the plan, after a look at what ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import typer

from server.cli import admin
from server.cli.plan.document import document
from server.cli.plan.draft import Draft
from server.errors import ConfigError, EngineUnready

_ROUTE = "/admin/plan/apply"
_ENDS = {"stop", "sleep"}


def apply(draft: Draft, socket: Path, *, yes: bool, json: bool) -> None:
    """Send the plan; what would end something is asked first, unless `yes`.

    Raises EngineUnready where no Holdfast runs, or where files or engines of the plan are missing,
    and ConfigError where nobody is there to be asked.
    """
    check(draft)
    body = document(draft)
    actions: list[dict[str, Any]] = _send(socket, f"{_ROUTE}?dry_run=1", body)
    if not json:
        for line in told(actions):
            typer.echo(line)
    if not yes and any(action["kind"] in _ENDS for action in actions):
        _ask()
    actions = _send(socket, _ROUTE, body)
    if json:
        typer.echo(orjson.dumps({"actions": actions}, option=orjson.OPT_INDENT_2))
    elif actions:
        typer.echo("It has begun; `holdfast ps` shows how far it is.")


def check(draft: Draft) -> None:
    """Raise EngineUnready where the plan could not run as it is."""
    absent = [a.option.deployment.build for a in draft.ordered if not a.option.held]
    if absent:
        raise EngineUnready(
            f"the plan cannot run yet: {' and '.join(absent)} not in the store",
            next_step=f"`holdfast pull {' '.join(absent)}` fetches what is missing, or --held "
            "plans without",
        )


def told(actions: Sequence[dict[str, Any]]) -> list[str]:
    """What will be done, in order."""
    if not actions:
        return ["Nothing has to change: what runs is what is planned."]
    width = max(len(action["name"]) for action in actions)
    return [f"{one['kind']:<6}{one['name']:<{width}}  {one['reason']}" for one in actions]


def _send(socket: Path, route: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    actions: list[dict[str, Any]] = orjson.loads(admin.post(socket, route, body))["actions"]
    return actions


def _ask() -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            "this would end what runs, and nobody is there to be asked",
            next_step="Add --yes if that is meant",
        )
    typer.confirm("Requests that are under way finish first. Go on?", abort=True, err=True)
