"""The steps of `holdfast pull`, between the command line and the store."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import typer

from server.catalogue import Build, Catalogue, EngineName, Model, Store
from server.cli.pull import report, show
from server.engines.inventory import inventory
from server.errors import ConfigError, HoldfastError, HubError, StoreError
from server.hardware.probe import probe
from server.planning.recommendation import runnable
from server.planning.rig import rig
from server.settings import Settings
from server.store.pull.order import Order
from server.store.pull.plan import Plan
from server.store.pull.rate import read_rate
from server.store.pull.run import Outcome, Task, free_bytes, pull
from server.store.pull.selection import Fits
from server.store.pull.sources import sources, the_hub
from server.store.pull.staging import Means
from server.store.pull.survey import staged_bytes, survey, survey_unasked
from server.store.pull.window import parse_window
from server.store.shelf import Shelf
from server.units import KIB, parse_bytes

_LEAST_RATE = 16 * KIB


def with_flags(store: Store, jobs: int | None, rate: str | None, window: str | None) -> Store:
    """`[store]` with the flags laid over it. Raises ConfigError."""
    try:
        if window is not None:
            parse_window(window)
        limit = store.limit_rate if rate is None else parse_bytes(rate.removesuffix("/s"))
    except ValueError as error:
        raise ConfigError(
            f"--{'window' if 'time' in str(error) else 'limit-rate'}: {error}",
            next_step="See holdfast pull --help",
        ) from error
    if limit is not None and limit < _LEAST_RATE:
        raise ConfigError(
            f"--limit-rate {rate} is too little to get anywhere",
            next_step="Give bytes a second, such as 500KB or 50MB",
        )
    return replace(store, jobs=jobs or store.jobs, limit_rate=limit, window=window or store.window)


def anything(_model: Model, _build: Build) -> bool:
    return True


def fitting(catalogue: Catalogue, settings: Settings) -> Fits:
    """What this machine can run, as it is now; where no engine is set up, in llama-server."""
    found = inventory(catalogue, settings, rig(probe(settings.home)))
    usual: tuple[EngineName, ...] = ("llama-server",)
    return runnable(catalogue, found.rig, engines=found.engines or usual, cuda=found.cuda)


def dry_run(settings: Settings, store: Store, orders: Sequence[Order], *, json: bool) -> None:
    """Prints what would be done. Raises StoreError for a repository that would be refused."""
    shelf = Shelf(settings.models)
    asked = sources(settings, store, attempts=1)
    held = shelf.by_sha256()
    plans: list[Plan] = []
    failures: list[HoldfastError] = []
    for order in orders:
        try:
            plans.append(survey(order, asked, shelf, held))
        except HubError as error:
            plans.append(survey_unasked(order, shelf, error))
        except StoreError as error:
            failures.append(error)
    preview = report.Preview(
        tuple(plans),
        shelf.root,
        sum(
            staged_bytes(shelf.incoming(plan.order.repository, plan.revision))
            for plan in plans
            if plan.folder is not None and plan.revision is not None
        ),
        free_bytes(shelf.root),
        store.reserve,
        read_rate(settings.state),
    )
    if json:
        import orjson

        typer.echo(orjson.dumps(report.document(preview), option=orjson.OPT_INDENT_2))
    else:
        for line in report.lines(preview):
            typer.echo(line)
    _raise(failures, len(orders))


def run(
    settings: Settings, store: Store, orders: Sequence[Order], *, xet: bool, json: bool
) -> None:
    """Pulls `orders`. Raises StoreError and HubError for what could not be pulled."""
    if xet and store.limit_rate is not None:
        raise ConfigError(
            "--transport xet knows no limit of rate",
            next_step="Leave --transport xet away, or --limit-rate (store.limit_rate)",
        )
    means = Means(
        sources(settings, store),
        store.jobs,
        store.limit_rate,
        the_hub(settings, store) if xet else None,
    )
    task = Task(
        tuple(orders),
        Shelf(settings.models),
        settings.state,
        means,
        store.reserve,
        parse_window(store.window) if store.window else None,
        command=shlex.join(["holdfast", *sys.argv[1:]])[:200],
    )
    outcome = _pull(task, json=json)
    _raise(outcome.failures, len(orders))


def _pull(task: Task, *, json: bool) -> Outcome:
    try:
        with _ended_like_ctrl_c(), show.shown(json=json) as shown:
            return pull(task, shown.tell)
    except KeyboardInterrupt:
        typer.echo("Stopped. Run the same command again to go on.", err=True)
        raise


def _raise(failures: Sequence[HoldfastError], orders: int) -> None:
    """Raises what failed: itself if it is one, else the first and how many there are."""
    if not failures:
        return
    first = failures[0]
    if len(failures) == 1:
        raise first
    kind = type(first) if all(type(one) is type(first) for one in failures) else StoreError
    raise kind(
        f"{len(failures)} of {orders} repositories were not pulled",
        why=f"the first: {first.what}" + (f", {first.why}" if first.why else ""),
        next_step=first.next_step,
    )


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, which is how systemd ends a pull, stops it as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
