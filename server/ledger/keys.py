"""API keys: created once, shown once, kept only as hashes.

A key is `sk-holdfast-<id>-<secret>`: the id finds the record, so that one comparison in constant
time decides, and the secret has 256 random bits, so that a plain SHA-256 is as good as a slow
password hash and costs the hot path a microsecond.

The file is JSON, readable by its owner alone, and replaced whole; a running server notices a new
one at the next request, and one that goes away opens it to nobody. What an older Holdfast did not
know of a key has its default.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import orjson

from server.catalogue.router import Limits
from server.errors import ConfigError

Role = Literal["user", "admin"]

_PREFIX = "sk-holdfast-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_NO_SUCH_HASH = hashlib.sha256(b"no such key").hexdigest()


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a key may do."""

    role: Role = "user"
    team: str | None = None
    limits: Limits = UNLIMITED
    models: tuple[str, ...] | None = None
    """Names of models and aliases that it may ask for, with `*` for any part; None: all."""
    local_only: bool = False
    """Whether nothing that it asks for may leave this machine."""
    keep_text: bool = False
    """Whether the ledger keeps its prompts and answers."""


ORDINARY = Terms()


@dataclass(frozen=True, slots=True)
class Key(Terms):
    id: str
    name: str
    sha256: str
    """Hex digest of the whole key."""
    created: str
    """ISO 8601, UTC."""
    revoked: str | None = None

    def allows(self, name: str) -> bool:
        """Whether it may ask for the model or alias `name`."""
        return self.models is None or any(fnmatchcase(name, one) for one in self.models)

    @property
    def terms(self) -> Terms:
        return Terms(**{field.name: getattr(self, field.name) for field in fields(Terms)})


class KeyBook:
    """The keys in one file. Reading is cheap and always current; writing takes a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = str(path)  # of which the state is asked for sooner than of a Path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: Mapping[str, Key] = {}
        self._seen = os.path.exists(self._file)
        """Whether the file was ever there: what shuts the door stays shut without it."""

    def all(self) -> tuple[Key, ...]:
        """Every key, revoked ones too, oldest first. Raises ConfigError for a damaged file."""
        self._refresh()
        return tuple(self._keys.values())

    def required(self) -> bool:
        """Whether requests need a key: they do as soon as one was ever created.

        Neither revoking the last key nor losing the file must open the door: revoked ones count,
        and so does a file that was there.
        """
        self._refresh()
        return self._seen

    @property
    def gone(self) -> bool:
        """Whether the file was there and is no longer, so that nobody has a key."""
        self._refresh()
        return self._seen and self._stamp is None

    def authenticate(self, presented: str) -> Key | None:
        """The live key that `presented` is, or None. Constant time in the secret."""
        self._refresh()
        key_id, _, _ = presented.removeprefix(_PREFIX).partition("-")
        key = self._keys.get(key_id)
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        matches = hmac.compare_digest(digest, key.sha256 if key else _NO_SUCH_HASH)
        return key if key and matches and key.revoked is None else None

    def get(self, key_id: str) -> Key | None:
        """The key of that id, revoked or not."""
        self._refresh()
        return self._keys.get(key_id)

    def find(self, name_or_id: str) -> Key:
        """The live key of that name or id. Raises ConfigError when there is none."""
        self._refresh()
        return _live(self._keys, name_or_id)

    def create(self, name: str, terms: Terms = ORDINARY) -> tuple[Key, str]:
        """A new key and its only plain text. Raises ConfigError for a name that is bad or taken."""
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"key name {name!r} is not allowed",
                next_step="Use up to 64 letters, digits, spaces and . _ @ -, a letter first",
            )
        with self._writing() as keys:
            if any(key.name == name and key.revoked is None for key in keys.values()):
                raise ConfigError(
                    f"a key named {name!r} exists already",
                    next_step=f"Choose another name, or revoke it: holdfast keys revoke {name!r}",
                )
            key_id = secrets.token_hex(4)
            while key_id in keys:
                key_id = secrets.token_hex(4)
            text = f"{_PREFIX}{key_id}-{secrets.token_urlsafe(32)}"
            digest = hashlib.sha256(text.encode()).hexdigest()
            keys[key_id] = Key(key_id, name, digest, _now(), **_as_fields(terms))
        return keys[key_id], text

    def change(self, name_or_id: str, change: Callable[[Terms], Terms]) -> Key:
        """Give a live key the terms that `change` makes of its present ones; its secret stays.

        Raises ConfigError when none has that name or id.
        """
        with self._writing() as keys:
            key = _live(keys, name_or_id)
            keys[key.id] = replace(key, **_as_fields(change(key.terms)))
            return keys[key.id]

    def revoke(self, name_or_id: str) -> Key:
        """Mark a live key as revoked. Raises ConfigError when none has that name or id."""
        with self._writing() as keys:
            key = _live(keys, name_or_id)
            keys[key.id] = replace(key, revoked=_now())
            return keys[key.id]

    def _refresh(self) -> None:
        try:
            status = os.stat(self._file)
        except FileNotFoundError:
            self._stamp, self._keys = None, {}
            return
        self._seen = True
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            self._keys = _parse(self._path)
            self._stamp = stamp

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Key]]:
        """The keys as they are now, under a lock; written back unless the body raises."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._refresh()
            keys = dict(self._keys)
            yield keys
            self._write(keys)

    def _write(self, keys: Mapping[str, Key]) -> None:
        data = orjson.dumps(
            {"keys": [asdict(key) for key in keys.values()]}, option=orjson.OPT_INDENT_2
        )
        temporary = self._path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


def _parse(path: Path) -> Mapping[str, Key]:
    try:
        records = orjson.loads(path.read_bytes())["keys"]
        return {record["id"]: _key(record) for record in records}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the key file {path} cannot be read",
            problems=(f"{type(error).__name__}: {error}",),
            next_step="Restore it from a backup; or move it away and create keys anew, before a "
            "server starts that finds none and lets in whoever asks from this machine",
        ) from error


def _key(record: dict[str, Any]) -> Key:
    models = record.get("models")
    return Key(
        **record
        | {
            "limits": Limits(**record.get("limits", {})),
            "models": None if models is None else tuple(models),
        }
    )


def _live(keys: Mapping[str, Key], name_or_id: str) -> Key:
    for key in keys.values():
        if key.revoked is None and name_or_id in (key.id, key.name):
            return key
    names = ", ".join(key.name for key in keys.values() if key.revoked is None)
    raise ConfigError(
        f"no live key has the name or id {name_or_id!r}",
        next_step=f"Live keys: {names or 'none'}",
    )


def _as_fields(terms: Terms) -> dict[str, Any]:
    return {field.name: getattr(terms, field.name) for field in fields(terms)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
