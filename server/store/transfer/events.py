"""What happens during a transfer, told as it happens.

Of each file first FileStarted comes, then any number of Progress and Retrying, then FileDone or
FileFailed, unless the transfer was stopped. Where much of a file was there already, Checking comes
before FileStarted: its bytes are read and checked before they are built upon.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import StoreError


@dataclass(frozen=True, slots=True)
class Checking:
    path: str
    bytes: int
    """Read so far, of what an earlier run left."""


@dataclass(frozen=True, slots=True)
class FileStarted:
    path: str
    bytes: int
    """Of the whole file."""
    resumed_bytes: int
    """Of it that an earlier run left and that were found right."""


@dataclass(frozen=True, slots=True)
class Progress:
    path: str
    bytes: int
    """Of the file that are there now, `resumed_bytes` included. They become fewer when a file that
    turned out to be wrong is fetched again. At most ten in a second for each file."""


@dataclass(frozen=True, slots=True)
class Retrying:
    path: str
    why: str
    seconds: float
    """Until the next attempt; 0 where another source is asked at once."""


@dataclass(frozen=True, slots=True)
class FileDone:
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FileFailed:
    path: str
    error: StoreError


Event = Checking | FileStarted | Progress | Retrying | FileDone | FileFailed
