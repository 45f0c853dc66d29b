"""`holdfast store rm`: remove what the store holds, but not the last good copy of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, load_settings
from server.errors import HoldfastError, StoreError
from server.units import format_bytes

if TYPE_CHECKING:
    from server.store.choice import Choice
    from server.store.receipt import Held
    from server.store.spare import Witness


def rm(
    names: Annotated[
        list[str],
        typer.Argument(help="Repositories (org/name, org/name@revision), models, or model:build."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even if no other good copy is known.")
    ] = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Remove what the store holds. Asks first.

    The last good copy is never removed without --force: every file must lie in one of the places
    of [store] copies, proven by reading it back in the last 30 days or now, or in another revision.

    \b
    Examples:
      holdfast store rm qwen3.5-9b:q8_0
      holdfast store rm Qwen/Qwen3.5-9B@c2022362 --yes
      holdfast store rm qwen3.5-0.8b --force
    """
    from server import catalogue
    from server.store.choice import choose
    from server.store.lock import store_lock
    from server.store.shelf import Shelf

    settings = load_settings(home, config)
    known = catalogue.load(settings)
    shelf = Shelf(settings.models)
    # Held from the first look on: what is found to exist twice must still do so at the end.
    with store_lock(settings.models, "holdfast store rm"):
        chosen = list(dict.fromkeys(one for name in names for one in choose(name, shelf, known)))
        told = [describe(choice) for choice in chosen]
        for line in told:
            typer.echo(f"to remove: {line}", err=True)
        if not force:
            leaving = {path for choice in chosen for _, path in _going(choice)}
            for choice in chosen:
                _require_another(choice, shelf.by_sha256(leaving), known.store.copies)
        if not yes:
            _ask()
        for choice, line in zip(chosen, told, strict=True):
            shelf.remove(choice.volume, choice.paths)
            typer.echo(f"removed {line}")


def describe(choice: Choice) -> str:
    """What is to go, with its size."""
    from server.store.usage import usage

    if choice.paths is None:
        size = usage(choice.volume.folder)
        return f"{choice.volume.name}: {_files(size.files)}, {format_bytes(size.bytes)}"
    going = [held for held, _ in _going(choice)]
    names = ", ".join(held.path for held in going[:3]) + (", ..." if len(going) > 3 else "")
    return f"{names} of {choice.volume.name}: {format_bytes(sum(held.bytes for held in going))}"


def _going(choice: Choice) -> list[tuple[Held, Path]]:
    """The files of the receipt that are to go, and where they lie."""
    files = choice.volume.receipt.files if choice.volume.receipt else ()
    return [
        (held, choice.volume.folder / held.path)
        for held in files
        if choice.paths is None or held.path in choice.paths
    ]


def _require_another(choice: Choice, others: Mapping[str, Path], copies: Sequence[str]) -> None:
    """Raises StoreError if this is the last good copy of some of the files."""
    from server.store.spare import last

    volume = choice.volume
    if volume.receipt is None:
        raise StoreError(
            f"{volume.name} may be the last copy",
            why=volume.problem or "it has no receipt, so nothing can be compared with it",
            next_step="Give --force to remove it all the same",
        )
    if lost := last((held for held, _ in _going(choice)), _proven(choice, others, copies)):
        where = "none of the copies has them" if copies else "there are no copies"
        raise StoreError(
            f"this is the last good copy of {volume.name}: {_files(len(lost))}, "
            f"{format_bytes(sum(held.bytes for held in lost))}",
            why=f"{where} ([store] copies)",
            next_step="Make one with `holdfast mirror sync`, or remove it with --force",
        )


def _proven(choice: Choice, others: Mapping[str, Path], copies: Sequence[str]) -> frozenset[str]:
    """The sha256 of what is to go and is proven to exist elsewhere."""
    from server.cli.work import Work
    from server.store.spare import kept_here, last, proven

    going = _going(choice)
    here = [held for held, _ in going if held.sha256 in others]
    witnesses = _witnesses(choice, last((held for held, _ in going), frozenset(others)), copies)
    unread = [held for one in witnesses if not one.fresh for held in one.files]
    total = sum(held.bytes for held in [*here, *unread])
    with Work(f"reading what remains of {choice.volume.name}", total) as work:
        good = kept_here(going, others, work.on_bytes)
        for one in witnesses:
            good |= proven(one, work.on_bytes, work.say)
    return good


def _witnesses(choice: Choice, going: Sequence[Held], addresses: Sequence[str]) -> list[Witness]:
    from server.store.copies.copy import open_copy
    from server.store.receipt import now
    from server.store.spare import witness

    found = []
    for address in addresses:
        try:
            copy = open_copy(address)
            there = copy.inventory()
        except HoldfastError as error:
            typer.echo(error.sentence, err=True)
            continue
        assert choice.volume.receipt is not None
        if one := witness(copy, there, choice.volume.receipt, going, now()):
            found.append(one)
    return found


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _ask() -> None:
    if not sys.stdin.isatty():
        raise StoreError("nothing was removed: nobody can be asked", next_step="Give --yes as well")
    try:
        sure = typer.confirm("Remove this?")
    except typer.Abort:
        raise KeyboardInterrupt from None
    if not sure:
        typer.echo("Nothing was removed.", err=True)
        raise typer.Exit
