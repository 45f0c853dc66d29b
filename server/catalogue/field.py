"""What a single value in a configuration file may be.

Each constructor returns a function that takes the value as TOML gave it and returns it parsed, or
raises ValueError with what was expected: a text that follows the file, the key and the value.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from server import settings, units
from server.catalogue.catalogue import suggestion

Parse = Callable[[object], object]


def integer(low: int, high: int) -> Parse:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return parse


def span(low: int, high: int) -> Parse:
    """Two whole numbers, the smaller first."""
    whole = integer(low, high)

    def parse(value: object) -> tuple[object, ...]:
        ends = value if isinstance(value, list) else []
        try:
            parsed = tuple(whole(end) for end in ends)
        except ValueError:
            parsed = ()
        if len(parsed) != 2 or ends[0] > ends[1]:
            raise ValueError(f"expected two whole numbers from {low} to {high}, the smaller first")
        return parsed

    return parse


def number(low: float, high: float, *, above: bool = False) -> Parse:
    """`above`: `low` itself is not allowed."""

    bounds = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"

    def parse(value: object) -> float:
        if not isinstance(value, bool) and isinstance(value, int | float):
            inside = low < value <= high if above else low <= value <= high  # false for NaN
            if inside:
                return float(value)
        raise ValueError(f"expected a number {bounds}")

    return parse


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def text(pattern: str, meaning: str) -> Parse:
    compiled = re.compile(pattern)

    def parse(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"expected {meaning}")
        return value

    return parse


def choice(*options: str) -> Parse:
    return one_of(options)


def one_of(options: Collection[str]) -> Parse:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            hint = suggestion(value, options, "") if isinstance(value, str) else ""
            near = f". {hint}" if hint.startswith("Did") else ""
            raise ValueError(f"expected one of {', '.join(options)}{near}")
        return value

    return parse


def list_of(item: Parse, meaning: str) -> Parse:
    def parse(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError(f"expected a list of {meaning}")
        return tuple(item(element) for element in value)

    return parse


def duration(low: float, high: float) -> Parse:
    """Seconds as a float, from a number or a text with a unit."""
    bounds = f"from {units.format_duration(low)} to {units.format_duration(high)}"
    example = 'seconds or a text such as "30s" or "5m"'
    return _quantity(units.parse_duration, low, high, f"{example}, {bounds}")


def duration_or_never(low: float, high: float) -> Parse:
    """Seconds as a float, or None for "never"."""
    seconds = duration(low, high)

    def parse(value: object) -> object:
        if value == "never":
            return None
        try:
            return seconds(value)
        except ValueError as error:
            raise ValueError(f'{error}, or "never"') from None

    return parse


def list_or(word: str, item: Parse, meaning: str) -> Parse:
    """A list, or the one word that may stand in its place."""
    many = list_of(item, f'{meaning}, or "{word}"')
    return lambda value: value if value == word else many(value)


def size(low: int, high: int) -> Parse:
    """Bytes as an int, from a number or a text with a unit."""
    bounds = f"from {units.format_bytes(low)} to {units.format_bytes(high)}"
    return _quantity(units.parse_bytes, low, high, f'bytes or a text such as "32MiB", {bounds}')


def _quantity(read: Callable[[str], float], low: float, high: float, expected: str) -> Parse:
    def parse(value: object) -> float:
        try:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError
            parsed = read(value if isinstance(value, str) else repr(value))
        except (ValueError, OverflowError):
            parsed = math.nan
        if not low <= parsed <= high:
            raise ValueError(f"expected {expected}")
        return parsed

    return parse


def date(value: object) -> datetime.date:
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise ValueError("expected a date such as 2026-03-02")
    return value


def file_path(value: object) -> str:
    """A path inside a repository, which must not lead out of it."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w.#+-][\w.#+ /-]{0,254}", value):
        raise ValueError("expected a relative path with forward slashes")
    parts = value.split("/")
    if PurePosixPath(value).is_absolute() or any(part in ("", ".", "..") for part in parts):
        raise ValueError('expected a relative path without "." or ".." in it')
    return value


def local_path(value: object) -> str:
    """A path on this machine; relative ones start from the file they stand in."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a path")
    if ".." in value.split("/"):
        raise ValueError('expected a path without ".."; give it from the root or from "~/"')
    return value


def copy(value: object) -> str:
    """A place for a copy of the store: a folder, or a prefix in an S3 bucket."""
    if isinstance(value, str) and value.startswith("s3://"):
        if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.=+-]+)*/?", value):
            return value.rstrip("/")
        raise ValueError('expected a bucket such as "s3://bucket/prefix"')
    if not isinstance(value, str) or not re.match(r"~?/", value):
        raise ValueError('expected an absolute folder, or a bucket such as "s3://bucket/prefix"')
    return local_path(value)


def window(value: object) -> str:
    """Hours of the day, `"01:00-06:00"`; one that ends before it begins goes over midnight."""
    clock = r"(?:[01]\d|2[0-3]):[0-5]\d"
    if not isinstance(value, str) or not re.fullmatch(f"{clock}-{clock}", value):
        raise ValueError('expected hours such as "01:00-06:00"')
    if value[:5] == value[6:]:
        raise ValueError("expected an end other than the beginning")
    return value


def endpoint(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError('expected an address such as "http://box:8000/hf"')
    return settings.endpoint(value)


IDENTIFIER = text(r"[a-z0-9][a-z0-9._-]{0,63}", "lower-case letters, digits, '.', '_' and '-'")
REPOSITORY = text(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", 'a repository such as "Qwen/Qwen3.5-9B"')
REVISION = text(r"[0-9a-f]{40}", "a commit of 40 hexadecimal digits in lower case")
SHA256 = text(r"[0-9a-f]{64}", "a sha256 of 64 hexadecimal digits in lower case")
LINE = text(r"[^\x00-\x1f\x7f]{1,200}", "a text of one line, at most 200 characters")
BYTES = integer(1, 2**53)
