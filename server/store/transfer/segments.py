"""Which parts of a file are there, which are being fetched, and which to fetch next."""

from __future__ import annotations

from dataclasses import dataclass

_FREE, _TAKEN, _DONE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring segments, `first` up to and without `end`."""

    first: int
    end: int


class Segments:
    """A file of `bytes` in segments of `size` bytes, the last of which may be shorter.

    Its owner keeps threads apart.
    """

    def __init__(self, bytes: int, size: int) -> None:  # noqa: A002 - that is what they are
        self.bytes = bytes
        self.size = size
        self.count = -(-bytes // size)
        self._states = bytearray(self.count)
        self._done = 0
        self._taken = 0

    def start(self, index: int) -> int:
        return min(index * self.size, self.bytes)

    def end(self, index: int) -> int:
        return min((index + 1) * self.size, self.bytes)

    @property
    def done_bytes(self) -> int:
        short = self.count * self.size - self.bytes
        last_done = self.count > 0 and self._states[-1] == _DONE
        return self._done * self.size - (short if last_done else 0)

    @property
    def free(self) -> int:
        """How many segments nobody has or fetches."""
        return self.count - self._done - self._taken

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def all_done(self) -> bool:
        return self._done == self.count

    def is_done(self, index: int) -> bool:
        return self._states[index] == _DONE

    def take(self, longest: int) -> Run | None:
        """The first free segments, at most `longest`; they are taken now. None: none is free."""
        first = self._states.find(_FREE)
        if first < 0:
            return None
        end = first + 1
        while end < self.count and end - first < longest and self._states[end] == _FREE:
            end += 1
        self._set(first, end, _TAKEN)
        return Run(first, end)

    def finish(self, index: int) -> None:
        self._set(index, index + 1, _DONE)

    def give_back(self, run: Run) -> None:
        """What of `run` is not done is free again."""
        for index in range(run.first, run.end):
            if self._states[index] == _TAKEN:
                self._set(index, index + 1, _FREE)

    def _set(self, first: int, end: int, state: int) -> None:
        before = self._states[first:end]
        self._taken -= before.count(_TAKEN)
        self._done -= before.count(_DONE)
        self._states[first:end] = bytes([state]) * (end - first)
        self._taken += (end - first) * (state == _TAKEN)
        self._done += (end - first) * (state == _DONE)
