"""What a Hugging Face hub says about a repository: its commit, its files, their sizes and digests.

Asked through huggingface_hub, whose answer is checked here before anything believes it. The bytes
of the files come another way, see `transfer`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from server import __version__
from server.catalogue.catalogue import shorten
from server.errors import HubError, NotOnHub
from server.store.naming import checked
from server.store.transfer.want import Url

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

ENDPOINT = "https://huggingface.co"
ATTEMPTS = 5

_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LICENCE = re.compile(r"[A-Za-z0-9.+-]{1,64}")
_MOST_FILES = 100_000
_LONGEST_WAIT = 120  # seconds, whatever Retry-After says
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as a hub describes it. One of `sha256` and `git_oid` is always known."""

    path: str
    """Checked: it can be joined to a folder."""
    bytes: int
    sha256: str | None = None
    """Of LFS files; ModelScope tells it of every file."""
    git_oid: str | None = None
    """Of the git blob: for LFS files that of the pointer."""


@dataclass(frozen=True, slots=True)
class Listing:
    repository: str
    revision: str
    """40 hexadecimal digits; ModelScope has none and is given what was asked for."""
    files: tuple[Remote, ...]
    """Sorted by path."""
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class Hub:
    endpoint: str = ENDPOINT
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    attempts: int = ATTEMPTS
    """How often a hub that is busy or out of reach is asked, with growing pauses."""

    @property
    def title(self) -> str:
        """For messages."""
        return "Hugging Face" if self.endpoint == ENDPOINT else self.endpoint

    def listing(self, repository: str, revision: str | None) -> Listing:
        """The files of `revision`, of `main` where it is None.

        Raises HubError if the hub cannot be reached, refuses, or answers with what cannot be true;
        StoreError for a file name that no folder can take.
        """
        require_online(self.offline, repository)
        require_repository(repository)
        return persistently(lambda: self._ask(repository, revision), self.attempts)

    def url(self, repository: str, revision: str, path: str) -> Url:
        """Where the bytes of a file are; the token goes with it."""
        url = f"{self.endpoint}/{repository}/resolve/{quote(revision, safe='')}/{quote(path)}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return Url(url, headers, self.title)

    def _ask(self, repository: str, revision: str | None) -> Listing:
        # Imported here: together they take half a second.
        import httpx2
        from huggingface_hub import HfApi, set_client_factory
        from huggingface_hub.errors import HfHubHTTPError

        from server.store.bounded_client import TIMEOUT, bounded_client

        set_client_factory(bounded_client)
        # token=False and not None: None would have the library look for one by itself.
        api = HfApi(
            self.endpoint,
            token=self.token or False,
            library_name="holdfast",
            library_version=__version__,
        )
        try:
            info = api.model_info(
                repository, revision=revision, files_metadata=True, timeout=TIMEOUT
            )
        except HfHubHTTPError as error:
            raise _refused(self.endpoint, repository, revision, error) from None
        except httpx2.HTTPError as error:
            raise unreachable(self.endpoint, error) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise nonsense(self.endpoint, repository, str(error)) from None
        return read_listing(info, repository, revision, self.endpoint)


def read_listing(info: ModelInfo, repository: str, revision: str | None, endpoint: str) -> Listing:
    """The hub's answer, if it can be true. Raises HubError and StoreError."""
    commit = info.sha
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise nonsense(endpoint, repository, "it names no commit")
    if revision is not None and _COMMIT.fullmatch(revision) and commit != revision:
        raise nonsense(endpoint, repository, f"asked for {revision}, it describes {commit}")
    files = (
        remote(sibling.rfilename, sibling.size, _digest(sibling.lfs), sibling.blob_id, endpoint)
        for sibling in info.siblings or ()
    )
    return Listing(repository, commit, in_order(files, repository, endpoint), _licence(info))


def remote(path: Any, size: Any, sha256: Any, git_oid: Any, endpoint: str) -> Remote:
    """One file of a listing, checked. Raises HubError, and StoreError for its name."""
    if not isinstance(path, str):
        raise nonsense(endpoint, "", "a file has no name")
    checked(path)
    told = f"of {shorten(path)} it tells"
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise nonsense(endpoint, "", f"{told} no size")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise nonsense(endpoint, "", f"{told} a sha256 that is none")
    if git_oid is not None and not (isinstance(git_oid, str) and _COMMIT.fullmatch(git_oid)):
        raise nonsense(endpoint, "", f"{told} a git id that is none")
    if sha256 is None and git_oid is None:
        raise nonsense(endpoint, "", f"{told} neither sha256 nor git id")
    return Remote(path, size, sha256, git_oid)


def in_order(files: Iterable[Remote], repository: str, endpoint: str) -> tuple[Remote, ...]:
    """Sorted by path. Raises HubError for too many files, none, and one told of twice."""
    found: dict[str, Remote] = {}
    for file in files:
        if file.path in found:
            raise nonsense(endpoint, repository, f"it tells of {shorten(file.path)} twice")
        if len(found) == _MOST_FILES:
            raise nonsense(endpoint, repository, f"it lists more than {_MOST_FILES} files")
        found[file.path] = file
    if not found:
        raise nonsense(endpoint, repository, "it lists no files")
    return tuple(found[path] for path in sorted(found))


def persistently(ask: Callable[[], _T], attempts: int = ATTEMPTS) -> _T:
    """What `ask` returns, tried again while its HubError says that this may help."""
    for attempt in range(attempts):
        try:
            return ask()
        except HubError as error:
            if error.retry_after is None or attempt + 1 == attempts:
                raise
            pause = max(float(error.retry_after), 0.5 * 2**attempt)
            time.sleep(min(_LONGEST_WAIT, pause * random.uniform(1, 1.25)))  # noqa: S311
    raise AssertionError("attempts is at least 1")


def require_online(offline: bool, repository: str) -> None:
    if offline:
        raise HubError(
            f"{repository} was not asked for",
            why="HF_HUB_OFFLINE is set, so no hub is",
            next_step="Unset HF_HUB_OFFLINE to pull",
        )


def require_repository(name: str) -> None:
    """Raises HubError unless `name` is `org/name` in letters that may stand in a path and a URL."""
    if not _REPOSITORY.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise HubError(
            f"{shorten(ascii(name))} is no repository", next_step='Name it as "org/name"'
        )


def unreachable(endpoint: str, error: Exception) -> HubError:
    return HubError(
        f"{endpoint} cannot be reached",
        why=shorten(str(error) or type(error).__name__, 200),
        next_step="Check the network, the proxy (HTTPS_PROXY) and HF_ENDPOINT",
        retry_after=0,
    )


def nonsense(endpoint: str, repository: str, why: str) -> HubError:
    about = f" about {repository}" if repository else ""
    return HubError(
        f"what {endpoint} says{about} cannot be true",
        why=shorten(why.splitlines()[0] if why else "", 200),
        next_step="Check that HF_ENDPOINT is the address of a hub",
    )


def busy(endpoint: str, status: int, retry_after: str | None) -> HubError | None:
    """The error for a status after which the same may succeed a little later; else None."""
    if status != 429 and status < 500:
        return None
    seconds = int(retry_after) if retry_after and re.fullmatch(r"\d{1,5}", retry_after) else 0
    what = "asks for a pause" if status == 429 else "is out of order"
    return HubError(
        f"{endpoint} {what}",
        why=f"it answered {status}",
        next_step="Try again later: the same command goes on where it was",
        retry_after=seconds,
    )


def _refused(endpoint: str, repository: str, revision: str | None, error: Any) -> HubError:
    """An HfHubHTTPError in our words; the library's own text may carry what the hub sent."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = error.response.status_code
    if isinstance(error, RevisionNotFoundError):
        return NotOnHub(
            f"{repository} has no revision {shorten(revision or 'main')} at {endpoint}",
            why="it may have been removed there",
            next_step="Pull another revision, or restore this one from a copy",
        )
    if isinstance(error, GatedRepoError):
        return HubError(
            f"{repository} is gated",
            why=f"{endpoint} gives it to accounts that accepted its terms",
            next_step="Accept them on its page, then set HF_TOKEN to a token of that account",
        )
    if status in (401, 403, 404):
        # A hub says 401 of what is not there, too, so as not to tell what is private.
        kind = NotOnHub if isinstance(error, RepositoryNotFoundError) else HubError
        return kind(
            f"{endpoint} does not give {repository}",
            why="it is not there any more, was never there, or is private",
            next_step="Check the name; for a private repository set HF_TOKEN",
        )
    later = busy(endpoint, status, error.response.headers.get("Retry-After"))
    return later or HubError(f"{endpoint} refuses {repository}", why=f"it answered {status}")


def _digest(lfs: Any) -> Any:
    return None if lfs is None else lfs.sha256


def _licence(info: ModelInfo) -> str | None:
    said = info.card_data.get("license") if info.card_data else None
    if isinstance(said, str) and _LICENCE.fullmatch(said):
        return said.lower()
    return None
