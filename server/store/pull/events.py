"""What happens in a pull, told as it happens; the files' own events are those of `transfer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.errors import HoldfastError
from server.store.pull.plan import Plan
from server.store.transfer import Event as TransferEvent


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is done until the window opens."""

    seconds: float
    window: str


@dataclass(frozen=True, slots=True)
class Surveyed:
    """All repositories were asked about, and the disk has room for what is to come."""

    repositories: int
    files: int
    """To be fetched."""
    bytes: int
    """Of them, what earlier runs left included."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What follows is about this repository."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Linked:
    """A file that the store held already stands at a second place now."""

    path: str
    how: str
    """reflink, hardlink or copy."""
    bytes: int


@dataclass(frozen=True, slots=True)
class NotLinked:
    """What lies elsewhere is not what it should be; the file is fetched instead."""

    path: str
    source: Path


@dataclass(frozen=True, slots=True)
class Published:
    """The revision is whole and can be served."""

    repository: str
    revision: str
    folder: Path
    files: int
    bytes: int
    """Of the revision, what was held before included."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """All of it was held already."""

    repository: str
    revision: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Failed:
    """A repository that could not be pulled; the others are."""

    repository: str
    error: HoldfastError


PullEvent = Waiting | Surveyed | Planned | Linked | NotLinked | Published | Unchanged | Failed
Event = PullEvent | TransferEvent
