"""What an answer to a request for bytes of a file means: pure.

A hub's word is not taken on trust: the range must be the one that was asked for, the size and the
ETag those of the file that is wanted.
"""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass

from server.errors import HubError, StoreError
from server.store.transfer.want import Want

_REDIRECTS = {301, 302, 303, 307, 308}
_LATER = {408, 425, 429}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})")
_RESET = re.compile(r"\bt=(\d{1,6})\b")  # RateLimit: "api";r=0;t=55, as Hugging Face sends
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
LONGEST_WAIT = 3600.0
"""Seconds; what a Retry-After beyond it is taken for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that is answered."""

    want: Want
    name: str
    """Of the source."""
    first: int
    end: int
    """One behind the last byte."""
    redirects: int
    """That led to the place which was asked, whether just now or earlier."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes follow."""

    first: int
    end: int
    """One behind the last that comes, if the answer is sent whole."""
    length: int | None
    """Bytes of the body; None where it is sent in chunks."""


@dataclass(frozen=True, slots=True)
class Redirect:
    location: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now. `seconds`: as the source wishes; None: it did not say."""

    why: str
    seconds: float | None = None
    busy: bool = False
    """The source has too much to do: none of its files should be asked for meanwhile."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The place that a redirect led to no longer serves the file: ask the hub for a new one."""

    why: str


@dataclass(frozen=True, slots=True)
class Unranged:
    """The whole file comes, where a part of it was asked for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """This source will not give the file, however often it is asked."""

    error: StoreError


Answer = Body | Redirect | Later | Stale | Unranged | Refusal


def judge(status: int, headers: Mapping[str, str], asked: Asked, now: datetime.datetime) -> Answer:
    """`headers` by their lower-case names; `now` is aware of its time zone."""
    if changed := _changed(status, headers, asked):
        return Refusal(changed)
    if status in _REDIRECTS:
        if location := headers.get("location"):
            return Redirect(location)
        return Later(f"a redirect ({status}) that leads nowhere")
    if status in (200, 206):
        return _body(status, headers, asked)
    if status in _LATER or status >= 500:
        seconds = _retry_after(headers, now)
        return Later(f"HTTP {status}", seconds, busy=status in (429, 503))
    if status == 416:
        return _unsatisfied(headers, asked)
    if status == 407:
        return Refusal(proxy_refusal(status))
    if asked.redirects and not headers.get("x-error-code"):
        return Stale(f"HTTP {status} behind a redirect")
    return Refusal(_refusal(status, headers, asked))


def tag_of(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """X-Linked-Etag, what the hub says that the file is, and ETag, what the sender calls it."""
    linked, plain = (headers.get(name) for name in ("x-linked-etag", "etag"))
    return (_plain(linked) if linked else None, _plain(plain) if plain else None)


def changed_upstream(asked: Asked, how: str) -> StoreError:
    return StoreError(
        f"{asked.want.path} has changed upstream under the same revision",
        why=f"{asked.name} {how}",
        next_step="Keep what is held; `holdfast store watch` tells what else changed",
    )


def proxy_refusal(status: int) -> HubError:
    return HubError(
        "the proxy does not let this through",
        why=f"HTTP {status}",
        next_step="Put its name and password into the variable: http://NAME:PASSWORD@HOST:PORT, "
        "or name the hub in NO_PROXY",
    )


def _body(status: int, headers: Mapping[str, str], asked: Asked) -> Answer:
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Later("the answer is compressed, which was not asked for")
    length = int(text) if (text := headers.get("content-length", "")).isdecimal() else None
    size = asked.want.bytes
    if status == 200:
        if length is not None and length != size:
            return Later(f"{length} bytes are announced where the file has {size}")
        return Unranged() if asked.first else Body(0, size, length)
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if match is None:
        return Later("part of the file comes, and which is not said")
    first, end = int(match[1]), int(match[2]) + 1
    if match[3] != "*" and int(match[3]) != size:
        return Refusal(changed_upstream(asked, f"has {match[3]} bytes instead of {size}"))
    if first != asked.first or not first < end <= asked.end:
        return Later(f"bytes {first} to {end - 1} come instead of those from {asked.first}")
    if length is not None and length != end - first:
        return Later("the length of the answer disagrees with its range")
    return Body(first, end, length)


def _changed(status: int, headers: Mapping[str, str], asked: Asked) -> StoreError | None:
    """Set if the hub itself says that this is no longer the file that is wanted."""
    want = asked.want
    size = headers.get("x-linked-size", "")
    if size.isdecimal() and int(size) != want.bytes:
        return changed_upstream(asked, f"has {int(size)} bytes instead of {want.bytes}")
    linked, plain = tag_of(headers)
    # Without the hub's own header an ETag of 64 digits may be anything, such as a Xet hash.
    tag = linked or (plain if status in (200, 206) and "x-repo-commit" in headers else None)
    if tag is None:
        return None
    if want.sha256 and _SHA256.fullmatch(tag) and tag != want.sha256:
        return changed_upstream(asked, f"has sha256 {tag[:12]}… instead of {want.sha256[:12]}…")
    if want.sha256 is None and want.git_oid and _SHA1.fullmatch(tag) and tag != want.git_oid:
        return changed_upstream(asked, f"has blob {tag[:12]}… instead of {want.git_oid[:12]}…")
    return None


def _unsatisfied(headers: Mapping[str, str], asked: Asked) -> Answer:
    match = _UNSATISFIED.fullmatch(headers.get("content-range", ""))
    if match and int(match[1]) != asked.want.bytes:
        how = f"has {match[1]} bytes instead of {asked.want.bytes}"
        return Refusal(changed_upstream(asked, how))
    return Later("HTTP 416 for bytes that the file has")


def _refusal(status: int, headers: Mapping[str, str], asked: Asked) -> HubError:
    name, path = asked.name, asked.want.path
    code = headers.get("x-error-code", "")
    if code == "GatedRepo" or (status == 403 and not code):
        return HubError(
            f"{name} does not let {path} be fetched",
            why=f"HTTP {status}; the repository is gated, or the token has no access to it",
            next_step="Ask for access on the repository's page, then set HF_TOKEN to your token",
        )
    if status == 401:
        return HubError(
            f"{name} does not let {path} be fetched",
            why="HTTP 401; the repository is private or not there, or the token is not valid",
            next_step="Check the name, and set HF_TOKEN if the repository needs one",
        )
    missing = {"RepoNotFound": "the repository", "RevisionNotFound": "the revision"}
    if status in (404, 410):
        return HubError(
            f"{missing.get(code, path)} is not at {name}"
            + (f" ({path})" if code in missing else ""),
            why=f"HTTP {status}",
            next_step="Look on its pages whether it was renamed or removed",
        )
    return HubError(f"{name} refuses {path}", why=f"HTTP {status}")


def _retry_after(headers: Mapping[str, str], now: datetime.datetime) -> float | None:
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        return min(float(text), LONGEST_WAIT)
    if text:
        try:
            then = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        if then.tzinfo is None:
            then = then.replace(tzinfo=datetime.UTC)
        return min(max(0.0, (then - now).total_seconds()), LONGEST_WAIT)
    if match := _RESET.search(headers.get("ratelimit", "")):
        return min(float(match[1]), LONGEST_WAIT)
    return None


def _plain(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')
