"""What a path below /hf/ asks for."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from server.store.offering import MAIN

PREFIX = "/hf/"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a path below /hf/ names."""

    what: str
    repository: str = ""
    revision: str = MAIN
    path: str = ""


def parse(raw_path: bytes) -> Ask | None:
    """The meaning of a path as it was sent, percent signs and all; None: it has none here.

    It is taken apart before it is decoded, so that `refs%2Fpr%2F1` stays one part.
    """
    parts = raw_path.decode("ascii", "replace").split("/")
    if parts[:2] != ["", PREFIX.strip("/")]:
        return None
    match [unquote(part) for part in parts[2:]]:
        case ["api", "whoami-v2"]:
            return Ask("whoami")
        case ["api", "models"]:
            return Ask("models")
        case ["api", "models", org, name]:
            return Ask("info", f"{org}/{name}")
        case ["api", "models", org, name, "refs"]:
            return Ask("refs", f"{org}/{name}")
        case ["api", "models", org, name, "revision", revision]:
            return Ask("info", f"{org}/{name}", revision)
        case ["api", "models", org, name, "commits", revision]:
            return Ask("commits", f"{org}/{name}", revision)
        case ["api", "models", org, name, "paths-info", revision]:
            return Ask("paths-info", f"{org}/{name}", revision)
        case ["api", "models", org, name, "tree", revision, *path]:
            return Ask("tree", f"{org}/{name}", revision, "/".join(path).strip("/"))
        case ["v2", org, name, "manifests", tag]:
            return Ask("manifest", f"{org}/{name}", path=tag)
        case [org, name, "resolve", revision, *path] if path:
            return Ask("file", f"{org}/{name}", revision, "/".join(path))
    return None
