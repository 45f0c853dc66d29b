"""A repository at the fake hub, and the transfer that fetches it in small segments."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from server.store.transfer import Event, Fetched, Progress, Retrying, Url, Want, fetch
from server.store.transfer.pace import Patience
from tests.fakes.hub_repositories import HubFile, Repositories
from tests.fakes.hub_running import FakeHub, running_hub

NAME = "org/model"
TOKEN = "hf_secret_of_the_tests"
SEGMENT = 64 * 1024
LARGE = "model.safetensors"
SMALL = "config.json"


@dataclass(slots=True)
class Repository:
    hub: FakeHub
    files: Mapping[str, HubFile]
    commit: str
    folder: Path
    """Where parts go."""
    events: list[Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, hub: FakeHub | None = None, name: str = "the hub") -> Url:
        where = f"{(hub or self.hub).url}/{NAME}/resolve/{self.commit}/{quote(path)}"
        return Url(where, {"Authorization": f"Bearer {TOKEN}"}, name)

    def scope(self, path: str) -> Url:
        """The same file at ModelScope."""
        return Url(f"{self.hub.url}/models/{NAME}/resolve/master/{quote(path)}", {}, "the scope")

    def want(self, path: str, *urls: Url) -> Want:
        file = self.files[path]
        part = self.folder / f"{path}.part"
        return Want(path, part, file.bytes, file.sha256, file.git_oid, urls or (self.url(path),))

    def fetch(self, *wants: Want, **more: Any) -> tuple[Fetched, ...]:
        options: dict[str, Any] = {
            "jobs": 4, "limit_rate": None, "on_event": self.events.append, "stop": self.stop,
            "user_agent": "holdfast/test", "segment": SEGMENT, "stall": 0.4, "environment": {},
            "patience": Patience(tries=5, first=0.01, longest=0.05),
        }  # fmt: skip
        return fetch(wants or [self.want(path) for path in self.files], **(options | more))

    def assert_right(self, *paths: str) -> None:
        """These files, or all, are there byte for byte, and nothing else is."""
        asked = paths or tuple(self.files)
        for path in asked:
            part = self.folder / f"{path}.part"
            assert part.read_bytes() == self.files[path].location.read_bytes(), path
        left = {one.name for one in self.folder.rglob("*") if one.is_file()}
        assert left == {f"{Path(path).name}.part" for path in asked}

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def whys(self) -> str:
        return "; ".join(event.why for event in self.events if isinstance(event, Retrying))

    def told(self, path: str) -> int:
        """The last progress of a file."""
        return [one.bytes for one in self.events if isinstance(one, Progress) and one.path == path][
            -1
        ]


def contents(size: int) -> dict[str, bytes]:
    noise = random.Random(7)
    return {
        LARGE: noise.randbytes(size),
        "model-2.safetensors": noise.randbytes(5 * SEGMENT),
        SMALL: b'{"model_type": "qwen3_5"}\n',
        "folder/with space.txt": b"text\n" * 100,
        "empty.txt": b"",
    }


def write_repository(root: Path, size: int = 30 * SEGMENT + 17) -> None:
    for path, data in contents(size).items():
        file = root / NAME / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@pytest.fixture(scope="package")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeHub, Path]]:
    root = tmp_path_factory.mktemp("hub")
    write_repository(root)
    with running_hub(root) as hub:
        yield hub, root


@pytest.fixture
def repository(serving: tuple[FakeHub, Path], tmp_path: Path) -> Iterator[Repository]:
    """At a hub without faults and with an empty log."""
    hub, root = serving
    revision = Repositories(root).revision(NAME, "main")
    assert revision is not None
    hub.mend()
    hub.log(clear=True)
    yield Repository(hub, revision.files, revision.commit, tmp_path / "incoming")
    hub.mend()
