"""`holdfast store export`: the store as BagIt bags, for media that travel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.held import Names
from server.cli.mirror.report import files, label
from server.cli.mirror.sync import Jobs, chosen
from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, HoldfastError, StoreError

if TYPE_CHECKING:
    from server.store.bag.export import Bag
    from server.store.bag.packing import Item


def export(
    directory: Annotated[Path, typer.Argument(help="An empty folder, or a new one.")],
    names: Names = None,
    media_size: Annotated[
        str | None,
        typer.Option("--media-size", help="Split into bags that fit on media of this size: 64G."),
    ] = None,
    only: Annotated[
        int | None,
        typer.Option("--only", min=1, help="Write only this bag, directly into DIRECTORY."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what bags there would be.")
    ] = False,
    jobs: Jobs = 2,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Write models as BagIt bags (RFC 8493), which libraries and `bagit.py` can check.

    Files are linked where the file system can, and copied otherwise; all are read back. The same
    command goes on with what was interrupted. `holdfast store import` takes bags in again.

    \b
    Examples:
      holdfast store export /mnt/usb
      holdfast store export /mnt/spool Qwen/Qwen3.5-9B --media-size 64G
      holdfast store export /mnt/usb --media-size 64G --only 2     the second medium alone
    """
    from server.store.bag.export import plan

    originals = chosen(load_settings(home, config), names)
    bags = plan(originals, _bytes(media_size))
    if only is not None and only > len(bags):
        raise StoreError(f"there is no bag {only}", why=f"the export makes {len(bags)} of them")
    bags = bags if only is None else bags[only - 1 : only]
    whole = True
    if not dry_run:
        whole = _write(bags, [directory if only else directory / bag.name for bag in bags], jobs)
    if json:
        import orjson

        typer.echo(orjson.dumps([_as_json(bag) for bag in bags]))
    else:
        for bag in bags:
            typer.echo(_line(bag, directory if only else directory / bag.name))
    if not whole:
        raise typer.Exit(StoreError.exit_code)


def _write(bags: tuple[Bag, ...], roots: list[Path], jobs: int) -> bool:
    from server.cli.work import Work
    from server.store.bag.export import write_bag

    def on_done(item: Item, error: HoldfastError | None) -> None:
        if error is not None:
            work.say(f"{label(item.original.receipt)}: {item.held.path}: {error.sentence}")

    whole = True
    try:
        with Work("export", 2 * sum(bag.size for bag in bags)) as work:
            for bag, root in zip(bags, roots, strict=True):
                if not write_bag(bag, root, jobs=jobs, on_bytes=work.on_bytes, on_done=on_done):
                    work.say(f"{root} is not whole. The same command goes on with it.")
                    whole = False
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise
    return whole


def _bytes(text: str | None) -> int | None:
    from server.units import parse_bytes

    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise ConfigError(
            "--media-size is not a size",
            problems=(str(error),),
            next_step="Write it as 4.7GB, 25GB or 64G",
        ) from error


def _line(bag: Bag, root: Path) -> str:
    from server.units import format_bytes

    size = f"{files(len(bag.items))}, {format_bytes(bag.size)}"
    number = f"bag {bag.number} of {bag.count}: " if bag.count > 1 else ""
    return f"{number}{root}: {size}"


def _as_json(bag: Bag) -> dict[str, object]:
    return {
        "name": bag.name,
        "group": bag.group,
        "number": bag.number,
        "count": bag.count,
        "bytes": bag.size,
        "files": [item.path for item in bag.items],
    }
