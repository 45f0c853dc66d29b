"""How hubs are asked: again, after a pause, where that may help; and what they fail for."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from server.catalogue.catalogue import shorten
from server.errors import HubError
from server.units import format_duration

log = logging.getLogger("holdfast")

ATTEMPTS = 5
_LONGEST_WAIT = 120  # seconds, whatever Retry-After says
_T = TypeVar("_T")


def persistently(ask: Callable[[], _T], attempts: int = ATTEMPTS) -> _T:
    """What `ask` returns, tried again while its HubError says that this may help."""
    for attempt in range(attempts):
        try:
            return ask()
        except HubError as error:
            if error.retry_after is None or attempt + 1 == attempts:
                raise
            pause = max(float(error.retry_after), 0.5 * 2**attempt) * random.uniform(1, 1.25)  # noqa: S311
            pause = min(_LONGEST_WAIT, pause)
            log.warning("%s; it is asked again in %s", error.what, format_duration(pause))
            time.sleep(pause)
    raise AssertionError("attempts is at least 1")


def require_online(offline: bool, repository: str) -> None:
    if offline:
        raise HubError(
            f"{repository} was not asked for",
            why="HF_HUB_OFFLINE is set, so no hub is",
            next_step="Unset HF_HUB_OFFLINE to pull",
        )


def unreachable(endpoint: str, error: Exception) -> HubError:
    return HubError(
        f"{endpoint} cannot be reached",
        why=shorten(str(error) or type(error).__name__, 200),
        next_step="Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT",
        retry_after=0,
    )


def busy(endpoint: str, status: int, retry_after: str | None) -> HubError | None:
    """The error for a status after which the same may succeed a little later; else None."""
    if status != 429 and status < 500:
        return None
    seconds = int(retry_after) if retry_after and re.fullmatch(r"\d{1,5}", retry_after) else 0
    what = "asks for a pause" if status == 429 else "is out of order"
    return HubError(
        f"{endpoint} {what}",
        why=f"it answered {status}",
        next_step="Try again later: the same command goes on where it was",
        retry_after=seconds,
    )
