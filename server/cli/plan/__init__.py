"""`holdfast plan`: what would run where, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError

if TYPE_CHECKING:
    from server.catalogue import Catalogue
    from server.cli.plan.draft import Draft
    from server.planning.demand import Demand
    from server.settings import Settings

Hardware = Annotated[
    str | None,
    typer.Option(
        "--hardware",
        metavar="TEXT",
        help="Plan for other hardware: 1x4090+64G, 8xH100-80G+2T, cpu+16G, unified+128G, or the "
        "file that `holdfast doctor --json` wrote on another machine.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        metavar="NAME[,NAME]",
        help="What to serve, model or model:build [default: [serve] models].",
        show_default=False,
    ),
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="TOKENS", help="Of each slot: 32768 or 32K."),
]
Slots = Annotated[int | None, typer.Option(min=1, max=256, help="Requests at a time, of each.")]
Pin = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="NAME[,NAME]", help="To be resident always.", show_default=False),
]
AllBuilds = Annotated[
    bool | None,
    typer.Option(
        "--all-builds/--held",
        help="All builds of the catalogue, or those in the store only "
        "[default: --held; with --hardware --all-builds].",
        show_default=False,
    ),
]
Explain = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Every way to run one model, and why each lost."),
]
Accuracy = Annotated[
    bool,
    typer.Option("--accuracy", help="What was predicted beside what engines took, so far."),
]
Apply = Annotated[
    bool, typer.Option("--apply", help="Have the running Holdfast change to this plan.")
]
Yes = Annotated[bool, typer.Option("--yes", help="With --apply: do not ask before ending engines.")]
Commands = Annotated[bool, typer.Option("--commands", help="With the engines' command lines.")]


def plan(
    hardware: Hardware = None,
    models: Models = None,
    context: Context = None,
    slots: Slots = None,
    pin: Pin = None,
    all_builds: AllBuilds = None,
    explain: Explain = None,
    commands: Commands = False,
    accuracy: Accuracy = False,
    apply: Apply = False,
    yes: Yes = False,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Show what would run where, how fast, what binds, and what would help.

    Nothing is started, unless with --apply. Each model gets a build, an engine, devices, context
    and slots, so that all together is the best for what [serve] asks; bytes and speeds are
    predicted. The exit code is 2 for hardware or names that are not understood, 3 if something
    that must be served does not fit or has no engine, and 4 if it is not in the store.

    \b
    Examples:
      holdfast plan                                what is in the store, on this machine
      holdfast plan --all-builds                   with what could be pulled
      holdfast plan --hardware 2x4090+256G         on hardware that is not here
      holdfast plan --hardware box.json            on that of another machine
      holdfast plan --models qwen3.5-27b,qwen3.5-9b --pin qwen3.5-9b --context 64K
      holdfast plan --explain qwen3.5-27b          every way to run it, and why each lost
      holdfast plan --apply                        has the running Holdfast do it
      holdfast plan --accuracy                     predicted against actual, so far
    """
    from server import catalogue
    from server.cli.plan.asked import Asked, names, tokens, wanted

    settings = load_settings(home, config)
    if accuracy:
        _accuracy(settings, json=json)
        return
    if apply and hardware is not None:
        raise ConfigError("--apply is for this machine", next_step="Leave --hardware out")
    known = catalogue.load(settings)
    asked = Asked(
        models=names(models or ()),
        context=None if context is None else tokens(context),
        slots=slots,
        pins=names(pin or ()),
    )
    demand = wanted(known, asked)
    model = _one_of(known, demand, explain)
    whole = hardware is not None if all_builds is None else all_builds
    again = _again(hardware, models, context, slots, pin, home, config)
    draft = _draft(known, settings, demand, hardware, again, held_only=not whole)
    if apply:
        from server.cli.plan import applying

        applying.apply(draft, settings.admin_socket, yes=yes, json=json)
    else:
        _show(draft, model, commands=commands, json=json)


def _one_of(known: Catalogue, demand: Demand, name: str | None) -> str | None:
    """The id of the model that is to be explained."""
    if name is None:
        return None
    model = known.resolve(name)[0].id
    if all(wish.model != model for wish in demand.wishes):
        raise ConfigError(
            f"{model} is not among what is to be served", next_step="Add it to --models"
        )
    return model


def _again(
    hardware: str | None,
    models: list[str] | None,
    context: str | None,
    slots: int | None,
    pin: list[str] | None,
    home: Path | None,
    config: list[Path] | None,
) -> str:
    """The command with those of its flags that change the plan."""
    import shlex

    words = ["holdfast", "plan"]
    for flag, values in (
        ("--hardware", [hardware]),
        ("--models", models),
        ("--context", [context]),
        ("--slots", [slots]),
        ("--pin", pin),
        ("--home", [home]),
        ("--config", config),
    ):
        words += (str(w) for value in values or () if value is not None for w in (flag, value))
    return shlex.join(words)


def _draft(
    known: Catalogue,
    settings: Settings,
    demand: Demand,
    hardware: str | None,
    command: str,
    *,
    held_only: bool,
) -> Draft:
    from server.cli.plan import drafting as d

    if hardware is None:
        found, running = d.here(known, settings)
        return d.drafted_here(
            known, settings, demand, found, running=running, command=command, held_only=held_only
        )
    found = d.elsewhere(known, settings, hardware)
    return d.drafted(
        known, settings, demand, found, subject=hardware, command=command, held_only=held_only
    )


def _show(draft: Draft, model: str | None, *, commands: bool, json: bool) -> None:
    from server.cli.plan.document import document, explanation
    from server.cli.plan.drafting import explained
    from server.cli.plan.explain import explain
    from server.cli.plan.report import report
    from server.cli.plan.screen import Screen

    if model is None:
        draft = explained(draft)
    if json:
        import orjson

        data = document(draft) if model is None else explanation(draft, model)
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        return
    screen = Screen.stdout()
    if model is None:
        lines = report(draft, screen, commands=commands)
    else:
        lines = explain(draft, model, screen)
    typer.echo(screen.render(lines), color=screen.colour)


def _accuracy(settings: Settings, *, json: bool) -> None:
    from server.cli.plan.accuracy import accuracy, document
    from server.cli.plan.screen import Screen
    from server.engines.observations import Observations
    from server.engines.speeds import read_speeds

    observations, measured = Observations(settings.home).read(), read_speeds(settings.home)
    if json:
        import orjson

        data = document(observations, measured)
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        return
    screen = Screen.stdout()
    typer.echo(screen.render(accuracy(observations, measured, screen)), color=screen.colour)
