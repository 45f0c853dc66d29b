import base64
from pathlib import Path

import pytest

from server.errors import ConfigError, Forbidden, Unauthorized
from server.ledger.keys import KeyBook
from server.web.auth import authenticate, may_read


@pytest.fixture
def book(tmp_path: Path) -> KeyBook:
    return KeyBook(tmp_path / "keys.json")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"host": b"localhost:8000"},
        {b"host": b"127.0.0.1:8000"},
        {b"host": b"[::1]:8000"},
        {b"host": b"localhost", b"origin": b"http://localhost:3000"},
        {b"host": b"localhost", b"authorization": b"Bearer anything"},
    ],
)
def test_programs_on_this_machine_need_no_key_while_none_exists(
    book: KeyBook, headers: dict[bytes, bytes]
) -> None:
    assert authenticate(book, headers, "127.0.0.1").id == "127.0.0.1"


@pytest.mark.parametrize(
    "headers",
    [
        {b"host": b"evil.example:8000"},
        {b"host": b"localhost.evil.example"},
        {b"host": b"127.0.0.1.evil.example"},
        {b"host": b"localhost@evil.example"},
        {b"host": b"["},
        {b"host": b""},
        {b"host": b"localhost", b"origin": b"https://evil.example"},
        {b"host": b"localhost", b"origin": b"null"},
    ],
)
def test_web_pages_are_refused_while_no_key_exists(
    book: KeyBook, headers: dict[bytes, bytes]
) -> None:
    with pytest.raises(Forbidden):
        authenticate(book, headers, "127.0.0.1")


@pytest.mark.parametrize("header", [b"authorization", b"x-api-key"])
def test_every_header_that_carries_a_key_goes_through_the_same_check(
    book: KeyBook, header: bytes
) -> None:
    key, text = book.create("laptop")
    prefix = "Bearer " if header == b"authorization" else ""
    headers = {b"host": b"box.example", header: (prefix + text).encode()}
    assert authenticate(book, headers, "10.0.0.9").id == key.id
    book.revoke("laptop")
    with pytest.raises(Unauthorized):
        authenticate(book, headers, "10.0.0.9")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Basic YTpi"},
        {b"authorization": b"Bearer \xff\xfe"},
        {b"x-api-key": b""},
        {b"x-api-key": b"sk-holdfast-00000000-wrong"},
    ],
)
def test_without_a_live_key_nobody_passes(book: KeyBook, headers: dict[bytes, bytes]) -> None:
    book.create("laptop")
    with pytest.raises(Unauthorized):
        authenticate(book, headers, "127.0.0.1")


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("sends", [False, True])
def test_nobody_passes_once_the_keys_are_gone(
    book: KeyBook, tmp_path: Path, damaged: bool, sends: bool
) -> None:
    path = tmp_path / "keys.json"
    headers = {b"host": b"localhost"}
    assert authenticate(book, headers, "127.0.0.1").key is None
    _, text = KeyBook(path).create("laptop")
    if sends:
        headers[b"x-api-key"] = text.encode()
        assert authenticate(book, headers, "10.0.0.9").key is not None
    if damaged:
        path.write_text("{")
        with pytest.raises(ConfigError, match="move it away and create keys anew, before a server"):
            authenticate(book, headers, "10.0.0.9")
    path.unlink(missing_ok=True)
    if damaged or sends:  # else the file was never seen
        with pytest.raises(Unauthorized, match="the file with this server's API keys is gone"):
            authenticate(book, headers, "10.0.0.9")
    _, text = KeyBook(path).create("anew")
    key = authenticate(book, {b"x-api-key": text.encode()}, "10.0.0.9").key
    assert key is not None
    assert key.name == "anew"


def test_a_scheme_for_a_proxy_on_the_way_hides_no_key(book: KeyBook) -> None:
    key, text = book.create("laptop")
    headers = {b"authorization": b"Basic YTpi", b"x-api-key": text.encode()}
    assert authenticate(book, headers, "10.0.0.9").id == key.id
    assert authenticate(book, headers, "10.0.0.9", basic=True).id == key.id


@pytest.mark.parametrize(
    ("origin", "before", "after"),
    [
        (b"http://localhost:5173", True, True),
        (b"http://[::1]", True, True),
        (b"https://app.example", False, True),
        (b"null", False, True),
    ],
)
def test_which_pages_may_read_answers(
    book: KeyBook, origin: bytes, before: bool, after: bool
) -> None:
    """`before` and `after` there is a key."""
    headers = {b"host": b"localhost:8000", b"origin": origin}
    assert may_read(book, headers) is before
    book.create("page")
    assert may_read(book, headers) is after


def test_a_password_counts_only_where_it_is_allowed(book: KeyBook) -> None:
    key, text = book.create("laptop")
    credentials = base64.b64encode(f"anyone:{text}".encode())
    headers = {b"host": b"box.example", b"authorization": b"Basic " + credentials}
    assert authenticate(book, headers, "10.0.0.9", basic=True).id == key.id
    with pytest.raises(Unauthorized):
        authenticate(book, headers, "10.0.0.9")


@pytest.mark.parametrize(
    "credentials", [b"", b"!", b"YTpi", b"YQ==", b"Og==", b"\xff\xfe", b"YTpi\n", b"/////w=="]
)
def test_a_password_that_is_no_key_is_refused(book: KeyBook, credentials: bytes) -> None:
    book.create("laptop")
    with pytest.raises(Unauthorized):
        authenticate(book, {b"authorization": b"Basic " + credentials}, "127.0.0.1", basic=True)
