"""`holdfast store adopt`: take over what other tools have fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, HubError, StoreError

if TYPE_CHECKING:
    from server.catalogue import Catalogue
    from server.settings import Settings
    from server.store.adopt import Adopted, Expected
    from server.store.finds import Finds
    from server.store.shelf import Shelf

INCOMPLETE = 4  # as StoreError's exit code


def adopt(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A Hugging Face cache, a folder of `hf download --local-dir`, or any folder with "
            "a model's files [default: the cache of huggingface_hub].",
            show_default=False,
        ),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option("--as", help="The repository: which one of a cache, or what a folder is."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Its commit, 40 hexadecimal digits.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Take files, too, of which nothing says what they must be."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be taken.")] = False,
    json: Json = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Take models into the store that other tools have fetched, without copying where possible.

    Every file is read and held against the catalogue, else the digest that the cache or the folder
    has for it, else the hub's. Nothing is taken away: files are linked where the file system
    allows, so that they fill the disk once, and copied where not.

    \b
    Examples:
      holdfast store adopt
      holdfast store adopt --as Qwen/Qwen3.5-9B --dry-run
      holdfast store adopt ~/models/qwen --as Qwen/Qwen3.5-9B
    """
    from server import catalogue
    from server.store.finds import look
    from server.store.lock import store_lock
    from server.store.shelf import Shelf

    settings = load_settings(home, config)
    known = catalogue.load(settings)
    shelf = Shelf(settings.models)
    folder = (path or _cache()).expanduser().resolve()
    if (inside := _on_shelf(folder, shelf)) is not None:
        repository, revision = inside
    _check(repository, revision)
    found = look(folder, repository, revision)
    plans = [(finds, _expectations(finds, known, settings)) for finds in found]
    if dry_run:
        _preview(plans, trust, json)
        return
    with store_lock(settings.models, "holdfast store adopt"):
        results = [_adopt(*plan, shelf, known, trust) for plan in plans]
    _tell(list(zip(found, results, strict=True)), json)
    if any(isinstance(one, StoreError) or one.damaged or one.unproven for one in results):
        raise typer.Exit(INCOMPLETE)


def _tell(outcome: Sequence[tuple[Finds, Adopted | StoreError]], json: bool) -> None:
    if json:
        import orjson

        typer.echo(orjson.dumps([_fields(*pair) for pair in outcome]))
        return
    for pair in outcome:
        typer.echo("\n".join(report(*pair)))


def report(finds: Finds, result: Adopted | StoreError) -> list[str]:
    """What became of one revision: a line, and one for each file that was not taken."""
    name = f"{finds.repository}@{finds.revision[:12]}"
    if isinstance(result, StoreError):
        return [f"{name}: {result.sentence}"]
    ways = {
        how: sum(1 for made in result.files.values() if made == how)
        for how in ("reflink", "hardlink", "copy")
    }
    told = {"reflink": "sharing blocks", "hardlink": "hard-linked", "copy": "copied"}
    how = ", ".join(f"{count} {told[way]}" for way, count in ways.items() if count)
    line = f"{name}: {len(result.files)} files adopted" + (f" ({how})" if how else "")
    if result.held:
        line += f", {len(result.held)} held already"
    return [
        line,
        *(f"  left out {path}: {why}" for path, why in finds.refused.items()),
        *(f"  left out {path}: damaged: {why}" for path, why in result.damaged.items()),
        *(
            f"  left out {path}: nothing says what it must be (--trust takes it as it is)"
            for path in result.unproven
        ),
    ]


def _adopt(
    finds: Finds,
    expected: Sequence[Expected],
    shelf: Shelf,
    catalogue: Catalogue,
    trust: bool,
) -> Adopted | StoreError:
    """The result; what is wrong with one revision does not keep the others out."""
    from server.cli.work import Work
    from server.store.adopt import adopt, licence_of

    total = sum(one.find.file.stat().st_size for one in expected if one.find.file.exists())
    try:
        with Work(f"reading {finds.repository}", total) as work:
            return adopt(
                finds,
                expected,
                shelf,
                licence=licence_of(catalogue, finds.repository),
                trust=trust,
                on_bytes=work.on_bytes,
            )
    except StoreError as error:
        return error
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise


def _expectations(finds: Finds, catalogue: Catalogue, settings: Settings) -> tuple[Expected, ...]:
    """What each file must be; the hub is asked only where nothing here says it."""
    from server.store.adopt import expectations, known_files
    from server.store.hub import ENDPOINT, Hub

    known = known_files(catalogue, finds.repository, finds.revision)
    expected = expectations(finds, [known])
    if all(one.is_proven for one in expected) or settings.offline:
        return expected
    endpoint = settings.hub_endpoint or catalogue.store.hub or ENDPOINT
    hub = Hub(endpoint, settings.hub_token, attempts=2)
    try:
        listing = hub.listing(finds.repository, finds.revision)
    except HubError as error:
        typer.echo(f"The hub was asked in vain: {error.sentence}", err=True)
        return expected
    return expectations(finds, [known, {file.path: file for file in listing.files}])


def _preview(plans: Sequence[tuple[Finds, Sequence[Expected]]], trust: bool, json: bool) -> None:
    from server.units import format_bytes

    rows = []
    for finds, expected in plans:
        taken = [one for one in expected if one.is_proven or trust]
        row: dict[str, Any] = {
            "repository": finds.repository,
            "revision": finds.revision,
            "from": str(finds.origin),
            "take": [one.find.path for one in taken],
            "bytes": sum(one.find.file.stat().st_size for one in taken),
            "unproven": [one.find.path for one in expected if one not in taken],
            "refused": dict(finds.refused),
        }
        rows.append(row)
    if json:
        import orjson

        typer.echo(orjson.dumps(rows))
        return
    for row in rows:
        size = format_bytes(row["bytes"])
        typer.echo(f"{row['repository']}@{row['revision'][:12]}: {len(row['take'])} files, {size}")
        for path, why in row["refused"].items():
            typer.echo(f"  would leave out {path}: {why}")
        for path in row["unproven"]:
            typer.echo(f"  would leave out {path}: nothing says what it must be")


def _fields(finds: Finds, result: Adopted | StoreError) -> dict[str, object]:
    if isinstance(result, StoreError):
        return {
            "repository": finds.repository,
            "revision": finds.revision,
            "error": result.sentence,
        }
    fields = asdict(result)
    fields["adopted"] = fields.pop("files")
    del fields["receipt"]
    return {**fields, "refused": dict(finds.refused)}


def _cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    if not cache.is_dir():
        raise StoreError(
            f"there is no Hugging Face cache at {cache}",
            next_step="Name a folder: holdfast store adopt DIR --as org/name",
        )
    return cache


def _on_shelf(folder: Path, shelf: Shelf) -> tuple[str, str] | None:
    """Repository and revision of a folder that lies in the store itself, without a receipt yet."""
    from server.store.receipt import REVISION

    root = shelf.root.resolve()
    if root not in folder.parents:
        return None
    parts = folder.relative_to(root).parts
    if len(parts) != 3 or parts[0].startswith(".") or not REVISION.fullmatch(parts[2]):
        raise StoreError(
            f"{folder} lies in the store and is no revision's folder",
            next_step="Name <home>/models/org/name/revision",
        )
    return f"{parts[0]}/{parts[1]}", parts[2]


def _check(repository: str | None, revision: str | None) -> None:
    from server.store.receipt import REPOSITORY, REVISION

    if repository is not None and not REPOSITORY.fullmatch(repository):
        raise ConfigError('--as wants a repository such as "Qwen/Qwen3.5-9B"')
    if revision is not None and not REVISION.fullmatch(revision):
        raise ConfigError("--revision wants a commit of 40 hexadecimal digits")
