"""A pull from beginning to end: survey, preflight, stage, publish, repository by repository.

What one repository fails for does not keep the others from being pulled. The lock is held while
something is done, and not while the window is waited for.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import HoldfastError, HubError, StoreError
from server.store import wholeness
from server.store.links import link_or_copy
from server.store.lock import store_lock
from server.store.pull.events import (
    Failed,
    Planned,
    Published,
    Surveyed,
    Unchanged,
)
from server.store.pull.hours import await_opening, until_closing
from server.store.pull.meter import Meter
from server.store.pull.order import Order, is_weights
from server.store.pull.plan import Item, Plan, require_disk
from server.store.pull.rate import record_rate
from server.store.pull.staging import Means, Tell, stage_fetched, stage_links
from server.store.pull.survey import staged_bytes, survey
from server.store.pull.window import Window
from server.store.pull.xet import stage_by_xet
from server.store.receipt import Receipt
from server.store.shelf import Arrival, Shelf


@dataclass(frozen=True, slots=True)
class Task:
    """What a pull is to do, and within which bounds."""

    orders: tuple[Order, ...]
    shelf: Shelf
    state: Path
    """Where the rate is remembered."""
    means: Means
    reserve: int
    """Bytes of the disk that stay free."""
    window: Window | None = None
    command: str = "holdfast pull"
    """How the lock names us to a second writer."""


@dataclass(slots=True)
class Outcome:
    held: list[str] = field(default_factory=list)
    """Repositories that are whole now."""
    failures: list[HoldfastError] = field(default_factory=list)
    paused: bool = False
    """Whether the window closed before all was done."""


def pull(task: Task, tell: Tell) -> Outcome:
    """Pulls all of `task`, however many windows it takes. `tell` may be called by any thread.

    Raises StoreLocked if another program writes to the store, StoreError if the disk is too small
    for all of it; what concerns one repository is in the outcome.
    """
    while True:
        await_opening(task.window, tell)
        task.means.sources.try_again()
        closing = threading.Event()
        with store_lock(task.shelf.root, task.command), until_closing(task.window, closing):
            outcome = _pull_all(task, tell, closing)
        if not outcome.paused:
            return outcome


def _pull_all(task: Task, tell: Tell, closing: threading.Event) -> Outcome:
    outcome = Outcome()
    plans = []
    held = task.shelf.by_sha256()
    for order in task.orders:
        try:
            plans.append(survey(order, task.means.sources, task.shelf, held))
        except (HubError, StoreError) as error:
            _fail(outcome, order, error, tell)
    _preflight(task, plans)
    files = sum(len(plan.of("fetch")) for plan in plans)
    tell(Surveyed(len(plans), files, sum(plan.bytes_to_fetch for plan in plans)))
    for plan in plans:
        if closing.is_set():
            outcome.paused = True
            break
        try:
            # Once more: what was published since is linked and not fetched.
            fresh = survey(plan.order, task.means.sources, task.shelf, task.shelf.by_sha256())
            tell(Planned(fresh))
            if _pull_one(task, fresh, tell, closing):
                outcome.held.append(plan.order.repository)
            else:
                outcome.paused = True
        except (HubError, StoreError) as error:
            _fail(outcome, plan.order, error, tell)
    return outcome


def _pull_one(task: Task, plan: Plan, tell: Tell, closing: threading.Event) -> bool:
    """Makes one revision whole; False if the window closed before it was."""
    order = plan.order
    assert plan.revision is not None
    assert plan.source is not None
    incoming = task.shelf.incoming(order.repository, plan.revision)
    missing = (*plan.of("link"), *plan.of("fetch"))
    if not missing:
        folder = task.shelf.folder(order.repository, plan.revision)
        tell(Unchanged(order.repository, plan.revision, folder))
        return True
    linked = stage_links(plan.of("link"), incoming, tell)
    arrivals = list(linked)
    staged = {arrival.held.path for arrival in linked}
    for batch in _batches([item for item in missing if item.path not in staged]):
        arrivals += _fetch(task, plan, batch, incoming, tell, closing)
        _refuse_code(order.repository, arrivals)
    if len(arrivals) < len(missing):
        return False
    with _given_way(plan, linked):
        receipt = task.shelf.publish(
            order.repository,
            plan.revision,
            arrivals,
            source=plan.source,
            licence=plan.licence,
        )
    tell(_published(task.shelf, receipt))
    return True


def _refuse_code(repository: str, arrivals: Sequence[Arrival]) -> None:
    """What would be refused for its configuration in the end is refused before its weights come."""
    configs = {
        arrival.held.path: arrival.staged
        for arrival in arrivals
        if arrival.held.path.endswith("config.json")
    }
    if problems := wholeness.problems_of(configs):
        raise StoreError(f"{repository} is refused", why="; ".join(problems[:3]))


@contextlib.contextmanager
def _given_way(plan: Plan, linked: Sequence[Arrival]) -> Iterator[None]:
    """Files put into the revision's folder by hand make way for the same content, now checked.

    They come back if the revision cannot be published.
    """
    lying = {item.path: item.source for item in plan.of("link")}
    by_hand = [
        (source, one.staged)
        for one in linked
        if plan.folder is not None
        and (source := lying.get(one.held.path)) == plan.folder / one.held.path
    ]
    for source, _ in by_hand:
        source.unlink()
    try:
        yield
    except BaseException:
        for source, staged in by_hand:
            if not source.exists():
                link_or_copy(staged, source)
        raise


def _batches(items: Sequence[Item]) -> list[list[Item]]:
    """What is small first: a model that is refused for its config is refused before its weights."""
    small = [item for item in items if not is_weights(item.path)]
    large = [item for item in items if is_weights(item.path)]
    return [batch for batch in (small, large) if batch]


def _fetch(
    task: Task,
    plan: Plan,
    items: Sequence[Item],
    incoming: Path,
    tell: Tell,
    closing: threading.Event,
) -> list[Arrival]:
    meter = Meter(tell)
    began = time.monotonic()
    try:
        if task.means.xet is not None:
            return stage_by_xet(plan, items, incoming, task.means.xet, meter.tell, closing)
        return stage_fetched(plan, items, incoming, task.means, meter.tell, closing)
    finally:
        seconds = time.monotonic() - began
        record_rate(task.state, meter.fetched, seconds, datetime.datetime.now().date())


def _preflight(task: Task, plans: Sequence[Plan]) -> None:
    """Raises StoreError unless all that is to come finds room."""
    needed = 0
    for plan in plans:
        assert plan.revision is not None
        incoming = task.shelf.incoming(plan.order.repository, plan.revision)
        needed += max(0, plan.bytes_to_fetch - staged_bytes(incoming))
    require_disk(needed, free_bytes(task.shelf.root), task.reserve, task.shelf.root)


def free_bytes(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _fail(outcome: Outcome, order: Order, error: HoldfastError, tell: Tell) -> None:
    outcome.failures.append(error)
    tell(Failed(order.repository, error))


def _published(shelf: Shelf, receipt: Receipt) -> Published:
    return Published(
        receipt.repository,
        receipt.revision,
        shelf.folder(receipt.repository, receipt.revision),
        len(receipt.files),
        receipt.bytes,
    )
