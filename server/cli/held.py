"""What the names given to a verb mean of what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.settings import Settings
    from server.store.shelf import Shelf, Volume

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Repositories or models, such as Qwen/Qwen3.5-9B[@REVISION] or qwen3.5-9b "
        "[default: all].",
        show_default=False,
    ),
]


def held(names: Sequence[str] | None, shelf: Shelf, settings: Settings) -> list[Volume]:
    """The revisions that the names mean, each once; all of them without a name.

    Raises StoreError with the nearest names.
    """
    if not names:
        return list(shelf.volumes())
    from server import catalogue
    from server.store.choice import choose

    known = catalogue.load(settings)
    chosen = [choice.volume for name in names for choice in choose(name, shelf, known)]
    return list({volume.folder: volume for volume in chosen}.values())
