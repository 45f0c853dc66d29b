"""`holdfast store import`: take bags into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.mirror.report import files, label
from server.cli.mirror.sync import Jobs
from server.cli.options import Config, Home, Json, load_settings
from server.errors import HoldfastError, StoreError

if TYPE_CHECKING:
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
    absent, failed = _take(shelf, deliveries, needed, jobs)
    results = {label(one.receipt): absent[label(one.receipt)] for one in deliveries}
    if json:
        import orjson

        typer.echo(orjson.dumps([{"name": name, "absent": gone} for name, gone in results.items()]))
    else:
        for name, gone in results.items():
            typer.echo(_line(name, gone, [group for root in roots if (group := group_of(root))]))
    if failed:
        raise typer.Exit(StoreError.exit_code)


def _take(
    shelf: Shelf, deliveries: list[Delivery], needed: int, jobs: int
) -> tuple[dict[str, list[str]], bool]:
    """By revision the files that are still to come, and whether anything failed."""
    from server.cli.work import Work
    from server.store.bag.unpacking import unpack
    from server.store.lock import store_lock

    absent: dict[str, list[str]] = {}
    failed = False
    with store_lock(shelf.root, "holdfast store import"), Work("import", 2 * needed) as work:
        for delivery in deliveries:
            name = label(delivery.receipt)

            def on_done(held: Held, error: HoldfastError | None, name: str = name) -> None:
                nonlocal failed
                if error is not None:
                    failed = True
                    work.say(f"{name}: {held.path}: {error.sentence}")

            gone = unpack(shelf, delivery, jobs=jobs, on_bytes=work.on_bytes, on_done=on_done)
            absent[name] = [held.path for held in gone]
    return absent, failed


def _line(name: str, absent: list[str], groups: list[str]) -> str:
    if not absent:
        return f"{name}: in the store"
    more = f" (this was {', '.join(groups)})" if groups else ""
    return f"{name}: {files(len(absent))} still to come from other media{more}"


def _same_disk(one: Path, other: Path) -> bool:
    place = next(path for path in (other, *other.parents) if path.exists())
    return one.stat().st_dev == place.stat().st_dev
