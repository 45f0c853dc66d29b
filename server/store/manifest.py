"""What a revision's folder should hold: its receipt and its SHA256SUMS, held against each other.

Both can rot like any other file. SHA256SUMS has a line for the receipt, so a receipt whose sha256
stands there is sealed: no bit of it has changed, and SHA256SUMS can be written anew from it. Where
it is not, the lines of SHA256SUMS are believed. All of it is decided from the bytes of the two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.errors import StoreError
from server.store.naming import RECEIPT, SUMS, checked
from server.store.receipt import Held, Receipt, encode, parse, sums

SIGNATURE = f"{SUMS}.sig"
OWN = frozenset({RECEIPT, SUMS, SIGNATURE})
"""Files beside the repository's own."""

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
MISSING = "it is missing"
UNREADABLE = "it cannot be read"
_FLIPPED = 4
"""Hexadecimal digits in which a damaged line may differ from the sha256 that stood there. Two
unrelated ones agree in all but four with a chance below 2^-220; each flipped bit changes one."""


@dataclass(frozen=True, slots=True)
class Expected:
    path: str
    sha256: str
    bytes: int | None
    """None where only SHA256SUMS is left to tell."""


@dataclass(frozen=True, slots=True)
class Manifest:
    files: tuple[Expected, ...]
    """Sorted by path; Holdfast's own files are not among them."""
    receipt: Receipt | None
    """None where there is none, or it cannot be read."""
    damage: Mapping[str, str]
    """What is wrong with the receipt and with SHA256SUMS, by the file's name."""

    @property
    def is_empty(self) -> bool:
        """Neither file is there at all: nobody ever said what should be in the folder."""
        return self.damage == {RECEIPT: MISSING, SUMS: MISSING}

    @property
    def trusted(self) -> Receipt | None:
        """The receipt, if no bit of it has changed as far as can be known."""
        return None if RECEIPT in self.damage else self.receipt


def read_manifest(folder: Path) -> Manifest:
    """Of the revision in `folder`; what cannot be read counts as damaged. Raises nothing."""
    repository = "/".join(folder.parts[-3:-1])
    return manifest(_bytes(folder / RECEIPT), _bytes(folder / SUMS), repository, folder.name)


def manifest(receipt: bytes | str, listed: bytes | str, repository: str, revision: str) -> Manifest:
    """From the bytes of the receipt and of SHA256SUMS; a text says why there are none."""
    parsed, why = _receipt(receipt, repository, revision)
    lines, torn = _lines(listed)
    damage: dict[str, str] = {}
    if parsed is None:
        damage[RECEIPT] = why
    elif not _sealed(receipt, parsed, listed, lines):
        damage[RECEIPT] = f"its sha256 is not the one in {SUMS}"
    if torn:
        damage[SUMS] = torn
    elif RECEIPT not in damage and parsed is not None and listed != sums(parsed).encode():
        damage[SUMS] = f"it does not say what {RECEIPT} says"
    elif parsed is None and RECEIPT not in lines:
        damage[SUMS] = f"it has no line for {RECEIPT}"
    return Manifest(_expected(parsed, lines, damage), parsed, damage)


def _expected(
    receipt: Receipt | None, lines: Mapping[str, str], damage: Mapping[str, str]
) -> tuple[Expected, ...]:
    held = {held.path: _of(held) for held in receipt.files} if receipt else {}
    if RECEIPT not in damage:
        found = held
    else:
        found = dict(held) if SUMS in damage else {}
        for path, sha256 in lines.items():
            same = path in held and held[path].sha256 == sha256
            found[path] = held[path] if same else Expected(path, sha256, None)
    return tuple(found[path] for path in sorted(found.keys() - OWN))


def _of(held: Held) -> Expected:
    return Expected(held.path, held.sha256, held.bytes)


def _receipt(data: bytes | str, repository: str, revision: str) -> tuple[Receipt | None, str]:
    if isinstance(data, str):
        return None, data
    try:
        parsed = parse(data)
    except ValueError as error:
        return None, str(error)
    if (parsed.repository, parsed.revision) != (repository, revision):
        return None, f"it is that of {parsed.repository}@{parsed.revision}"
    return parsed, ""


def _lines(listed: bytes | str) -> tuple[dict[str, str], str]:
    """Path -> sha256 of the lines that can be read, and what is wrong with the file."""
    if isinstance(listed, str):
        return {}, listed
    found: dict[str, str] = {}
    torn = ""
    for number, line in enumerate(_split(listed)[:-1], 1):
        match = _LINE.fullmatch(line)
        try:
            if match is None or checked(match[2]).as_posix() in found:
                raise ValueError
        except (ValueError, StoreError):
            torn = torn or f"line {number} is not one of sha256sum"
        else:
            found[match[2]] = match[1]
    return found, torn


def _sealed(
    data: bytes | str, receipt: Receipt, listed: bytes | str, lines: Mapping[str, str]
) -> bool:
    """Whether the receipt's sha256 stands in SHA256SUMS, or stood there before it was damaged."""
    if isinstance(data, str) or isinstance(listed, str):
        return True  # there is nothing to hold it against
    digest = hashlib.sha256(data).hexdigest()
    if any(_near(digest, line[:64]) for line in _split(listed)):
        return True
    if RECEIPT in lines:
        return False
    # Its line is lost. The other lines and the form of the receipt itself are left to speak for it.
    agree = all(lines.get(held.path, held.sha256) == held.sha256 for held in receipt.files)
    return agree and data == encode(receipt)


def _near(digest: str, listed: str) -> bool:
    if len(listed) != len(digest):
        return False
    return sum(ours != theirs for ours, theirs in zip(digest, listed, strict=True)) <= _FLIPPED


def _split(listed: bytes) -> list[str]:
    return listed.decode(errors="replace").split("\n")


def _bytes(path: Path) -> bytes | str:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"{UNREADABLE}: {error.strerror or error}"
