"""`holdfast route`: where a request would go, and why."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, EngineUnready

if TYPE_CHECKING:
    from server.settings import Settings

route = typer.Typer(
    help="Where a request would go, and why.", no_args_is_help=True, rich_markup_mode=None
)


def _option(about: str, metavar: str | None = None, **bounds: Any) -> Any:
    return typer.Option(help=about, metavar=metavar, show_default=False, **bounds)


Headers = Annotated[
    list[str] | None, _option("A header of the request; may be repeated.", "NAME=VALUE")
]
Task = Annotated[str | None, _option("Its task, as X-Task-Type says it.")]
KeyName = Annotated[
    str | None,
    _option(
        "The API key that asks, by name or id: its models and privacy, and where a Holdfast runs "
        "its budgets and limits.",
        "KEY",
    ),
]
Tokens = Annotated[int | None, _option("Of the prompt, in the place of the estimate.", min=1)]

_EPILOG = """\
\b
Examples:
  holdfast route explain "Refactor this function"
  holdfast route explain --model frontier --tokens 200000 "Summarize the book"
  holdfast route explain --request body.json --header x-slo-ttft-ms=500
  holdfast route explain --key laptop --model coding "Fix the bug"
  echo '{"model": "demo", "input": ["a", "b"]}' | holdfast route explain --request -
  holdfast route explain --task coding --header x-holdfast-local-only=true "Fix the bug" --json
"""


@route.callback()
def _route() -> None:
    """With one verb only, Typer would take its name away."""


@route.command(epilog=_EPILOG)
def explain(
    prompt: Annotated[
        str | None, typer.Argument(help="What the user says.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model or an alias [default: auto].", show_default=False)
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A body of /v1/chat/completions or /v1/embeddings; `-`: standard input.",
            show_default=False,
        ),
    ] = None,
    header: Headers = None,
    task: Task = None,
    key: KeyName = None,
    tokens: Tokens = None,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Show what would happen to a request: every candidate, in order, with its reason.

    Asks the Holdfast that runs for this home. Where none does, it says what would happen if one
    ran, by the plan for what is in the store. Nothing is sent anywhere. The exit code is that of
    the error where the request would be refused.
    """
    import orjson

    headers = _headers(header or ())
    if task is not None:
        headers["x-task-type"] = task
    question: dict[str, Any] = {"request": _body(prompt, model, request), "headers": headers}
    if tokens is not None:
        question["prompt_tokens"] = tokens
    settings = load_settings(home, config)
    if key is not None:
        question["key"] = _terms(settings, key)
    found = _answer(settings, question)
    if json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        for line in _folded(lines(found)):
            typer.echo(line)
    if found["error"] is not None:
        raise typer.Exit(3 if found["error"]["type"] != "invalid_request_error" else 2)


def _terms(settings: Settings, name: str) -> dict[str, Any]:
    """What the key may do, as the question tells it."""
    from dataclasses import asdict

    from server.ledger.keys import KeyBook

    held = KeyBook(settings.keys_file).find(name)
    told = {"id": held.id, "team": held.team, "local_only": held.local_only}
    return told | {"models": held.models, "limits": asdict(held.limits)}


def _folded(told: Iterator[str]) -> Iterator[str]:
    """At the width of the terminal, where it is one: what goes on is indented."""
    if not sys.stdout.isatty():
        yield from told
        return
    width = max(40, shutil.get_terminal_size().columns)
    for line in told:
        yield from textwrap.wrap(
            line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        ) or [""]


def _body(prompt: str | None, model: str | None, request: Path | None) -> dict[str, Any]:
    if request is None:
        if prompt is None:
            raise ConfigError(
                "there is no request", next_step='Say a prompt, "Like this", or name a --request'
            )
        message = {"role": "user", "content": prompt}
        return {"model": model or "auto", "messages": [message]}
    if prompt is not None:
        raise ConfigError("a prompt and --request are one too many", next_step="Leave one out")
    body = _read(request)
    return body if model is None else {**body, "model": model}


def _read(path: Path) -> dict[str, Any]:
    import orjson

    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        body = orjson.loads(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ConfigError(f"{path} is no body of a request: it holds no object")
    return body


def _headers(given: Any) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{text!r} is not NAME=VALUE", next_step="As in x-slo-ttft-ms=500")
        found[name.strip().lower()] = value.strip()
    return found


def _answer(settings: Settings, question: dict[str, Any]) -> dict[str, Any]:
    """Of the running Holdfast, else of the plan."""
    import orjson

    from server.cli import admin

    try:
        answer = admin.post(settings.admin_socket, "/admin/route/explain", question)
    except EngineUnready as error:
        if isinstance(error.__cause__, TimeoutError):
            raise
        return _planned(settings, question)
    found: dict[str, Any] = orjson.loads(answer)
    return found


def _planned(settings: Settings, question: dict[str, Any]) -> dict[str, Any]:
    import datetime

    from server import catalogue
    from server.engines.inventory import inventory
    from server.engines.served import served
    from server.engines.survey import survey
    from server.providers.secrets import Keyring
    from server.routing.absent import absent
    from server.routing.explain import explanation, read_question
    from server.routing.observe import Expected
    from server.routing.planned import Planned, expected_of, planned_candidates
    from server.store.layout import Installed

    known = catalogue.load(settings)
    asked = read_question(question)
    needs = asked.needs(known.router, datetime.datetime.now().astimezone())
    today = datetime.datetime.now(datetime.UTC).date()
    found = inventory(known, settings, survey(settings.home, ()))
    chosen = served(known, found)
    speeds = {}
    for assignment in chosen.plan.assignments if chosen.plan else ():
        speeds[assignment.option.deployment.build] = expected_of(assignment.option.speed)
    planned = []
    for berth in chosen.berths:
        model, build = known.resolve(berth.name)
        assert build is not None
        look = found.look(build)
        pictures = isinstance(look, Installed) and look.mmproj is not None
        sees = pictures and berth.deployment.vision
        expected = speeds.get(berth.name, Expected())
        planned.append(Planned(model, build, berth, sees, expected))
    keyless = Keyring().keyless(known.providers.values())
    return explanation(
        needs,
        asked.counted(tuple(planned_candidates(known, planned, keyless, needs, today))),
        known.router,
        absent=dict(absent(known, {one.berth.name: one for one in planned}, keyless)),
        planned=True,
    )


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The explanation as text: the request, what becomes of it, and each candidate."""
    yield from _request_lines(found)
    decision, error = found["decision"], found["error"]
    if decision is not None:
        yield from _decision_lines(decision)
    else:
        yield f"It would be refused: {error['message']}"
    yield ""
    others: dict[tuple[str, str], list[str]] = {}
    for one in found["candidates"]:
        if one["attempt"] is None:
            others.setdefault((one["side"], one["reason"]), []).append(one["name"])
        else:
            yield f"{one['attempt']:>2}. {one['name']} ({one['side']}): {one['reason']}"
    for (side, reason), names in others.items():
        yield f"  - {', '.join(names)} ({side}): {reason}"
    for why in dict.fromkeys(why for name, why in found["absent"].items() if "/" in name):
        yield f"  - {why}"


def _request_lines(found: Mapping[str, Any]) -> Iterator[str]:
    asked = found["request"]
    if found["planned"]:
        yield "No Holdfast runs for this home: this is what the plan would do, budgets aside."
    by = {"header": "", "body": "", "alias": ", as the alias says", "inferred": ", guessed"}
    embeds = asked["endpoint"] == "embeddings"
    task = "embeddings" if embeds else f"{asked['task']}{by[asked['task_from']]}"
    parts = [f"about {asked['prompt_tokens']} tokens", task]
    if asked["max_tokens"] is not None and not embeds:
        parts.append(f"at most {asked['max_tokens']} of answer")
    for what in ("image", "page"):
        if count := asked[f"{what}s"]:
            parts.append(f"{count} {what}{'s' if count > 1 else ''}")
    if asked["features"]:
        parts.append(f"wants {', '.join(asked['features'])}")
    yield f"{asked['model']}: {'; '.join(parts)}"


def _decision_lines(decision: Mapping[str, Any]) -> Iterator[str]:
    from server.units import format_duration

    yield f"It would go to {decision['attempts'][0]}: {decision['reason']}."
    rule = f"Policy {decision['policy']}, first token within "
    rule += format_duration(decision["slo_ttft"])
    if decision["route"]:
        rule += f", by the route {decision['route']}"
    yield rule + "."
    if decision["local_only"]:
        yield f"Nothing of it may leave this machine: {decision['private_because']}."
    if decision["load"]:
        yield f"{decision['load']} would be loaded meanwhile."
    if decision["shadow"]:
        yield f"A copy would go to {decision['shadow']}."
    if decision["hedge_after"]:
        wait = format_duration(decision["hedge_after"])
        yield f"After {wait} without a token the next would be asked as well."
