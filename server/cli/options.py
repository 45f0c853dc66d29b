"""Options that several verbs share, and what all of them need of a terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from server import settings
from server.settings import Settings

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Where weights, keys and logs live [default: $HOLDFAST_HOME or the data folder].",
        show_default=False,
    ),
]
Config = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        help="A configuration file to lay over the built-in one; may be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_settings(home: Path | None, config: list[Path] | None) -> Settings:
    """Settings from the shared options and the environment. Raises ConfigError."""
    return settings.load(os.environ, home=home, configs=config or ())
