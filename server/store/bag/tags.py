"""The tag files of a bag, written and read as RFC 8493 has them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from server.errors import StoreError
from server.store.naming import checked

DECLARATION = "bagit.txt"
INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
FETCH = "fetch.txt"
PAYLOAD = "data"

DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(.+)")
_LABEL = re.compile(r"([^\s:][^:]*?)[ \t]*:[ \t]*(.*)")
_ESCAPES = {"%0A": "\n", "%0D": "\r", "%25": "%"}


def manifest_line(path: str, sha256: str) -> str:
    """One line of a manifest. Raises StoreError for a path that readers understand differently."""
    if "%" in path:
        # RFC 8493 writes it as %25, which the Library of Congress's own bagit.py does not read.
        raise StoreError(
            f"{path} cannot be put into a bag",
            why="programs that read bags do not agree on what a % in a name means",
            next_step="Leave its model out, and copy it with `holdfast mirror sync`",
        )
    return f"{sha256}  {path}\n"


def manifest(files: Mapping[str, str]) -> bytes:
    """A manifest of path -> sha256, sorted by path."""
    return "".join(manifest_line(path, files[path]) for path in sorted(files)).encode()


def parse_manifest(data: bytes, name: str) -> dict[str, str]:
    """Path -> sha256 of a manifest called `name`. Raises StoreError with the line that is wrong."""
    files: dict[str, str] = {}
    for number, line in enumerate(_lines(data, name), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise malformed(name, f"line {number} is no sha256 and path")
        path = re.sub("%0A|%0D|%25", lambda found: _ESCAPES[found[0].upper()], match[2], flags=re.I)
        path = str(checked(path.removeprefix("./")))
        if path in files:
            raise malformed(name, f"line {number} names {path} again")
        files[path] = match[1].lower()
    return files


def info(fields: Iterable[tuple[str, str]]) -> bytes:
    """bag-info.txt: a label and a value on each line; labels may repeat."""
    return "".join(f"{label}: {value}\n" for label, value in fields).encode()


def parse_info(data: bytes, name: str) -> list[tuple[str, str]]:
    """The labels and values of bag-info.txt or bagit.txt. Raises StoreError."""
    fields: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(data, name), 1):
        if line[:1] in (" ", "\t") and fields:  # goes on with the value above
            label, value = fields[-1]
            fields[-1] = (label, f"{value} {line.strip()}".strip())
        elif match := _LABEL.fullmatch(line):
            fields.append((match[1], match[2].strip()))
        elif line.strip():
            raise malformed(name, f"line {number} is no label and value")
    return fields


def malformed(name: str, why: str) -> StoreError:
    return StoreError(
        f"{name} is not as a bag's should be",
        why=why,
        next_step="Copy the bag again from where it came, or use another medium of it",
    )


def _lines(data: bytes, name: str) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise malformed(name, "it is not UTF-8") from error
    return re.split(r"\r\n|\r|\n", text)
