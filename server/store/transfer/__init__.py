"""Files over HTTP: several connections, resumed across runs, every byte checked."""

from server.store.transfer.events import (
    Checking,
    Event,
    FileDone,
    FileFailed,
    FileStarted,
    Progress,
    Retrying,
)
from server.store.transfer.fetch import fetch
from server.store.transfer.want import Fetched, Url, Want

__all__ = [
    "Checking",
    "Event",
    "Fetched",
    "FileDone",
    "FileFailed",
    "FileStarted",
    "Progress",
    "Retrying",
    "Url",
    "Want",
    "fetch",
]
