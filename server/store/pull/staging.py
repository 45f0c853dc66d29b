"""Getting a plan's files into `.incoming`, each checked, ready to be published."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server import __version__
from server.errors import StoreError
from server.store.digest import git_blob_oid, lfs_pointer_oid, sha256_of
from server.store.durable import unwritable
from server.store.hub import Hub
from server.store.links import link_or_copy
from server.store.naming import checked
from server.store.pull.events import Event, Linked, NotLinked
from server.store.pull.plan import Item, Plan
from server.store.pull.sources import Sources
from server.store.receipt import Held
from server.store.shelf import Arrival
from server.store.transfer import Want, fetch

Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Means:
    """How files are fetched."""

    sources: Sources
    jobs: int
    limit_rate: int | None
    """Bytes a second over all connections."""
    xet: Hub | None = None
    """The hub to fetch from by hf_xet, in place of our own connections."""


def stage_links(items: Sequence[Item], incoming: Path, tell: Tell) -> list[Arrival]:
    """Those of `items` whose content lies elsewhere and is right there; the others are left."""
    arrivals = []
    for item in items:
        assert item.source is not None
        assert item.sha256 is not None or item.git_oid is not None
        sha256 = _proven(item, item.source)
        if sha256 is None:
            tell(NotLinked(item.path, item.source))
            continue
        part = staged_at(incoming, item.path)
        discard(part)
        how = link_or_copy(item.source, part)
        assert item.bytes is not None
        tell(Linked(item.path, str(how), item.bytes))
        arrivals.append(arrival(item, sha256, item.git_oid, part))
    return arrivals


def stage_fetched(
    plan: Plan,
    items: Sequence[Item],
    incoming: Path,
    means: Means,
    tell: Tell,
    stop: threading.Event,
) -> list[Arrival]:
    """Fetches `items`. Raises StoreError and HubError; fewer come back if `stop` was set."""
    if not items:
        return []
    assert plan.revision is not None
    assert plan.source is not None
    wants = []
    for item in items:
        assert item.bytes is not None
        urls = means.sources.urls(plan.order, plan.revision, item.path, plan.source)
        part = staged_at(incoming, item.path)
        wants.append(Want(item.path, part, item.bytes, item.sha256, item.git_oid, urls))
    fetched = fetch(
        wants,
        jobs=means.jobs,
        limit_rate=means.limit_rate,
        on_event=tell,
        stop=stop,
        user_agent=f"holdfast/{__version__}",
    )
    by_path = {item.path: item for item in items}
    return [
        arrival(by_path[one.want.path], one.sha256, one.git_oid, one.want.part) for one in fetched
    ]


def discard(part: Path) -> None:
    """Removes what an earlier run left for a file that now comes another way."""
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.journal").unlink(missing_ok=True)


def staged_at(incoming: Path, path: str) -> Path:
    """Where a file is staged; its folder is made."""
    target = incoming / checked(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(target.parent, error) from error
    return target.with_name(f"{target.name}.part")


def _proven(item: Item, source: Path) -> str | None:
    """The sha256 of `source` if it is what `item` must be; all of it is read."""
    try:
        sha256 = sha256_of(source)
        if item.sha256 is not None:
            return sha256 if sha256 == item.sha256 else None
        return sha256 if git_blob_oid(source) == item.git_oid else None
    except (OSError, StoreError):
        return None


def arrival(item: Item, sha256: str, git_oid: str | None, part: Path) -> Arrival:
    """The file with its line in the receipt. Git ids that ModelScope does not tell are made."""
    assert item.bytes is not None
    if git_oid is None:
        git_oid = lfs_pointer_oid(sha256, item.bytes) if item.lfs else git_blob_oid(part)
    return Arrival(Held(item.path, item.bytes, sha256, git_oid, item.lfs), part)
