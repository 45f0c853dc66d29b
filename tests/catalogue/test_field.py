"""What single values may be."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue import field

GOOD: list[tuple[Callable[[object], object], object, object]] = [
    (field.integer(1, 3), 3, 3),
    (field.number(0, 1), 1, 1.0),
    (field.number(0, 1, above=True), 0.5, 0.5),
    (field.boolean, False, False),
    (field.choice("a", "b"), "b", "b"),
    (field.list_of(field.BYTES, "bytes"), [1, 2], (1, 2)),
    (field.duration(0, 60), "30s", 30.0),
    (field.duration(0, 60), 1, 1.0),
    (field.duration(0, 60), 0.25, 0.25),
    (field.size(1, 1 << 30), "32MiB", 32 << 20),
    (field.size(1, 1 << 30), 1000, 1000),
    (field.date, datetime.date(2026, 3, 2), datetime.date(2026, 3, 2)),
    (field.file_path, "Q8_0/a-00001-of-00002.gguf", "Q8_0/a-00001-of-00002.gguf"),
    (field.local_path, "~/weights/a.gguf", "~/weights/a.gguf"),
    (field.IDENTIFIER, "qwen3.5-0.8b", "qwen3.5-0.8b"),
    (field.REPOSITORY, "Qwen/Qwen3.5-9B", "Qwen/Qwen3.5-9B"),
    (field.REVISION, "a" * 40, "a" * 40),
    (field.SHA256, "0" * 64, "0" * 64),
    (field.copy, "/mnt/nas/holdfast", "/mnt/nas/holdfast"),
    (field.copy, "~/copy", "~/copy"),
    (field.copy, "s3://my-bucket.de/a/b_c/", "s3://my-bucket.de/a/b_c"),
    (field.window, "23:30-06:00", "23:30-06:00"),
    (field.endpoint, "http://box:8000/hf/", "http://box:8000/hf"),
    (field.endpoint, "https://[::1]:443", "https://[::1]:443"),
]
BAD: list[tuple[Callable[[object], object], object]] = [
    (field.integer(1, 3), 0),
    (field.integer(1, 3), True),
    (field.integer(1, 3), 2.0),
    (field.number(0, 1), math.nan),
    (field.number(0, 1), math.inf),
    (field.number(0, 1), "1"),
    (field.number(0, 1, above=True), 0),
    (field.boolean, 1),
    (field.choice("a", "b"), "c"),
    (field.choice("a", "b"), ["a"]),
    (field.list_of(field.BYTES, "bytes"), 3),
    (field.list_of(field.BYTES, "bytes"), [0]),
    (field.duration(0, 60), "2m"),
    (field.duration(0, 60), "soon"),
    (field.duration(0, 60), True),
    (field.duration(0, 60), -1),
    (field.duration(0, 60), math.nan),
    (field.size(1, 100), "1KiB"),
    (field.size(1, 100), 10**400),
    (field.date, datetime.datetime(2026, 3, 2)),
    (field.date, "2026-03-02"),
    (field.REPOSITORY, "../.."),
    (field.REPOSITORY, "a/.."),
    (field.REPOSITORY, ".a/b"),
    (field.copy, "relative/folder"),
    (field.copy, "/mnt/../etc"),
    (field.copy, "s3://"),
    (field.copy, "s3://Bucket/x"),
    (field.copy, "s3://bucket/../x y"),
    (field.copy, "ftp://host/x"),
    (field.copy, 7),
    (field.window, "1:00-6:00"),
    (field.window, "24:00-06:00"),
    (field.window, "06:00-06:00"),
    (field.window, 600),
    (field.endpoint, "box:8000"),
    (field.endpoint, "ftp://box"),
    (field.endpoint, "http://"),
    (field.endpoint, "http://user:secret@box"),
    (field.endpoint, "http://box/?q=1"),
    (field.endpoint, "http://box/#x"),
    (field.endpoint, "http://box:99999"),
    (field.endpoint, "http://box\n.evil"),
    (field.endpoint, 7),
    (field.file_path, "../a"),
    (field.file_path, "a/../b"),
    (field.file_path, "/etc/passwd"),
    (field.file_path, "a//b"),
    (field.file_path, "./a"),
    (field.file_path, "a\\b"),
    (field.file_path, "a\nb"),
    (field.file_path, ""),
    (field.local_path, "a/../b"),
    (field.local_path, "a\0b"),
    (field.local_path, 3),
    (field.IDENTIFIER, "a:b"),
    (field.IDENTIFIER, "Q4"),
    (field.IDENTIFIER, "a\n"),
    (field.REPOSITORY, "Qwen"),
    (field.REPOSITORY, "../Qwen/x"),
    (field.REVISION, "a" * 39),
    (field.REVISION, "A" * 40),
    (field.REVISION, "main"),
    (field.SHA256, "0" * 63),
    (field.LINE, "a\nb"),
]


@pytest.mark.parametrize(("parse", "value", "expected"), GOOD)
def test_good_values(parse: Callable[[object], object], value: object, expected: object) -> None:
    parsed = parse(value)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(("parse", "value"), BAD)
def test_bad_values_say_what_was_expected(parse: Callable[[object], object], value: object) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        parse(value)


@given(st.text(max_size=30))
def test_a_file_path_never_leads_out(path: str) -> None:
    try:
        kept = field.file_path(path)
    except ValueError:
        return
    assert kept == path
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert "\\" not in path
    assert path.isprintable()
