"""Server-sent events, read from bytes as they come: HTML Living Standard, 9.2.5 and 9.2.6.

Every line ending is taken (LF, CRLF, CR), comments are skipped, several `data` lines are one text,
`id` and `retry` mean nothing here. What is left without its blank line at the end is no event.
"""

from __future__ import annotations

from typing import NamedTuple

from server.chat.sse import MAX_EVENT
from server.errors import HoldfastError, ProviderError

_BOM = b"\xef\xbb\xbf"
_PLAIN = b"data: "


class ServerEvent(NamedTuple):
    name: str
    """`message` where the stream gives none."""
    data: bytes


class SseReader:
    """feed(bytes, cut anywhere) -> the events that have become whole.

    `blame` is the error's class for an event of more than MAX_EVENT bytes: whose stream it is.
    """

    def __init__(self, blame: type[HoldfastError] = ProviderError) -> None:
        self._blame = blame
        self._pending = bytearray()
        self._after_cr = False
        self._begun = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Raises `blame` for an event without end."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        if self._pending or not chunk.endswith(b"\n\n"):
            chunk = self._whole(chunk)
        if not self._begun and chunk:
            self._begun = True
            chunk = chunk.removeprefix(_BOM)
        return [event for block in chunk.split(b"\n\n") if (event := _read(block)) is not None]

    def _with_lf(self, chunk: bytes) -> bytes:
        """A CR ends its line at once; the LF that may follow in the next chunk belongs to it."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _whole(self, chunk: bytes) -> bytes:
        """The whole events of what was held back and `chunk`; what follows them is held back."""
        seen = max(0, len(self._pending) - 1)
        self._pending += chunk
        end = self._pending.rfind(b"\n\n", seen)
        if end >= 0:
            whole = bytes(self._pending[: end + 2])
            del self._pending[: end + 2]
        else:
            whole = b""
        if len(self._pending) > MAX_EVENT:
            raise self._blame(
                f"The {self._blame.fault} sent an event without end", next_step="Try again"
            )
        return whole


def _read(block: bytes) -> ServerEvent | None:
    """One event of lines that end with LF; None where it carries no data."""
    if block.startswith(_PLAIN) and b"\n" not in block:
        return ServerEvent("message", block[6:])
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")  # a comment has the empty field
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return ServerEvent(name or "message", b"\n".join(data)) if data else None
