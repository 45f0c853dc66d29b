"""Who can give back a file that was lost: the store and its copies, ModelScope, the hub.

A file is known by its sha256 alone, so it may come from another revision, or under another name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server.catalogue import Catalogue
from server.errors import ConfigError, HoldfastError
from server.settings import Settings
from server.store import hub, modelscope
from server.store.admission import APACHE
from server.store.copies.copy import Inventory, folder_of, inventory, open_copy
from server.store.copies.delivery import Source, open_at
from server.store.copies.folder import Folder
from server.store.copies.place import Place
from server.store.digest import sha256_of
from server.store.hub import Hub, Listing, Remote
from server.store.modelscope import ModelScope
from server.store.receipt import Held
from server.store.transfer.want import Url
from server.store.verify import Claim

_ATTEMPTS = 2  # there are others to ask


@dataclass(frozen=True, slots=True)
class Offer:
    """Bytes that should be those of a file; whether they are is to be seen."""

    giver: str
    bytes: int
    open: Source


class Places:
    """The store and its copies. Each is looked at once; one out of reach offers nothing."""

    def __init__(
        self, places: Sequence[tuple[str, Place]], silent: Mapping[str, str] | None = None
    ) -> None:
        """Each with how messages call it, in the order in which they are asked; what is to be
        repaired lies in the first one."""
        self._places = tuple(places)
        self._seen: dict[str, Mapping[str, Sequence[tuple[str, Held]]]] = {}
        self.silent: dict[str, str] = dict(silent or {})
        """Why a place was out of reach, by its name."""

    def __iter__(self) -> Iterator[tuple[str, Place]]:
        return iter(self._places)

    def offers(self, claim: Claim, besides: Collection[str]) -> Iterator[Offer]:
        """Files of this content by the receipts; `besides` are the files known to be bad, as
        `org/name/revision/path`, where the repaired one lies."""
        sha256 = claim.expected.sha256
        for number, (name, place) in enumerate(self._places):
            for path, held in self._holding(name, place, sha256):
                if number or path not in besides:
                    giver = name if path == claim.key else f"{name} ({path})"
                    yield Offer(giver, held.bytes, partial(place.open, path))
        if sha256 == sha256_of(APACHE):  # the text that a pull adds where the hub has none
            size = APACHE.stat().st_size
            yield Offer("the text that Holdfast has", size, partial(open_at, APACHE))

    def _holding(self, name: str, place: Place, sha256: str) -> Sequence[tuple[str, Held]]:
        if name not in self._seen:
            self._seen[name] = {}
            try:
                place.reach()
                self._seen[name] = _by_sha256(inventory(place))
            except HoldfastError as error:
                self.silent[name] = error.what
        return self._seen[name].get(sha256, ())


def _by_sha256(seen: Inventory) -> dict[str, list[tuple[str, Held]]]:
    """Content -> the paths where it lies with the right size, by the receipts."""
    found: dict[str, list[tuple[str, Held]]] = {}
    for receipt in seen.receipts.values():
        folder = folder_of(receipt)
        for held in receipt.files:
            if seen.size(folder, held) == held.bytes:
                found.setdefault(held.sha256, []).append((f"{folder}/{held.path}", held))
    return found


class Upstream:
    """ModelScope and the hub, of whose files the digests are asked before any byte is fetched."""

    def __init__(
        self, sources: Sequence[Hub | ModelScope], aliases: Mapping[str, str] | None = None
    ) -> None:
        """`sources` in the order in which they are asked; `aliases` are the names at ModelScope of
        repositories that have another one there."""
        self.sources = tuple(sources)
        self._aliases = aliases or {}
        self._told: dict[tuple[str, str, str], Listing | HoldfastError] = {}

    def offers(self, claim: Claim) -> tuple[tuple[Url, ...], int, tuple[str, ...]]:
        """Where the file can be had, its bytes, and why it cannot be had from the others."""
        urls, refusals, size = [], [], 0
        for source in self.sources:
            name = claim.volume.repository
            if isinstance(source, ModelScope):
                name = self._aliases.get(name, name)
            listing = self._listing(source, name, claim.volume.revision)
            if isinstance(listing, HoldfastError):
                refusals.append(f"{listing.what}: {listing.why}" if listing.why else listing.what)
                continue
            found = next((one for one in listing.files if one.path == claim.expected.path), None)
            if found is None or not _matches(found, claim):
                has = "has no such file" if found is None else "has another file of this name"
                refusals.append(f"{source.title} {has}")
                continue
            size = found.bytes
            urls.append(_url(source, name, claim))
        return tuple(urls), size, tuple(refusals)

    def _listing(
        self, source: Hub | ModelScope, name: str, revision: str
    ) -> Listing | HoldfastError:
        where = f"{type(source).__name__} {source.endpoint}"
        unreachable = self._told.get((where, "", ""))
        if unreachable is not None:
            return unreachable
        key = (where, name, revision)
        if key not in self._told:
            try:
                self._told[key] = source.listing(name, revision)
            except HoldfastError as error:
                lasting = error.retry_after is None
                self._told[key if lasting else (where, "", "")] = error
                return error
        return self._told[key]


def places(settings: Settings, copies: Sequence[str], root: Path) -> Places:
    """Where the files below `root` may be taken from: there itself, the store, the copies."""
    found: dict[Path | str, tuple[str, Place]] = {root: ("the same folder", Folder(root))}
    if settings.models.is_dir():
        found.setdefault(settings.models, ("the store", Folder(settings.models)))
    silent = {}
    for address in copies:
        where = address if address.startswith("s3://") else Path(address).expanduser().absolute()
        try:
            found.setdefault(where, (f"the copy {address}", open_copy(address).place))
        except ConfigError as error:  # a bucket without s3fs; the others are asked all the same
            silent[address] = error.what
    return Places(list(found.values()), silent)


def upstream(settings: Settings, catalogue: Catalogue) -> Upstream | None:
    """ModelScope, then the hub, of those that `[store] sources` names; None where offline."""
    if settings.offline:
        return None
    store = catalogue.store
    scope = ModelScope(settings.modelscope_endpoint or modelscope.ENDPOINT, attempts=_ATTEMPTS)
    endpoint = settings.hub_endpoint or store.hub or hub.ENDPOINT
    known: list[tuple[str, Hub | ModelScope]] = [
        ("modelscope", scope),
        ("huggingface", Hub(endpoint, settings.hub_token, attempts=_ATTEMPTS)),
    ]
    aliases = {
        build.repository: build.modelscope
        for model in catalogue.models.values()
        for build in model.builds
        if build.repository and build.modelscope
    }
    return Upstream([one for name, one in known if name in store.sources], aliases)


def _matches(remote: Remote, claim: Claim) -> bool:
    """Whether the digests agree as far as both are known; the bytes themselves are hashed later."""
    if remote.sha256 is not None:
        return remote.sha256 == claim.expected.sha256
    return claim.git_oid in (None, remote.git_oid)


def _url(source: Hub | ModelScope, name: str, claim: Claim) -> Url:
    if isinstance(source, Hub):
        return source.url(name, claim.volume.revision, claim.expected.path)
    return source.url(name, claim.expected.path)
