"""What became, at the hub, of what the store holds. Only asks; nothing that is held changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from server.errors import HubError, NotOnHub, StoreError
from server.store.hub import Hub, Listing
from server.store.receipt import Held, Receipt

State = Literal["same", "moved", "changed", "gone", "unreachable"]
_WEIGHTS = (".safetensors", ".gguf")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sighting:
    """One revision that is held, and what the hub says of it.

    `same`: it is what `main` is, or the store holds what `main` is as well. `moved`: `main` is a
    commit that the store does not hold. `changed`: other files under the same revision, which must
    never be. `gone`: the hub has the repository or the revision no more.
    """

    repository: str
    revision: str
    state: State
    why: str
    main: str | None = None
    """The commit that `main` is."""


def watch(receipts: Sequence[Receipt], hub: Hub) -> Iterator[Sighting]:
    """Ask the hub about each, one after the other; each repository's `main` once."""
    held = {(one.repository, one.revision) for one in receipts}
    mains: dict[str, Listing | HubError] = {}
    for receipt in receipts:
        if receipt.repository not in mains:
            mains[receipt.repository] = _ask(hub, receipt.repository, None)
        main = mains[receipt.repository]
        pinned = main
        if isinstance(main, Listing) and main.revision != receipt.revision:
            pinned = _ask(hub, receipt.repository, receipt.revision)
        holds_main = isinstance(main, Listing) and (main.repository, main.revision) in held
        yield sighted(receipt, main, pinned, holds_main=holds_main)


def sighted(
    receipt: Receipt, main: Listing | HubError, pinned: Listing | HubError, *, holds_main: bool
) -> Sighting:
    """What the hub's answers about `main` and about the revision itself mean. Pure."""
    commit = main.revision if isinstance(main, Listing) else None

    def seen(state: State, why: str) -> Sighting:
        return Sighting(receipt.repository, receipt.revision, state, why, commit)

    if isinstance(pinned, NotOnHub):
        what = "the revision" if isinstance(main, Listing) else "the repository"
        return seen("gone", f"the hub has {what} no more, or shows it to nobody without a token")
    if isinstance(pinned, HubError):
        return seen("unreachable", pinned.sentence)
    if others := _others(receipt.files, pinned):
        return seen("changed", f"under the same revision: {_listed(others)}")
    if isinstance(main, HubError) or main.revision == receipt.revision:
        return seen("same", "it is what main is" if commit else "the revision is still there")
    if holds_main:
        return seen("same", f"main is {main.revision[:12]}, which is held too")
    return seen("moved", f"main is {main.revision[:12]} now: {_news(receipt.files, main)}")


def _ask(hub: Hub, repository: str, revision: str | None) -> Listing | HubError:
    try:
        return hub.listing(repository, revision)
    except HubError as error:
        return error
    except StoreError as error:  # a file name that no folder can take
        return HubError(error.what, why=error.why)


def _others(files: Iterable[Held], listing: Listing) -> list[str]:
    """Files that are held and that the listing has otherwise, or has not.

    What Holdfast added itself, the licence's text, has no place at the hub.
    """
    theirs = {one.path: one for one in listing.files}
    found = []
    for held in files:
        remote = theirs.get(held.path)
        if remote is None:
            if held.path != "LICENSE":
                found.append(f"{held.path} is gone")
        elif remote.sha256 is not None:
            if remote.sha256 != held.sha256:
                found.append(f"{held.path} is another one")
        elif held.git_oid is not None and not held.lfs and remote.git_oid != held.git_oid:
            found.append(f"{held.path} is another one")
    return found


def _news(files: Iterable[Held], main: Listing) -> str:
    """What of the files that are held is otherwise there."""
    changed = _others(files, main)
    if not changed:
        return "the files that are held are the same there"
    if not any(text.partition(" ")[0].endswith(_WEIGHTS) for text in changed):
        return f"the weights are the same; {_listed(changed)}"
    return _listed(changed)


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return "; ".join(texts[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
