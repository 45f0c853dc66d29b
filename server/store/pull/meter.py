"""How many bytes come, from the events of the files."""

from __future__ import annotations

from server.store.pull.events import Event
from server.store.pull.staging import Tell
from server.store.transfer import FileDone, FileStarted, Progress


class Meter:
    """Counts the bytes that come, on the way of the events to whoever listens."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._started: dict[str, int] = {}
        self._now: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    @property
    def fetched(self) -> int:
        """Bytes, without those that earlier runs left."""
        return sum(max(0, self._now[path] - self._started[path]) for path in self._now)

    def tell(self, event: Event) -> None:
        """Counts, and passes the event on."""
        match event:
            case FileStarted(path, size, resumed):
                self._started[path] = self._now[path] = resumed
                self._sizes[path] = size
            case Progress(path, count) if path in self._started:
                self._now[path] = count
            case FileDone(path, _) if path in self._started:
                self._now[path] = self._sizes[path]
        self._tell(event)
