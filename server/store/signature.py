"""A revision signed with an ordinary SSH key: `ssh-keygen -Y` over SHA256SUMS.

SHA256SUMS names every file and the receipt, so the signature covers all bytes and where they came
from. Anyone checks it without Holdfast:

    ssh-keygen -Y verify -f allowed_signers -I NAME -n holdfast -s SHA256SUMS.sig < SHA256SUMS

https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS tells of the file with the allowed signers.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.catalogue.catalogue import shorten
from server.errors import ConfigError, StoreError
from server.store.durable import write_whole
from server.store.manifest import SIGNATURE, read_manifest
from server.store.naming import SUMS
from server.store.shelf import Volume

NAMESPACE = "holdfast"
_PROGRAM = "ssh-keygen"
_SECONDS = 60.0
_LARGEST = 64 * 1024  # bytes; a signature has a few hundred


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature says."""

    by: str | None
    """The principal in the file with the allowed signers; None: it is not to be trusted."""
    why: str
    """What ssh-keygen says, or why there is nothing to say."""


def sign(volume: Volume, key: Path) -> Path:
    """Sign the revision; the path of the signature. The caller holds the store's lock.

    `key` is a private key, or a public one whose private one an agent has. ssh-keygen asks for a
    passphrase on the terminal. Raises StoreError, also where what would be signed is damaged, and
    ConfigError if there is no such key.
    """
    if not key.is_file():
        raise ConfigError(
            f"there is no key {key}",
            next_step="Name one with --key, or make one: ssh-keygen -t ed25519",
        )
    manifest = read_manifest(volume.folder)
    if manifest.damage:
        what = "; ".join(f"{name}: {why}" for name, why in manifest.damage.items())
        raise StoreError(
            f"{volume.name} is not signed",
            why=what,
            next_step="Repair it first with `holdfast verify --repair`",
        )
    done = _run(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE], volume.folder / SUMS, None)
    if done.returncode or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise StoreError(
            f"{volume.name} could not be signed with {key}",
            why=_said(done),
            next_step="Check that it is an SSH key, and its passphrase",
        )
    path = volume.folder / SIGNATURE
    write_whole(path, done.stdout)
    return path


def check(volume: Volume, allowed_signers: Path) -> Signed:
    """Who signed the revision's SHA256SUMS, if it is one of those allowed.

    Raises ConfigError if `allowed_signers` is not there, StoreError without ssh-keygen.
    """
    if not allowed_signers.is_file():
        raise ConfigError(
            f"there is no file {allowed_signers}",
            next_step='Make one with lines such as "you@example.org ssh-ed25519 AAAA..."',
        )
    path, listed = volume.folder / SIGNATURE, volume.folder / SUMS
    try:
        if path.stat().st_size > _LARGEST:
            return Signed(None, f"{SIGNATURE} is no signature")
        listed.stat()
    except OSError as error:
        missing = Path(error.filename or path).name
        return Signed(None, f"{missing}: {error.strerror or error}")
    about = ["-f", str(allowed_signers), "-s", str(path)]
    found = _run(["-Y", "find-principals", *about], listed, _SECONDS)
    principals = found.stdout.decode(errors="replace").splitlines()
    if found.returncode or not principals:
        return Signed(None, f"no allowed signer signed it ({_said(found)})")
    verify = ["-Y", "verify", *about, "-n", NAMESPACE, "-I", principals[0]]
    done = _run(verify, listed, _SECONDS)
    if done.returncode:
        return Signed(None, _said(done))
    return Signed(principals[0], _said(done))


def _run(
    arguments: Sequence[str], stdin: Path, seconds: float | None
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        with stdin.open("rb") as file:
            return subprocess.run(
                [_PROGRAM, *arguments],
                stdin=file,
                capture_output=True,
                timeout=seconds,
                env=environment,
                check=False,
            )
    except FileNotFoundError as error:
        if error.filename != _PROGRAM:
            raise StoreError(f"{stdin} is missing") from error
        raise StoreError(
            "ssh-keygen is not on this machine",
            why="signatures are made and checked with it",
            next_step="Install OpenSSH's client (Debian, Ubuntu: openssh-client)",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"ssh-keygen did not answer within {seconds:.0f} s") from error
    except OSError as error:
        raise StoreError(f"ssh-keygen cannot be run: {error.strerror or error}") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """What ssh-keygen printed, on one line, and nothing that moves a terminal's cursor."""
    text = (done.stderr or done.stdout).decode(errors="replace").strip()
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    readable = "".join(letter if letter.isprintable() else "?" for letter in line)
    return shorten(readable, 300) if readable else f"ssh-keygen exited with {done.returncode}"
