"""The hub's routes over real connections, with a store on the disk behind them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import uvicorn
from yarl import URL

from server.errors import EngineUnready
from server.ledger.keys import KeyBook
from server.store.digest import blob_oid
from server.store.offering import Offering
from server.web.acceptor import Server
from server.web.app import App, mirror_routes
from server.web.listen import listen
from server.web.mirror import Mirror

NEW, OLD = "fedc" + "b" * 36, "0123" + "a" * 36
FILE = "/hf/Org/Name/resolve/main/config.json"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Hub:
    def __init__(self, app: App, mirror: Mirror, book: KeyBook, root: str) -> None:
        self.app, self.mirror, self.book, self.root = app, mirror, book, root
        self.session: aiohttp.ClientSession

    async def ask(self, path: str, method: str = "GET", **options: Any) -> Answer:
        url = URL(self.root + path, encoded=True)
        async with self.session.request(method, url, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@contextlib.asynccontextmanager
async def hub(models: Path) -> AsyncIterator[Hub]:
    mirror, book = Mirror(Offering(models)), KeyBook(models.parent / "keys.json")
    app = App(book, mirror_routes(mirror))
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
    server = Server(config)
    running = asyncio.create_task(server.serve([sock]))
    found = Hub(app, mirror, book, f"http://127.0.0.1:{sock.getsockname()[1]}")
    try:
        async with aiohttp.ClientSession() as found.session:
            yield found
    finally:
        server.should_exit = server.force_exit = True
        await running


async def test_a_file_is_told_and_sent_as_the_hub_does(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        for path, content in stocked.contents.items():
            sha256 = hashlib.sha256(content).hexdigest()
            etag = f'"{sha256 if path == "UD/large.txt" else blob_oid(content)}"'
            for method in ("HEAD", "GET"):
                answer = await found.ask(f"/hf/Org/Name/resolve/main/{quote(path)}", method)
                assert answer.status == 200
                assert answer.headers["etag"] == answer.headers["x-linked-etag"] == etag
                assert answer.headers["content-length"] == str(len(content))
                assert answer.headers["x-linked-size"] == str(len(content))
                assert answer.headers["x-repo-commit"] == NEW
                assert answer.headers["accept-ranges"] == "bytes"
                assert answer.headers["content-type"] == "application/octet-stream"
                assert "content-encoding" not in answer.headers
                assert answer.body == (content if method == "GET" else b"")
        assert found.mirror.sent == sum(len(content) for content in stocked.contents.values())


async def test_a_part_of_a_file(stocked: Any) -> None:
    content = stocked.contents["UD/large.txt"]
    path = "/hf/Org/Name/resolve/main/UD/large.txt"
    async with hub(stocked.models) as found:

        async def part(asked: str, **headers: str) -> tuple[int, str | None, bytes]:
            answer = await found.ask(path, headers={"range": asked} | headers)
            assert answer.headers["content-length"] == str(len(answer.body))
            return answer.status, answer.headers.get("content-range"), answer.body

        size = len(content)
        assert await part("bytes=5-9") == (206, f"bytes 5-9/{size}", content[5:10])
        last = f"bytes {size - 3}-{size - 1}/{size}"
        assert await part("bytes=-3") == (206, last, content[-3:])
        assert await part(f"bytes={size - 3}-") == (206, last, content[-3:])
        assert await part(f"bytes={size}-") == (416, f"bytes */{size}", b"")
        assert await part("bytes=1-2,4-5") == (200, None, content)
        assert await part("bytes=5-9", **{"if-range": '"other"'}) == (200, None, content)
        etag = (await found.ask(path, "HEAD")).headers["etag"]
        assert (await part("bytes=5-9", **{"if-range": etag}))[0] == 206
        # A Range has no meaning for HEAD (RFC 9110, 14.2).
        head = await found.ask(path, "HEAD", headers={"range": "bytes=5-9"})
        assert (head.status, head.headers["content-length"]) == (200, str(size))


async def test_a_revision_may_be_main_a_commit_or_its_beginning(stocked: Any) -> None:
    commits = {"main": NEW, NEW: NEW, OLD: OLD, "0123": OLD, "fedcb": NEW}
    async with hub(stocked.models) as found:
        for revision, commit in commits.items():
            answer = await found.ask(f"/hf/Org/Name/resolve/{revision}/config.json")
            assert answer.headers["x-repo-commit"] == commit
            assert ("old" in answer.text) == (commit == OLD)
            for path in (f"revision/{revision}", f"tree/{revision}", f"commits/{revision}"):
                assert (await found.ask(f"/hf/api/models/Org/Name/{path}")).status == 200
            info = await found.ask(f"/hf/api/models/Org/Name/revision/{revision}")
            assert info.json["sha"] == commit


async def test_the_api_tells_of_the_newest_revision(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        info = (await found.ask("/hf/api/models/Org/Name?blobs=true")).json
        assert info["sha"] == NEW
        assert {one["rfilename"] for one in info["siblings"]} == set(stocked.contents)
        assert any("lfs" in one for one in info["siblings"])
        refs = (await found.ask("/hf/api/models/Org/Name/refs")).json
        assert refs["branches"][0]["targetCommit"] == NEW
        models = (await found.ask("/hf/api/models")).json
        assert [one["id"] for one in models] == ["Org/Name"]
        tree = (await found.ask("/hf/api/models/Org/Name/tree/main?recursive=True")).json
        assert {one["path"] for one in tree} == {*stocked.contents, "UD", "a b+c%d?e#f"}
        flat = (await found.ask("/hf/api/models/Org/Name/tree/main")).json
        assert {one["path"] for one in flat} == {"UD", "a b+c%d?e#f", "config.json", "empty.txt"}


@pytest.mark.parametrize(
    "options",
    [
        {"data": [("paths", "config.json"), ("paths", "nowhere"), ("expand", "False")]},
        {"json": {"paths": ["config.json", "nowhere", 7]}},
        {"json": {"paths": "config.json"}},
    ],
    ids=["form", "json", "one"],
)
async def test_paths_info(stocked: Any, options: dict[str, Any]) -> None:
    async with hub(stocked.models) as found:
        answer = await found.ask("/hf/api/models/Org/Name/paths-info/main", "POST", **options)
        assert [one["path"] for one in answer.json] == ["config.json"]


async def test_paths_info_of_nothing_that_can_be_read(stocked: Any) -> None:
    url = "/hf/api/models/Org/Name/paths-info/main"
    async with hub(stocked.models) as found:
        for body in (b"", b"{", b"[]", b'{"paths": 3}', b"\xff\xfe", b"paths"):
            for kind in ("application/json", "application/x-www-form-urlencoded"):
                headers = {"content-type": kind}
                answer = await found.ask(url, "POST", data=body, headers=headers)
                assert (answer.status, answer.json) == (200, [])


ABSENT = [
    ("Org/Other/resolve/main/config.json", "RepoNotFound"),
    ("api/models/Org/Other", "RepoNotFound"),
    ("api/models/Org/Other/tree/main", "RepoNotFound"),
    ("Org%0d%0aX-Evil:%201/Name/resolve/main/config.json", "RepoNotFound"),
    ("../models/resolve/main/config.json", "RepoNotFound"),
    ("Org/Name/resolve/v1.0/config.json", "RevisionNotFound"),
    (f"Org/Name/resolve/{'0' * 40}/config.json", "RevisionNotFound"),
    ("api/models/Org/Name/revision/%2e%2e", "RevisionNotFound"),
    ("api/models/Org/Name/tree/nowhere", "RevisionNotFound"),
    ("Org/Name/resolve/main/absent.json", "EntryNotFound"),
    ("Org/Name/resolve/main/holdfast.json", "EntryNotFound"),
    ("Org/Name/resolve/main/SHA256SUMS", "EntryNotFound"),
    ("Org/Name/resolve/main/secret.txt", "EntryNotFound"),
    ("Org/Name/resolve/main/./config.json", "EntryNotFound"),
    ("Org/Name/resolve/main//config.json", "EntryNotFound"),
    (f"Org/Name/resolve/main/../{OLD}/config.json", "EntryNotFound"),
    ("Org/Name/resolve/main/..%2f..%2f..%2f..%2fkeys.json", "EntryNotFound"),
    ("Org/Name/resolve/main//etc/passwd", "EntryNotFound"),
    ("Org/Name/resolve/main/UD", "EntryNotFound"),
    ("api/models/Org/Name/tree/main/nowhere", "EntryNotFound"),
    ("v2/Org/Name/manifests/latest", "EntryNotFound"),
]


async def test_what_is_not_there_is_told_as_the_hub_does(stocked: Any) -> None:
    secret = stocked.models / "Org" / "Name" / NEW / "secret.txt"
    secret.write_text("no receipt names it")
    async with hub(stocked.models) as found:
        for path, code in ABSENT:
            for method in ("GET", "HEAD"):
                answer = await found.ask(f"/hf/{path}", method)
                assert (answer.status, answer.headers.get("x-error-code")) == (404, code), path
                assert "x-evil" not in answer.headers
        assert found.mirror.sent == 0


async def test_an_error_has_the_hub_s_form(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        answer = await found.ask("/hf/Org/Other/resolve/main/x")
        error = answer.json["error"]
        assert error.startswith("Org/Other is not held here. Held are: Org/Name")
        assert answer.headers["x-error-message"] == error
        nothing = await found.ask("/hf/nothing")
        assert (nothing.status, "error" in nothing.json) == (404, True)


async def test_it_is_read_only(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in (FILE, "/hf/api/models/Org/Name", "/hf/api/models"):
                assert (await found.ask(path, method)).status == 405
        assert (await found.ask(FILE, "OPTIONS")).status == 204
        assert (await found.ask("/hf/api/models/Org/Name/paths-info/main")).status == 405


async def test_models_can_be_searched(stocked: Any) -> None:
    stocked.put({"config.json": b"{}"}, "Qwen/Big-9B")
    stocked.put({"config.json": b"{}"}, "Qwen/Small-1B")
    expected = {
        "": ["Org/Name", "Qwen/Big-9B", "Qwen/Small-1B"],
        "?author=qwen": ["Qwen/Big-9B", "Qwen/Small-1B"],
        "?author=Q": [],
        "?search=-9b": ["Qwen/Big-9B"],
        "?search=big&author=Org": [],
    }
    async with hub(stocked.models) as found:
        for query, names in expected.items():
            answer = await found.ask(f"/hf/api/models{query}")
            assert [one["id"] for one in answer.json] == names


async def test_it_notices_what_is_pulled_meanwhile(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        assert (await found.ask("/hf/api/models/Org/More")).status == 404
        stocked.put({"config.json": b"{}"}, "Org/More")
        while (await found.ask("/hf/api/models/Org/More")).status != 200:
            await asyncio.sleep(0.05)


def shorten(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 1000)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [Path.unlink, shorten, link, make_folder, make_pipe])
async def test_what_is_known_to_be_damaged_is_not_passed_on(
    stocked: Any, damage: Callable[[Path], None]
) -> None:
    damage(stocked.models / "Org" / "Name" / NEW / "UD" / "large.txt")
    async with hub(stocked.models) as found:
        answer = await found.ask("/hf/Org/Name/resolve/main/UD/large.txt")
        assert answer.status == 503
        assert "is damaged here" in answer.json["error"]
        assert "verify --repair" in answer.json["error"]
        assert (await found.ask(FILE)).status == 200


async def test_without_a_key_only_programs_of_this_machine_are_answered(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        assert (await found.ask(FILE, headers={"host": "evil.example"})).status == 403
        assert (await found.ask(FILE, headers={"origin": "https://evil.example"})).status == 403
        assert (await found.ask(FILE, headers={"authorization": "Bearer hf_mine"})).status == 200


async def test_with_a_key_it_must_be_sent_as_a_token_or_as_a_password(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        key, text = found.book.create("laptop")
        refused = await found.ask(FILE)
        assert refused.status == 401
        # Clients begin with HEAD, whose answer has no body.
        assert "no API key was sent" in refused.headers["x-error-message"]
        assert "HF_TOKEN" in refused.json["error"]
        wrong = await found.ask(FILE, headers={"authorization": "Bearer hf_mine"})
        assert wrong.status == 401
        bearer = {"authorization": f"Bearer {text}"}
        assert (await found.ask(FILE, headers=bearer)).status == 200
        password = {"authorization": aiohttp.encode_basic_auth("anyone", text)}
        assert (await found.ask(FILE, headers=password)).status == 200
        name = {"authorization": aiohttp.encode_basic_auth(text, "x")}
        assert (await found.ask(FILE, headers=name)).status == 401
        who = (await found.ask("/hf/api/whoami-v2", headers=bearer)).json
        assert who["name"] == key.id
        found.book.revoke("laptop")
        assert (await found.ask(FILE, headers=bearer)).status == 401


async def test_nothing_but_the_hub_is_served(stocked: Any) -> None:
    async with hub(stocked.models) as found:
        assert (await found.ask("/livez")).status == 200
        for path in ("/v1/models", "/v1/chat/completions", "/admin/ps", "/readyz", "/", "/hf/"):
            assert (await found.ask(path)).status == 404


async def test_a_download_that_the_server_ends_is_a_broken_one(
    stocked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stocked.put({"large.txt": os.urandom(30_000_000)}, "Org/Large")
    content = (stocked.models / "Org" / "Large" / NEW / "large.txt").read_bytes()
    async with hub(stocked.models) as found:
        port = int(found.root.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /hf/Org/Large/resolve/main/large.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        assert found.app.active == 1
        with caplog.at_level(logging.WARNING):
            found.app.abort_all(EngineUnready("the server ends"))
            await found.app.idle()
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                got += piece
        assert len(got) < len(content)
        assert content.startswith(got)
        assert caplog.records == []
        writer.close()


async def test_a_file_of_a_megabyte_goes_to_many_at_once(stocked: Any) -> None:
    content = stocked.contents["UD/large.txt"]
    async with hub(stocked.models) as found:

        async def fetch(number: int) -> None:
            first, last = number * 1000, number * 20_000 + 7
            answer = await found.ask(
                "/hf/Org/Name/resolve/main/UD/large.txt",
                headers={"range": f"bytes={first}-{last}"},
            )
            assert answer.body == content[first : last + 1]

        waits: list[Awaitable[None]] = [fetch(number) for number in range(50)]
        await asyncio.gather(*waits)
