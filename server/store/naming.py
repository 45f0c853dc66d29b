"""Which paths of a repository may be held. Nothing that a hub says is joined to a path unchecked.

All of it is decided from the text of the paths; the disk is not looked at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from server.catalogue.catalogue import shorten
from server.errors import StoreError

RECEIPT = "holdfast.json"
SUMS = "SHA256SUMS"

_LONGEST_PART = 255  # bytes; NAME_MAX of every common file system
_LONGEST_PATH = 1024  # bytes; leaves room for the store's own folders below PATH_MAX
_PICKLES = re.compile(
    r"\.(bin|pt|pth|pkl|pickle|ckpt|h5|hdf5|keras|msgpack|joblib|npy|npz)", re.IGNORECASE
)
_PROGRAMS = re.compile(r"\.(py|pyc|pyd|so|dll|dylib|exe|sh|bat|ps1)", re.IGNORECASE)


def checked(path: str) -> PurePosixPath:
    """`path` as a relative path that stays in its folder wherever it is joined.

    Raises StoreError for an absolute path, empty parts, `.` and `..`, backslashes, control and
    invisible characters, and what is longer than file systems take (255 bytes a part).
    """
    problem = _problem(path)
    if problem:
        raise StoreError(
            f"the file name {shorten(ascii(path))} is refused",
            why=problem,
            next_step="No such file can be held; tell whoever published the repository",
        )
    return PurePosixPath(path)


def _problem(path: str) -> str | None:
    parts = path.split("/")
    if path.startswith("/"):
        return "it is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return 'a part of it is empty, "." or ".."'
    if "\\" in path:
        return "it holds a backslash"
    # C: control, format, surrogate, unassigned; Zl and Zp: separators of lines and paragraphs.
    if any(unicodedata.category(letter)[0] == "C" for letter in path) or {"\u2028", "\u2029"} & set(
        path
    ):
        return "it holds a control or invisible character"
    if any(len(part.encode()) > _LONGEST_PART for part in parts):
        return f"a part of it is longer than {_LONGEST_PART} bytes"
    if len(path.encode()) > _LONGEST_PATH:
        return f"it is longer than {_LONGEST_PATH} bytes"
    return None


def refusal(path: str) -> str | None:
    """Why a file of this name is not fetched although its path is sound; None where it is."""
    parts = path.split("/")
    name = parts[-1].lower()
    suffix = PurePosixPath(name).suffix
    if _PICKLES.fullmatch(suffix):
        return f"a {suffix} file may hold a pickle, which can run code when it is loaded"
    if _PROGRAMS.fullmatch(suffix):
        return f"a {suffix} file is code, and weights need none"
    if len(parts) == 1 and (name == RECEIPT or name.startswith(SUMS.lower())):
        return "Holdfast keeps a file of its own under this name"
    if any(part.startswith(".") for part in parts):
        return "hidden files are the hub's own and say nothing of the model"
    return None


def collisions(paths: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs that cannot lie in one folder everywhere.

    Two paths collide when they differ in case or Unicode form only, as many file systems do not
    tell them apart, or when one of them is a folder of the other.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    found = []
    for path in sorted(set(paths)):
        key = _key(path)
        parents = [parent.as_posix() for parent in PurePosixPath(key).parents][:-1]
        other = seen.get(key) or folders.get(key)
        other = other or next((seen[parent] for parent in parents if parent in seen), None)
        if other is not None:
            found.append((other, path))
        seen.setdefault(key, path)
        for parent in parents:
            folders.setdefault(parent, path)
    return tuple(found)


def _key(path: str) -> str:
    # NFC again at the end: folding case can leave a text that is no longer in its normal form.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
