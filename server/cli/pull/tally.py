"""How far a pull is, counted from its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from server.store.pull.events import Event, Surveyed
from server.store.transfer import FileDone, FileFailed, FileStarted, Progress
from server.units import format_bytes, format_duration


@dataclass(slots=True)
class Tally:
    """How far a pull is, from its events."""

    total: int = 0
    """Bytes that are to come from a hub, without what earlier runs left."""
    files: int = 0
    files_done: int = 0
    began: float = 0.0
    _sizes: dict[str, int] = field(default_factory=dict)
    _resumed: dict[str, int] = field(default_factory=dict)
    _now: dict[str, int] = field(default_factory=dict)
    _finished: int = 0

    @property
    def done(self) -> int:
        under_way = sum(max(0, now - self._resumed[path]) for path, now in self._now.items())
        return self._finished + under_way

    def note(self, event: Event, now: float) -> None:
        match event:
            case Surveyed(_, files, size):
                # Once a window. The events of the files are counted from here.
                self.total, self.files, self.began = size, files, now
                self.files_done = self._finished = 0
                self._now.clear()
            case FileStarted(path, size, resumed):
                self._sizes[path], self._resumed[path], self._now[path] = size, resumed, resumed
                self.total -= resumed
            case Progress(path, count) if path in self._now:
                self._now[path] = count
            case FileDone(path, _) if path in self._now:
                self._finished += self._sizes[path] - self._resumed[path]
                self.files_done += 1
                del self._now[path]
            case FileFailed(path, _):
                self._now.pop(path, None)

    def line(self, now: float) -> str:
        """`"12% of 28.0 GiB, 110.0 MiB/s, 3m 20s left, 3 of 12 files"`."""
        share = self.done / self.total if self.total else 1.0
        rate = self.done / max(0.001, now - self.began)
        left = format_duration((self.total - self.done) / rate) if rate else "?"
        return (
            f"{min(share, 1.0):.0%} of {format_bytes(self.total)}, {format_bytes(int(rate))}/s, "
            f"{left} left, {self.files_done} of {self.files} files"
        )

    def summary(self, now: float) -> str | None:
        """`"Fetched 28.0 GiB in 4m 20s, 110.0 MiB/s"`; None where nothing came."""
        if not self.done:
            return None
        seconds = max(0.001, now - self.began)
        rate = format_bytes(int(self.done / seconds))
        return f"Fetched {format_bytes(self.done)} in {format_duration(seconds)}, {rate}/s"
