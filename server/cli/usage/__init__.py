"""`holdfast usage`: what was asked, spent and saved, and what left."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.cli.usage.egress import egress
from server.cli.usage.renew import renew
from server.cli.usage.verify_egress import verify_egress
from server.errors import ConfigError

if TYPE_CHECKING:
    from server.ledger.statement import Grouping

usage = typer.Typer(
    help="Show what was asked, spent and saved against the cloud, and what left this machine.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@usage.callback()
def show(
    context: typer.Context,
    by: Annotated[
        str,
        typer.Option(help="A line for each day, key, model, route, team or provider."),
    ] = "day",
    since: Annotated[
        datetime.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], metavar="DATE", help="First day [default: of this month]."
        ),
    ] = None,
    until: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Last day [default: today]."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Show what was asked, spent and saved against the cloud, by day or otherwise.

    Days are those of UTC, on which budgets begin anew. SAVED is what the cheapest cloud that could
    have answered would have cost more. The ledger is read as it is: no server has to run, and one
    that runs is not disturbed.

    \b
    Examples:
      holdfast usage
      holdfast usage --by key --since 2026-11-01
      holdfast usage --by model --csv > november.csv
    """
    if context.invoked_subcommand is not None:
        return
    from server.cli.usage import report
    from server.ledger.keys import KeyBook
    from server.ledger.statement import statement

    if csv and json:
        raise ConfigError("--csv and --json are one too many", next_step="Leave one out")
    grouping = _grouping(by)
    settings = load_settings(home, config)
    today = datetime.datetime.now(datetime.UTC).date()
    first = since.date() if since else today.replace(day=1)
    last = until.date() if until else max(today, first)
    if first > last:
        raise ConfigError(
            f"--since {first} is later than --until {last}", next_step="Exchange the two"
        )
    found = statement(settings.ledger, grouping, first, last)
    names = {key.id: key.name for key in KeyBook(settings.keys_file).all()} if by == "key" else {}
    if json:
        typer.echo(report.as_json(found, first, last, names))
    elif csv:
        typer.echo(report.as_csv(found, names), nl=False)
    else:
        for line in report.table(found, first, last, names):
            typer.echo(line)


def _grouping(by: str) -> Grouping:
    from server.ledger.statement import GROUPINGS

    found = next((one for one in GROUPINGS if one == by), None)
    if found is None:
        raise ConfigError(
            f"--by {by!r} is not known", next_step=f"Choose one of {', '.join(GROUPINGS)}"
        )
    return found


usage.command("verify-egress")(verify_egress)
usage.command("egress")(egress)
usage.command("renew")(renew)
