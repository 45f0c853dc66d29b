"""`holdfast store import`: take bags into the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.mirror.report import files, label
from server.cli.mirror.sync import Jobs
from server.cli.options import Config, Home, Json, load_settings
from server.errors import HoldfastError, StoreError

if TYPE_CHECKING:
    from server.cli.work import Work
    from server.store.bag.intake import Delivery
    from server.store.receipt import Held
    from server.store.shelf import Shelf


def import_(
    directory: Annotated[Path, typer.Argument(help="A bag, or a folder of bags.")],
    jobs: Jobs = 2,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Take in bags that `holdfast store export` wrote, every byte checked.

    A model that is spread over several media becomes visible when the last of them was taken in,
    in any order. The same command goes on with what was interrupted.

    \b
    Examples:
      holdfast store import /mnt/usb
    """
    from server import catalogue
    from server.store.bag.intake import find_bags, group_of, read_bag
    from server.store.bag.unpacking import wanted
    from server.store.copies.staging import require_space, standing
    from server.store.shelf import Shelf

    settings = load_settings(home, config)
    shelf = Shelf(settings.models)
    roots = find_bags(directory)
    deliveries = [one for root in roots for one in read_bag(root)]
    needed = sum(
        held.bytes for one in deliveries for held in wanted(standing(shelf, one.receipt), one)
    )
    if not _same_disk(directory, shelf.root):  # on the same disk files can be linked
        require_space(shelf, needed, catalogue.load(settings).store.reserve)
    taken = _take(shelf, deliveries, needed, jobs)
    if json:
        import orjson

        typer.echo(orjson.dumps(list(taken.values())))
    else:
        groups = [group for root in roots if (group := group_of(root))]
        for one in taken.values():
            typer.echo(_line(one, groups))
    if any(one.problems for one in taken.values()):
        raise typer.Exit(StoreError.exit_code)


@dataclass(slots=True)
class _Taken:
    """What became of one revision."""

    name: str
    absent: list[str] = field(default_factory=list)
    """Files that are still to come."""
    problems: list[str] = field(default_factory=list)


def _take(shelf: Shelf, deliveries: list[Delivery], needed: int, jobs: int) -> dict[str, _Taken]:
    from server.cli.work import Work
    from server.store.lock import store_lock

    taken = {label(one.receipt): _Taken(label(one.receipt)) for one in deliveries}
    try:
        with store_lock(shelf.root, "holdfast store import"), Work("import", 2 * needed) as work:
            for delivery in deliveries:
                _take_one(shelf, delivery, taken[label(delivery.receipt)], jobs, work)
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise
    return taken


def _take_one(shelf: Shelf, delivery: Delivery, taken: _Taken, jobs: int, work: Work) -> None:
    from server.store.bag.unpacking import unpack

    def on_done(held: Held | None, error: HoldfastError | None) -> None:
        if error is not None:
            path = f"{held.path}: " if held else ""
            taken.problems.append(f"{path}{error.sentence}")
            work.say(f"{taken.name}: {taken.problems[-1]}")

    try:
        gone = unpack(shelf, delivery, jobs=jobs, on_bytes=work.on_bytes, on_done=on_done)
        taken.absent = [held.path for held in gone]
    except StoreError as error:
        on_done(None, error)


def _line(one: _Taken, groups: list[str]) -> str:
    if one.problems:
        return f"{one.name}: not taken in"
    if not one.absent:
        return f"{one.name}: in the store"
    more = f" (this was {', '.join(groups)})" if groups else ""
    return f"{one.name}: {files(len(one.absent))} still to come from other media{more}"


def _same_disk(one: Path, other: Path) -> bool:
    place = next(path for path in (other, *other.parents) if path.exists())
    return one.stat().st_dev == place.stat().st_dev
