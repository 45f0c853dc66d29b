"""ModelScope, where most repositories have the same id: a second source, compared by sha256.

Its one branch is `master`, and its commits are not the hub's: that two revisions are the same can
only be seen from the digests of their files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from server.errors import HubError
from server.store import listing as listings
from server.store.asking import ATTEMPTS, busy, persistently, require_online, unreachable
from server.store.listing import Listing, Remote, nonsense, require_repository
from server.store.transfer.want import Url

ENDPOINT = "https://modelscope.cn"


@dataclass(frozen=True, slots=True)
class ModelScope:
    endpoint: str = ENDPOINT
    offline: bool = False
    attempts: int = ATTEMPTS

    @property
    def title(self) -> str:
        """For messages."""
        return "ModelScope" if self.endpoint == ENDPOINT else self.endpoint

    def listing(self, repository: str, revision: str) -> Listing:
        """The files of `master` now, under the hub's `revision` that they are to be compared with.

        Raises HubError as `Hub.listing` does, and StoreError for a name that no folder can take.
        """
        require_online(self.offline, repository)
        require_repository(repository)
        answer = persistently(lambda: self._ask(repository), self.attempts)
        return Listing(repository, revision, read_files(answer, repository, self.endpoint))

    def url(self, repository: str, path: str) -> Url:
        """Where the bytes of a file are."""
        url = f"{self.endpoint}/models/{repository}/resolve/master/{quote(path)}"
        return Url(url, name=self.title)

    def _ask(self, repository: str) -> Any:
        import httpx2

        from server.store.bounded_client import bounded_client

        url = f"{self.endpoint}/api/v1/models/{repository}/repo/files"
        try:
            with bounded_client() as client:
                reply = client.get(url, params={"Revision": "master", "Recursive": "true"})
        except httpx2.HTTPError as error:
            raise unreachable(self.endpoint, error) from None
        if reply.status_code != 200:
            later = busy(self.endpoint, reply.status_code, reply.headers.get("Retry-After"))
            raise later or HubError(
                f"{self.endpoint} does not give {repository}",
                why=f"it answered {reply.status_code}",
                next_step="Check that it is there under the same name",
            )
        try:
            return reply.json()
        except ValueError as error:
            raise nonsense(self.endpoint, repository, str(error)) from None


def read_files(answer: Any, repository: str, endpoint: str) -> tuple[Remote, ...]:
    """The files in ModelScope's answer, if it can be true. Raises HubError and StoreError."""
    try:
        rows = [row for row in answer["Data"]["Files"] if row["Type"] != "tree"]
        files = [
            listings.remote(row["Path"], row["Size"], row["Sha256"] or None, None, endpoint)
            for row in rows
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise nonsense(endpoint, repository, f"it is no list of files ({error})") from None
    return listings.in_order(files, repository, endpoint)
