from __future__ import annotations

import pytest

from server.chat.json_body import MAX_CONTAINERS, MAX_DEPTH, MAX_MEMBERS, parse_json
from server.errors import RequestError
from tests.effort import cpu_seconds


def nested(depth: int) -> bytes:
    """An object whose innermost array stands `depth` deep, the object counted."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_an_object() -> None:
    body = '{"a": [1, 2.5, null, true], "b": {"c": "\\u00e9 é"}}'.encode()
    assert parse_json(body) == {"a": [1, 2.5, None, True], "b": {"c": "é é"}}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "zero-length"),
        (b'{"a": 1', "unexpected end of data at line 1 column 8"),
        (b'{"a": 1}}', "line 1 column 9"),
        (b'{\n"a": nope}', "line 2 column 6"),
        (b'{"a": NaN}', "line 1 column 7"),
        (b'{"a": Infinity}', "line 1 column 7"),
        (b'{"a": 1e400}', "infinity"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\x00"}', "line 1"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{'a': 1}", "line 1 column 2"),
        (b'{"a": 1,}', "line 1 column 8"),
    ],
)
def test_what_is_not_json_is_told_with_its_place(body: bytes, says: str) -> None:
    with pytest.raises(RequestError, match="could not parse the JSON body") as caught:
        parse_json(body)
    assert says in caught.value.why


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"true"])
def test_only_an_object_will_do(body: bytes) -> None:
    with pytest.raises(RequestError, match="not a JSON object"):
        parse_json(body)


def test_depth_is_bounded() -> None:
    assert parse_json(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 500, 5000, 200_000):
        with pytest.raises(RequestError, match="nested too deeply"):
            parse_json(nested(depth))


def test_brackets_in_text_are_no_depth() -> None:
    text = "[" * 10_000
    assert parse_json(b'{"a": "' + text.encode() + b'"}') == {"a": text}


def test_bodies_that_would_swell_in_memory_are_refused_before_they_are_parsed() -> None:
    for body in (
        b'{"a":[' + b"[]," * MAX_CONTAINERS + b"[]]}",
        b'{"a":[' + b"0," * (MAX_MEMBERS + 1) + b"0]}",
    ):

        def refused(body: bytes = body) -> None:
            with pytest.raises(RequestError, match="too many JSON values"):
                parse_json(body)

        assert cpu_seconds(refused) < 0.1


def test_the_last_of_duplicate_keys_counts() -> None:
    assert parse_json(b'{"a": 1, "a": 2}') == {"a": 2}
