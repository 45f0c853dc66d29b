"""models.toml -> frozen types: which models, builds and clouds exist, and what goes where and how.

`load` reads the built-in files and the overlays that the settings name, checks all of them, and
returns a Catalogue; it looks at nothing but those files. The way through: `document` reads one
file by the tables of `schema` into a tree, `overlay` lays the trees over each other, `assemble`
checks what must hold between values and makes the types. What concerns routes, clouds and money has
modules of its own, from `routing_schema` to `routing_assembly`.
"""

from __future__ import annotations

from pathlib import Path

import server
from server.catalogue.architecture import Architecture, Vision
from server.catalogue.assemble import assemble
from server.catalogue.catalogue import Catalogue
from server.catalogue.document import read
from server.catalogue.model import (
    BENCHMARKS,
    MODES,
    Build,
    EngineName,
    File,
    Format,
    Model,
    Repository,
    Sampling,
)
from server.catalogue.serve import Serve, ServedModel
from server.catalogue.store import SOURCES, Store
from server.settings import Settings

__all__ = [
    "BENCHMARKS",
    "MODES",
    "SOURCES",
    "Architecture",
    "Build",
    "Catalogue",
    "EngineName",
    "File",
    "Format",
    "Model",
    "Repository",
    "Sampling",
    "Serve",
    "ServedModel",
    "Store",
    "Vision",
    "builtin",
    "load",
]


def builtin() -> tuple[Path, ...]:
    """The files that come with Holdfast: the family's, and that of the embedded demo model.

    models.toml lies inside the package in an installed wheel, and beside it in a checkout.
    """
    package = Path(server.__file__).parent
    family = package / "models.toml"
    if not family.is_file():
        family = package.parent / "models.toml"
    return (family, package / "demo" / "models.toml")


def load(settings: Settings) -> Catalogue:
    """The built-in catalogue with the settings' overlays. Raises ConfigError with all problems."""
    return assemble([read(path) for path in (*builtin(), *settings.configs)])
