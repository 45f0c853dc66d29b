"""What may become part of a revision: sound names, right sizes, one whole.

Everything here is checked before anything of a revision is touched.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import StoreError
from server.store import wholeness
from server.store.digest import blob_oid, sha256_of
from server.store.durable import sweep, unwritable, write_whole
from server.store.naming import checked, collisions, refusal
from server.store.receipt import Held

APACHE = Path(__file__).parent / "licences" / "Apache-2.0.txt"
"""The licence's text, as it is added where a repository has none."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that was fetched, flushed and hashed."""

    held: Held
    staged: Path
    """Below the place's `incoming`, or at least on the same file system. It is taken away."""


@dataclass(frozen=True, slots=True)
class Place:
    repository: str
    revision: str
    folder: Path
    incoming: Path
    damaged: Path


def check_names(held: Mapping[str, Held], arrivals: Sequence[Arrival]) -> None:
    """Raises StoreError for a name that is refused, comes twice, or collides with another."""
    names = [arrival.held.path for arrival in arrivals]
    for name in names:
        checked(name)
        if why := refusal(name):
            raise StoreError(f"{name} is refused", why=why, next_step="Leave it out")
    if len(set(names)) < len(names):
        raise StoreError("a file arrives twice under the same name")
    for one, other in collisions([*held, *names]):
        raise StoreError(
            f"{one} and {other} cannot lie in one folder everywhere",
            why="some file systems take them for the same name",
            next_step="Leave one of them out",
        )


def check_bytes(held: Mapping[str, Held], arrivals: Sequence[Arrival]) -> None:
    """Raises StoreError for other bytes than are held, another size, or what is no plain file."""
    for arrival in arrivals:
        file, known = arrival.held, held.get(arrival.held.path)
        if known is not None and known.sha256 != file.sha256:
            raise StoreError(
                f"{file.path} changed under the same revision",
                why=f"held is sha256 {known.sha256}, and this is {file.sha256}",
                next_step="The file that is held stays; `holdfast store watch` shows what upstream "
                "did",
            )
        try:
            status = arrival.staged.lstat()
        except OSError as error:
            raise StoreError(f"{arrival.staged} is gone", why=error.strerror or "") from error
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{arrival.staged} is a link or another thing that is no file")
        if status.st_size != file.bytes:
            raise StoreError(
                f"{arrival.staged} has {status.st_size} bytes, and should have {file.bytes}"
            )


def with_licence(
    place: Place, held: Mapping[str, Held], arrivals: Sequence[Arrival], licence: str | None
) -> Sequence[Arrival]:
    """The arrivals, with the text of the Apache licence where it is due and not there."""
    names = {*held, *(arrival.held.path for arrival in arrivals)}
    if (licence or "").lower() != "apache-2.0" or any(_is_licence(name) for name in names):
        return arrivals
    text = APACHE.read_bytes()
    staged = place.incoming / "LICENSE.part"
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        sweep(staged.parent)
    except OSError as error:
        raise unwritable(staged, error) from error
    write_whole(staged, text, mode=0o644)
    file = Held("LICENSE", len(text), sha256_of(staged), blob_oid(text))
    return (*arrivals, Arrival(file, staged))


def _is_licence(name: str) -> bool:
    return name.lower().startswith(("license", "licence", "copying"))


def check_whole(place: Place, held: Mapping[str, Held], arrivals: Sequence[Arrival]) -> None:
    """Refuses what would bring a problem that was not there: mending one of two is welcome."""
    old = {path: place.folder / path for path in held}
    new = old | {arrival.held.path: arrival.staged for arrival in arrivals}
    problems = list(wholeness.problems_of(new))
    if problems and old:
        known = set(wholeness.problems_of(old))
        problems = [text for text in problems if text not in known]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise StoreError(
            f"{place.repository}@{place.revision[:12]} is not whole",
            why="; ".join(problems[:5]) + more,
            next_step="Nothing of it was made visible; what was fetched is kept",
        )
