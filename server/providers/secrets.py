"""The keys of providers: read where the configuration says that they are, and shown nowhere.

A key is looked for in the environment, then in the file, then among systemd's credentials; the
first of these that is there holds. White space around it does not count, and one that is empty is
not there. Files are looked at again when they change, so that a key can be replaced while Holdfast
runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.catalogue.cloud import KeySource, Provider
from server.errors import ProviderRefused

_MOST = 64 * 1024  # bytes; a key has some two hundred
_DIRECTORY = "CREDENTIALS_DIRECTORY"  # systemd.exec(5)


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a provider cannot be asked, and what to do about it. No part of a key is in either."""

    why: str
    next_step: str
    refused: bool = False
    """Whether there is something where the key should be, but not one that may be used."""


class Keyring:
    """The keys of all providers. `environment` is read at each look, as it is then."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._read: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def key_of(self, provider: Provider) -> str | None:
        """The provider's key, or None where it needs none.

        Raises ProviderRefused where there is none to be found: a client hears of that, so it does
        not say where one was looked for.
        """
        found = self._look(provider)
        if isinstance(found, Absence):
            raise ProviderRefused(
                f"there is no key for the provider {provider.id}",
                next_step="Whoever runs this server learns from `holdfast doctor` where to put one",
            )
        return found

    def absence(self, provider: Provider) -> Absence | None:
        """What keeps the provider from being asked; None: it has its key, or needs none."""
        found = self._look(provider)
        return found if isinstance(found, Absence) else None

    def keyless(self, providers: Iterable[Provider]) -> dict[str, str]:
        """Of those that cannot be asked, by id: why."""
        looked = {provider.id: self.absence(provider) for provider in providers}
        return {name: absence.why for name, absence in looked.items() if absence}

    def _look(self, provider: Provider) -> str | Absence | None:
        source = provider.key
        if source is None:
            return None
        if source.env and (text := self._environment.get(source.env, "").strip()):
            return _checked(text, f"the variable {source.env}")
        if source.file and (found := self._in_file(source.file.expanduser(), private=True)):
            return found
        folder = self._environment.get(_DIRECTORY, "")
        if source.credential and folder:
            found = self._in_file(Path(folder) / source.credential, private=False)
            if found:
                return found
        return _nowhere(source, bool(folder))

    def _in_file(self, path: Path, private: bool) -> str | Absence:
        """The file's text, empty where there is no such file or nothing in it.

        `private`: others must not be able to read it. systemd guards its credentials by the folder
        that they are in, and by an ACL that shows as permissions of the group.
        """
        try:
            # A pipe in the file's place must not make this wait.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        except OSError as error:
            why = f"{path} cannot be read: {error.strerror}"
            return Absence(why, f"Make {path} readable", refused=True)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                step = "Name a file with the key, and nothing else"
                return Absence(f"{path} is not a file", step, refused=True)
            if private and status.st_mode & 0o077:
                step = f"Keep them out: chmod 600 {path}"
                return Absence(f"others may read {path}", step, refused=True)
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if path not in self._read or self._read[path][0] != version:
                text = os.read(descriptor, _MOST).decode("utf-8", "replace").strip()
                self._read[path] = (version, text)
        finally:
            os.close(descriptor)
        return _checked(self._read[path][1], str(path))


def _checked(text: str, where: str) -> str | Absence:
    """What goes into a header must be one word of visible ASCII."""
    if all("!" <= character <= "~" for character in text):
        return text
    return Absence(
        f"what {where} holds is not a key: it has spaces, further lines or other signs in it",
        "Put the key there, and nothing else",
        refused=True,
    )


def _nowhere(source: KeySource, under_systemd: bool) -> Absence:
    """All places that were looked at, and the easiest of them to fill."""
    why, steps = [], []
    if source.env:
        why.append(f"{source.env} is not set")
        steps.append(f"set {source.env}")
    if source.file:
        why.append(f"{source.file} is absent or empty")
        steps.append(f"write the key to {source.file}, readable by its owner alone")
    if source.credential:
        passed = "not among those that systemd passes" if under_systemd else "not passed by systemd"
        why.append(f"the credential {source.credential} is {passed}")
        steps.append(f"have systemd pass it with LoadCredential={source.credential}:PATH")
    step = ", or ".join(steps)
    return Absence("; ".join(why), step[:1].upper() + step[1:])
