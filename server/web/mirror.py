"""The routes below /hf/: the store as a hub, so that with `HF_ENDPOINT=http://this-machine/hf`
Hugging Face's clients, and those that imitate them, fetch from here as they would from there.

Read-only, and never from anywhere but the store. What a request names is looked up in the offer
by exact name; no part of it becomes a path.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from server.errors import HoldfastError, MethodNotAllowed, NotFound, StoreError
from server.store.offering import Offer, OfferedFile, OfferedRevision, Offering, chosen
from server.units import KIB
from server.web import mirror_json
from server.web.auth import Client
from server.web.exchange import Exchange, Header
from server.web.mirror_path import Ask, parse
from server.web.ranges import Span, span

log = logging.getLogger("holdfast.web")

_FRESH = 1.0
"""Seconds for which the offer counts as current: clients ask for each file of a repository."""
_MAX_BODY = 256 * KIB
"""Bytes of a list of paths: some thousands of them."""
_SHOWN = 5  # repositories that are named where there is no such one
_FILE_HEADERS: tuple[Header, ...] = (
    (b"accept-ranges", b"bytes"),
    # Never a type that a browser would render: a file may be a web page.
    (b"content-type", b"application/octet-stream"),
    (b"x-content-type-options", b"nosniff"),
)


def hub_form(error: HoldfastError) -> tuple[bytes, list[Header]]:
    """An error as the hub tells it."""
    sentence = error.sentence
    if error.status == 401:
        sentence += " Hugging Face's clients send a key as HF_TOKEN."
    # It may hold what the client asked for, line breaks and all.
    message = "".join(letter if " " <= letter <= "~" else "?" for letter in sentence)
    return orjson.dumps({"error": sentence}), [(b"x-error-message", message.encode())]


class Mirror:
    """Answers all below /hf/. `sent` counts the bytes of files that have gone out."""

    def __init__(self, offering: Offering) -> None:
        self._offering = offering
        self._offer = Offer({})
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self.sent = 0
        self.answers = 0
        """Answers with a file, or a part of one, that were begun."""
        self._of_revision: dict[str, Callable[[Exchange, Ask, OfferedRevision], Any]] = {
            "info": self._info,
            "refs": self._refs,
            "commits": self._commits,
            "paths-info": self._paths_info,
            "tree": self._tree,
            "manifest": self._manifest,
            "file": self._file,
        }

    async def answer(self, exchange: Exchange, client: Client, _: str) -> None:
        """Any request below /hf/."""
        ask = parse(exchange.scope["raw_path"])
        if ask is None:
            raise NotFound(
                f"the hub has no route {exchange.scope['path'][:128]}",
                next_step="It answers what downloads need: /api/models/..., /ORG/NAME/resolve/...",
            )
        _check_method(exchange, ask)
        if ask.what == "whoami":
            await exchange.answer_json(mirror_json.whoami(client.id))
            return
        offer = await self._current()
        if ask.what == "models":
            await exchange.answer_json(_models(offer, _query(exchange)))
            return
        revision = _revision(exchange, ask, offer)
        handler: Callable[..., Awaitable[None]] = self._of_revision[ask.what]
        await handler(exchange, ask, revision)

    async def _current(self) -> Offer:
        async with self._reading:
            if self._read_at is None or time.monotonic() - self._read_at > _FRESH:
                known = self._offering.problems
                self._offer = await asyncio.to_thread(self._offering.read)
                self._read_at = time.monotonic()
                for problem in self._offering.problems:
                    if problem not in known:
                        log.warning("not offered to others: %s", problem)
        return self._offer

    async def _info(self, exchange: Exchange, _: Ask, revision: OfferedRevision) -> None:
        blobs = _flag(_query(exchange), "blobs")
        await exchange.answer_json(mirror_json.model(revision, blobs=blobs))

    async def _refs(self, exchange: Exchange, _: Ask, revision: OfferedRevision) -> None:
        await exchange.answer_json(mirror_json.refs(revision))

    async def _commits(self, exchange: Exchange, _: Ask, revision: OfferedRevision) -> None:
        await exchange.answer_json(mirror_json.commits(revision))

    async def _tree(self, exchange: Exchange, ask: Ask, revision: OfferedRevision) -> None:
        query = _query(exchange)
        found = mirror_json.tree(
            revision,
            ask.path,
            recursive=_flag(query, "recursive"),
            expand=_flag(query, "expand"),
        )
        if found is None:
            raise _absent(exchange, "EntryNotFound", f"{_named(revision)} has no such folder")
        await exchange.answer_json(found)

    async def _paths_info(self, exchange: Exchange, _: Ask, revision: OfferedRevision) -> None:
        body = await exchange.body(_MAX_BODY)
        if exchange.headers.get(b"content-type", b"").startswith(b"application/json"):
            try:
                paths = orjson.loads(body)["paths"]
            except (ValueError, KeyError, TypeError):
                paths = []
        else:
            paths = parse_qs(body.decode("utf-8", "replace")).get("paths", [])
        asked = [paths] if isinstance(paths, str) else paths if isinstance(paths, list) else []
        named = [path.strip("/") for path in asked if isinstance(path, str)]
        await exchange.answer_json(mirror_json.paths_info(revision, named))

    async def _manifest(self, exchange: Exchange, ask: Ask, revision: OfferedRevision) -> None:
        found = mirror_json.manifest(revision, ask.path)
        if found is None:
            raise _absent(
                exchange, "EntryNotFound", f"{_named(revision)} has no GGUF file of that kind"
            )
        await exchange.answer_json(found)

    async def _file(self, exchange: Exchange, ask: Ask, revision: OfferedRevision) -> None:
        file = revision.files.get(ask.path)
        if file is None:
            raise _absent(exchange, "EntryNotFound", f"{_named(revision)} has no such file here")
        etag = b'"%s"' % file.etag.encode()
        size = str(file.bytes).encode()
        headers: list[Header] = [
            (b"etag", etag),
            (b"x-linked-etag", etag),
            (b"x-linked-size", size),
            (b"x-repo-commit", revision.revision.encode()),
            *_FILE_HEADERS,
        ]
        part = Span(0, file.bytes)
        status = 200
        if exchange.scope["method"] == "GET":
            try:
                wanted = span(exchange.headers, file.bytes, etag)
            except ValueError:
                headers.append((b"content-range", b"bytes */" + size))
                await exchange.answer_file(416, headers, -1, 0, 0, self._count)
                return
            if wanted is not None:
                part, status = wanted, 206
                last = part.offset + part.count - 1
                headers.append((b"content-range", b"bytes %d-%d/%s" % (part.offset, last, size)))
        opened = await asyncio.to_thread(_open, file)
        try:
            self.answers += 1
            await exchange.answer_file(
                status, headers, opened, part.offset, part.count, self._count
            )
        finally:
            os.close(opened)

    def _count(self, sent: int) -> None:
        self.sent += sent


def _models(offer: Offer, query: dict[str, list[str]]) -> list[mirror_json.Json]:
    """The newest revision of each repository that `author` and `search` leave."""
    author = query.get("author", [""])[-1].casefold()
    search = query.get("search", [""])[-1].casefold()
    return [
        mirror_json.model(held[0])
        for name, held in offer.repositories.items()
        if search in name.casefold() and author in ("", name.casefold().partition("/")[0])
    ]


def _check_method(exchange: Exchange, ask: Ask) -> None:
    allowed = ("POST",) if ask.what == "paths-info" else ("GET", "HEAD")
    if exchange.scope["method"] not in allowed:
        exchange.answer_headers.append((b"allow", ", ".join(allowed).encode()))
        raise MethodNotAllowed(
            f"{exchange.scope['method']} is not allowed here", next_step="The mirror is read-only"
        )


def _revision(exchange: Exchange, ask: Ask, offer: Offer) -> OfferedRevision:
    """The revision that is asked for. Raises NotFound, as the hub does."""
    revisions = offer.repository(ask.repository)
    if not revisions:
        names = list(offer.repositories)
        held = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        raise _absent(
            exchange,
            "RepoNotFound",
            f"{ask.repository[:128]} is not held here",
            f"Held are: {held or 'none yet'}; `holdfast pull` fetches more",
        )
    found = chosen(revisions, ask.revision)
    if found is None:
        commits = ", ".join(one.revision for one in revisions[:_SHOWN])
        raise _absent(
            exchange,
            "RevisionNotFound",
            f"{revisions[0].repository} has no revision {ask.revision[:64]} here",
            f"Held are: {commits}",
        )
    return found


def _open(file: OfferedFile) -> int:
    """A descriptor of the file. Raises StoreError if it is not as its receipt says: what is known
    to be damaged is not passed on."""
    problem = "it is missing"
    try:
        opened = os.open(file.location, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        pass
    except OSError as error:
        problem = error.strerror or str(error)
    else:
        status = os.fstat(opened)
        if stat.S_ISREG(status.st_mode) and status.st_size == file.bytes:
            return opened
        os.close(opened)
        problem = f"it has {status.st_size} bytes in place of {file.bytes}"
    raise StoreError(
        f"{file.path} is damaged here", why=problem, next_step="Run `holdfast verify --repair`"
    )


def _absent(exchange: Exchange, code: str, what: str, next_step: str = "") -> NotFound:
    exchange.answer_headers.append((b"x-error-code", code.encode()))
    return NotFound(what, next_step=next_step)


def _named(revision: OfferedRevision) -> str:
    return f"{revision.repository} at {revision.revision[:12]}"


def _query(exchange: Exchange) -> dict[str, list[str]]:
    return parse_qs(exchange.scope["query_string"].decode("ascii", "replace"))


def _flag(query: dict[str, list[str]], name: str) -> bool:
    return query.get(name, ["false"])[-1].lower() in ("true", "1")
