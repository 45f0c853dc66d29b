"""Fetching through huggingface_hub and hf_xet, for who wants their deduplicated transport.

What they write is believed as little as anything else: its sha256 is computed from the disk. They
resume by means of their own, know no limit of rate and no second source, and one file follows the
other (hf_xet has several connections for each).
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server import __version__
from server.errors import HubError, StoreError
from server.store.asking import busy, persistently, unreachable
from server.store.digest import git_blob_oid, sha256_of
from server.store.hub import Hub
from server.store.pull.plan import Item, Plan
from server.store.pull.staging import Tell, arrival, discard, staged_at
from server.store.shelf import Arrival
from server.store.transfer import FileDone, FileStarted, Progress

_FOLDER = ".xet"


def stage_by_xet(
    plan: Plan,
    items: Sequence[Item],
    incoming: Path,
    source: Hub,
    tell: Tell,
    stop: threading.Event,
) -> list[Arrival]:
    """Fetches `items` one after the other. Raises StoreError and HubError; fewer come back if
    `stop` was set."""
    folder = incoming / _FOLDER
    arrivals = []
    for item in items:
        if stop.is_set():
            break
        assert item.bytes is not None
        tell(FileStarted(item.path, item.bytes, 0))
        there = persistently(lambda item=item: _download(plan, item, folder, source, tell))  # type: ignore[misc]
        sha256 = _checked(item, there)
        part = staged_at(incoming, item.path)
        discard(part)
        os.replace(there, part)
        tell(FileDone(item.path, sha256))
        arrivals.append(arrival(item, sha256, item.git_oid, part))
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return arrivals


def _download(plan: Plan, item: Item, folder: Path, source: Hub, tell: Tell) -> Path:
    import httpx2
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    from server.store.bounded_client import put_into_library, unbounded_client

    put_into_library(unbounded_client)
    try:
        path = hf_hub_download(
            plan.order.repository,
            item.path,
            revision=plan.revision,
            local_dir=folder,
            endpoint=source.endpoint,
            token=source.token or False,
            library_name="holdfast",
            library_version=__version__,
            tqdm_class=_relay(item.path, tell),
        )
    except HfHubHTTPError as error:
        status = error.response.status_code
        later = busy(source.endpoint, status, error.response.headers.get("Retry-After"))
        raise later or HubError(
            f"{source.title} does not give {item.path}", why=f"it answered {status}"
        ) from None
    except httpx2.HTTPError as error:
        raise unreachable(source.endpoint, error) from None
    except (OSError, RuntimeError, ValueError) as error:
        # hf_xet tells of the network, of the disk and of itself by the same few types.
        raise HubError(
            f"{item.path} could not be fetched by hf_xet",
            why=str(error).partition("\n")[0][:200],
            next_step="Run the same command again, or leave --transport xet away",
        ) from None
    return Path(path)


def _checked(item: Item, path: Path) -> str:
    """The sha256 of what arrived. Raises StoreError, and removes it, where it is not the file."""
    sha256 = sha256_of(path)
    found, expected = sha256, item.sha256
    if expected is None:
        found, expected = git_blob_oid(path), item.git_oid
    if found != expected:
        path.unlink()
        raise StoreError(
            f"{item.path} arrived damaged",
            why=f"it is {found} and should be {expected}",
            next_step="Run the same command again, or leave --transport xet away",
        )
    return sha256


def _relay(path: str, tell: Tell) -> type[Any]:
    """A progress bar that draws nothing and tells us instead."""
    from huggingface_hub.utils.tqdm import tqdm

    class Relay(tqdm):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            self._nowhere = open(os.devnull, "w")  # noqa: SIM115 - closed with the bar
            named |= {"file": self._nowhere, "disable": False}
            super().__init__(*arguments, **named)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            tell(Progress(path, int(self.n)))
            return bool(shown)

        def close(self) -> None:
            super().close()
            self._nowhere.close()

    return Relay
