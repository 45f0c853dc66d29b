"""What every kind of place must do, run over a folder and over a bucket of a real S3 server."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import os
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import HubError, StoreError
from server.store.copies.bucket import Bucket
from server.store.copies.folder import Folder
from server.store.copies.place import Place
from tests.fakes.s3_running import S3, running_s3

pytestmark = pytest.mark.integration

PART = 5 * 1024 * 1024  # the least that S3 takes
CONTENT = random.Random(3).randbytes(3 * PART + 123)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("s3")) as running:
        running.make_bucket("holdfast")
        yield running


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "folder":
        (tmp_path / "copy").mkdir()
        return Folder(tmp_path / "copy")
    for name, value in request.getfixturevalue("s3").environment.items():
        monkeypatch.setenv(name, value)
    return Bucket(f"s3://holdfast/{request.node.name.replace('[', '-')[:-1]}", part=PART)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def put(place: Place, source: Path, path: str = "org/name/file", sha256: str = SHA256) -> int:
    told: list[int] = []
    place.put(path, source, source.stat().st_size, sha256, told.append)
    return sum(told)


def test_what_is_put_can_be_read(place: Place, source: Path) -> None:
    assert put(place, source) == 2 * len(CONTENT)
    with place.open("org/name/file") as file:
        assert file.read() == CONTENT
    with place.open("org/name/file", 7_000_000) as file:
        assert file.read() == CONTENT[7_000_000:]
    assert place.find() == {"org/name/file": len(CONTENT)}


def test_empty_files_and_odd_names_are_files_too(place: Place, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    nothing = hashlib.sha256().hexdigest()
    for name in ("a b/ü?&#+~", "a b/%41", "a b/c/=.json"):
        put(place, empty, name, nothing)
        with place.open(name) as file:
            assert file.read() == b""
    assert place.find("a b") == {"a b/ü?&#+~": 0, "a b/%41": 0, "a b/c/=.json": 0}


def test_a_folder_is_not_another_whose_name_begins_alike(place: Place) -> None:
    place.write("org/name/x", b"1")
    place.write("org/name-too/x", b"22")
    assert place.find("org/name") == {"org/name/x": 1}
    assert place.find("org/na") == {}
    assert place.find() == {"org/name/x": 1, "org/name-too/x": 2}


def test_small_files_are_replaced_and_removed(place: Place) -> None:
    assert place.read("org/receipt") is None
    place.write("org/receipt", b"old")
    place.write("org/receipt", b"new")
    assert place.read("org/receipt") == b"new"
    place.remove("org/receipt")
    place.remove("org/receipt")
    assert place.read("org/receipt") is None


def test_a_damaged_source_leaves_nothing_under_the_name(place: Place, source: Path) -> None:
    source.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(StoreError, match="what it is a copy of is damaged"):
        put(place, source)
    assert place.find() == {}


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("at", [0, PART, 2 * PART + 1, len(CONTENT), len(CONTENT) + PART])
def test_stopped_anywhere_it_goes_on(place: Place, source: Path, at: int) -> None:
    left = at

    def stop(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        place.put("org/name/file", source, len(CONTENT), SHA256, stop)
    put(place, source)
    with place.open("org/name/file") as file:
        assert file.read() == CONTENT
    place.tidy("org/name")
    assert place.find() == {"org/name/file": len(CONTENT)}


def test_a_file_that_is_wrong_there_is_replaced(place: Place, source: Path) -> None:
    place.write("org/name/file", b"rotten")
    put(place, source)
    with place.open("org/name/file") as file:
        assert file.read() == CONTENT


def test_what_is_absent_is_told(place: Place) -> None:
    with pytest.raises(HubError), place.open("org/name/none"):
        pass


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="Mount its disk"):
        Folder(tmp_path / "gone").reach()


# ---- Of buckets alone ----


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return Bucket("s3://holdfast/of-buckets", part=PART)


def test_parts_that_arrived_are_not_sent_again(bucket: Bucket, s3: S3, source: Path) -> None:
    def uploads() -> int:
        return sum("partNumber=" in line for line in s3.requests("PUT"))

    before = uploads()
    left = len(CONTENT)

    def stop_after_all_parts(count: int) -> None:
        nonlocal left
        left -= count
        if left == 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        bucket.put("again", source, len(CONTENT), SHA256, stop_after_all_parts)
    sent = uploads() - before
    assert sent == 4
    put(bucket, source, "again")
    assert uploads() - before == sent


def test_parts_of_another_content_are_found_out(bucket: Bucket, source: Path) -> None:
    def stop(count: int) -> None:
        raise StoppedError

    other = source.with_name("other")
    other.write_bytes(bytes(len(CONTENT)))
    with pytest.raises(StoppedError):
        bucket.put("mixed", other, len(CONTENT), SHA256, stop)
    put(bucket, source, "mixed")
    with bucket.open("mixed") as file:
        assert hashlib.sha256(file.read()).hexdigest() == SHA256


def test_tidying_ends_uploads_that_were_cut_off(bucket: Bucket, source: Path) -> None:
    def stop(count: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        bucket.put("org/cut", source, len(CONTENT), SHA256, stop)
    assert list(bucket._uploads(bucket._key("org/")))
    bucket.tidy("org")
    assert not list(bucket._uploads(bucket._key("org/")))


def test_a_server_that_is_gone_or_refuses_is_told_without_the_secret(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HubError) as refused:
        Bucket("s3://no-such-bucket/x").reach()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(HubError) as gone:
        Bucket("s3://holdfast/x").reach()
    for caught in (refused, gone):
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in caught.value.sentence
        assert len(caught.value.sentence) < 1000


@contextlib.contextmanager
def relayed(s3: S3, *, lists_uploads: bool = True, flips: bool = False) -> Iterator[str]:
    """The same server, but as some are: it cannot list unfinished uploads, or a bit flips on the
    way to its disk."""

    class Relay(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if flips and self.command == "PUT":
                body = bytes([body[0] ^ 1]) + body[1:]
            if not lists_uploads and self.command == "GET" and re.search(r"[?&]uploads", self.path):
                return self.answer(501, b"<Error><Code>NotImplemented</Code></Error>", {})
            connection = http.client.HTTPConnection(s3.url.removeprefix("http://"), timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return self.answer(answer.status, content, dict(answer.headers))

        def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_cannot_list_uploads_gets_them_whole(
    s3: S3, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(count: int) -> None:
        raise StoppedError

    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with relayed(s3, lists_uploads=False) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        bucket = Bucket("s3://holdfast/unlisted", part=PART)
        with pytest.raises(StoppedError):
            bucket.put("org/cut", source, len(CONTENT), SHA256, stop)
        assert put(bucket, source, "org/cut") == 2 * len(CONTENT)
        bucket.tidy("org")
        with bucket.open("org/cut") as file:
            assert file.read() == CONTENT


@pytest.mark.parametrize("size", [PART, len(CONTENT)], ids=["in one", "in parts"])
def test_bits_that_flip_on_the_way_are_found_when_it_is_read_back(
    s3: S3, source: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source.write_bytes(CONTENT[:size])
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with relayed(s3, flips=True) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        bucket = Bucket("s3://holdfast/flipped", part=PART)
        with pytest.raises(StoreError, match="comes back otherwise than it was written"):
            put(bucket, source, "org/file", hashlib.sha256(CONTENT[:size]).hexdigest())
        assert bucket.find() == {}
