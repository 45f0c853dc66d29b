"""What a Hugging Face hub says about a repository: its commit, its files, their sizes and digests.

Asked through huggingface_hub, whose answer is checked here before anything believes it. The bytes
of the files come another way, see `transfer`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from server import __version__
from server.catalogue.catalogue import shorten
from server.errors import HubError, NotOnHub
from server.store.asking import ATTEMPTS, busy, persistently, require_online, unreachable
from server.store.listing import (
    COMMIT,
    Listing,
    Remote,
    in_order,
    nonsense,
    remote,
    require_repository,
)
from server.store.transfer.want import Url

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

__all__ = ["ENDPOINT", "Hub", "Listing", "Remote", "read_listing"]

ENDPOINT = "https://huggingface.co"

_LICENCE = re.compile(r"[A-Za-z0-9.+-]{1,64}")


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
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        from server.store.bounded_client import TIMEOUT, bounded_client, put_into_library

        put_into_library(bounded_client)
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
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise nonsense(endpoint, repository, "it names no commit")
    if revision is not None and COMMIT.fullmatch(revision) and commit != revision:
        raise nonsense(endpoint, repository, f"asked for {revision}, it describes {commit}")
    files = (
        remote(sibling.rfilename, sibling.size, _digest(sibling.lfs), sibling.blob_id, endpoint)
        for sibling in info.siblings or ()
    )
    # A hub takes a name in any case, and says how it is written.
    said = info.id if isinstance(info.id, str) else ""
    name = said if said.casefold() == repository.casefold() else repository
    return Listing(name, commit, in_order(files, repository, endpoint), _licence(info))


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
