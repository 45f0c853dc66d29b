"""A file under way: its bytes on the disk, its journal, and the digests of what is there.

The digests follow the bytes: whoever receives what comes next has them in hand and hashes them;
what lies beyond a gap is read back from the page cache when the gap has closed. Only whole segments
enter the digest, so that a segment which is begun twice is not hashed twice.
"""

from __future__ import annotations

import os
import stat
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from server.errors import StoreError
from server.store.transfer.disk import disk_refused, start_writing
from server.store.transfer.journal import Journal, Recorded
from server.store.transfer.running_digest import RunningDigest
from server.store.transfer.segments import Run, Segments
from server.store.transfer.want import Want
from server.units import MIB


@dataclass(slots=True)
class Stretch:
    """Neighbouring segments that one connection fetches, and how far it is."""

    run: Run
    at: int
    """The next byte."""
    end: int
    alone: bool
    """Nobody else fetches any of the file: all before it is there, and it may be rewound."""
    crc: int = 0
    """Of the segment that `at` is in, up to there."""
    digest: RunningDigest | None = field(default=None, repr=False)
    """Of the whole file up to `at`, where all before it is hashed."""


class Part:
    """Several threads may fetch stretches of it at once. All methods raise StoreError for what the
    disk refuses."""

    def __init__(self, want: Want, segment: int) -> None:
        self.want = want
        self.segment = segment
        """Bytes of each; what an earlier run chose goes on."""
        about: Mapping[str, int | str | None] = {
            "bytes": want.bytes,
            "sha256": want.sha256,
            "git_oid": want.git_oid,
        }
        self._journal = Journal(want.part, about)
        self._lock = threading.Lock()
        self._descriptor = -1
        self._hashing = False
        self._forget()

    def _forget(self) -> None:
        self._segments = Segments(self.want.bytes, self.segment)
        self._digest = RunningDigest(self.want.bytes, with_git=self.want.sha256 is None)
        self._hashed = 0  # segments
        self._present = 0

    # ---- Beginning ----

    def open(self, checked: Callable[[int], bool]) -> int:
        """Open or make the file; bytes of it that an earlier run left and that are right.

        `checked` is told how many were read so far, and answers whether to go on.
        """
        try:
            self._open()
            recorded = self._journal.read()
            kept = self._check(self._candidates(recorded), checked)
            if kept is None:  # the journal stays as it is, for the next run
                return 0
            # A file of one segment is whole or not there; its journal would say nothing.
            if self._segments.count > 1 and not self._segments.all_done:
                if recorded is not None and recorded.clean and recorded.crcs == kept:
                    self._journal.go_on()
                else:
                    self._journal.begin(self.segment, kept)
        except OSError as error:
            raise self._refused(error) from error
        self._present = self._segments.done_bytes
        return self._present

    def _open(self) -> None:
        self.want.part.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(self.want.part, flags, 0o644)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise StoreError(
                f"{self.want.part} is not an ordinary file",
                next_step="Remove it, and run the same command again",
            )

    def _candidates(self, recorded: Recorded | None) -> dict[int, int | None]:
        """Segments that may be there, with their crc32; all of them where a file of the right size
        has no journal, since that is removed when the file is whole."""
        size = os.fstat(self._descriptor).st_size
        if recorded is not None:
            self.segment = recorded.segment
            self._forget()
            return {
                index: crc for index, crc in recorded.crcs.items()
                if index < self._segments.count and self._segments.end(index) <= size
            }  # fmt: skip
        if size == self.want.bytes and not self._journal.path.exists():
            return dict.fromkeys(range(self._segments.count))
        return {}

    def _check(
        self, recorded: Mapping[int, int | None], checked: Callable[[int], bool]
    ) -> dict[int, int] | None:
        """Take over the segments whose bytes are as recorded, hashing what stands in a row; None:
        it was ended early."""
        kept: dict[int, int] = {}
        buffer = memoryview(bytearray(MIB))
        read = 0
        for index in sorted(recorded):
            in_row = index == self._hashed
            digest = self._digest.copy() if in_row else None
            crc = self._read_segment(index, buffer, digest)
            expected = recorded[index]
            if crc is not None and expected in (None, crc):
                kept[index] = crc
                self._segments.finish(index)
                if digest is not None:
                    self._digest, self._hashed = digest, index + 1
            read += self._segments.end(index) - self._segments.start(index)
            if not checked(read):
                return None
        return kept

    def _read_segment(
        self, index: int, buffer: memoryview, digest: RunningDigest | None
    ) -> int | None:
        """The crc32 of a segment on the disk, which `digest` is told too; None: it ends early."""
        at, end = self._segments.start(index), self._segments.end(index)
        crc = 0
        while at < end:
            count = os.preadv(self._descriptor, [buffer[: min(len(buffer), end - at)]], at)
            if count == 0:
                return None
            crc = zlib.crc32(buffer[:count], crc)
            if digest is not None:
                digest.update(buffer[:count])
            at += count
        return crc

    # ---- Fetching ----

    @property
    def present(self) -> int:
        """Bytes that are there, those of unfinished segments included."""
        return self._present

    @property
    def free(self) -> int:
        """Segments that nobody has or fetches."""
        with self._lock:
            return self._segments.free

    def take(self, longest: int, *, alone: bool = False) -> Stretch | None:
        """The next stretch to fetch, at most `longest` segments. `alone`: only where nobody else
        fetches any of the file; all before the stretch is there then."""
        with self._lock:
            if alone and self._segments.taken:
                return None
            run = self._segments.take(longest)
            if run is None:
                return None
            start, end = self._segments.start(run.first), self._segments.end(run.end - 1)
            return Stretch(run, start, end, alone=alone)

    def give_back(self, stretch: Stretch) -> None:
        """What of it is not whole is for others."""
        with self._lock:
            self._present -= self._unfinished(stretch)
            self._segments.give_back(stretch.run)

    def rewind(self, stretch: Stretch) -> None:
        """The source sends the file from its beginning: `write` will pass over what is there."""
        with self._lock:
            self._present -= self._unfinished(stretch)
            stretch.at = 0

    def _unfinished(self, stretch: Stretch) -> int:
        """Bytes of the segment in the middle of which `stretch` is."""
        into = stretch.at % self.segment
        return 0 if stretch.at >= stretch.end else into

    def write(self, stretch: Stretch, data: memoryview) -> None:
        """The bytes that come next in `stretch`."""
        while data:
            index = stretch.at // self.segment
            end = self._segments.end(index)
            piece = data[: end - stretch.at]
            if not self._segments.is_done(index):
                self._write_piece(stretch, index, piece)
                if stretch.at + len(piece) == end:
                    self._finish_segment(stretch, index)
            stretch.at += len(piece)
            data = data[len(piece) :]

    def _write_piece(self, stretch: Stretch, index: int, piece: memoryview) -> None:
        at = stretch.at
        with self._lock:
            self._present += len(piece)
            if at == self._segments.start(index):
                stretch.crc = 0
                stretch.digest = self._digest.copy() if index == self._hashed else None
        try:
            left = piece
            while left:
                written = os.pwrite(self._descriptor, left, at)
                left, at = left[written:], at + written
        except OSError as error:
            raise self._refused(error) from error
        stretch.crc = zlib.crc32(piece, stretch.crc)
        if stretch.digest is not None:
            stretch.digest.update(piece)

    def _finish_segment(self, stretch: Stretch, index: int) -> None:
        try:
            if self._segments.count > 1:
                self._journal.add(index, stretch.crc)
        except OSError as error:
            raise self._refused(error) from error
        with self._lock:
            self._segments.finish(index)
            if stretch.digest is not None:
                self._digest, self._hashed = stretch.digest, index + 1
                stretch.digest = None
        start = self._segments.start(index)
        start_writing(self._descriptor, start, self._segments.end(index) - start)

    # ---- Ending ----

    def catch_up(self, going_on: Callable[[], bool]) -> bool:
        """Hash what became contiguous. True, once only: the file is whole, and hashed to its end.

        Only one thread does so at a time, the others return at once.
        """
        with self._lock:
            if self._hashing:
                return False
            self._hashing = True
        buffer: memoryview | None = None
        while True:
            with self._lock:
                index = self._hashed
                whole = index == self._segments.count
                ready = not whole and self._segments.is_done(index)
                if whole or not ready or not going_on():
                    # Stays set when the file is whole, so that one thread alone is told.
                    self._hashing = whole
                    return whole
                digest = self._digest
            buffer = buffer or memoryview(bytearray(MIB))
            try:
                if self._read_segment(index, buffer, digest) is None:
                    raise StoreError(f"{self.want.part} was cut short by another program")
            except OSError as error:
                raise self._refused(error) from error
            with self._lock:
                self._hashed = index + 1

    def digests(self) -> tuple[str, str | None]:
        """sha256 of the whole file, and its git blob SHA-1 where it is checked by that."""
        return self._digest.sha256, self._digest.git_oid

    def keep(self) -> None:
        """The file is right: have it on the disk, and its journal gone."""
        try:
            os.ftruncate(self._descriptor, self.want.bytes)
            os.fsync(self._descriptor)
            self._journal.remove()
        except OSError as error:
            raise self._refused(error) from error

    def start_over(self) -> None:
        """All of it is to be fetched again. For when nobody else fetches any of it."""
        try:
            with self._lock:
                self._forget()
                self._hashing = False
                os.ftruncate(self._descriptor, 0)
                if self._segments.count > 1:
                    self._journal.begin(self.segment, {})
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """For when nobody fetches any of it."""
        self._journal.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _refused(self, error: OSError) -> StoreError:
        return disk_refused(self.want, self._segments.done_bytes, error)
