"""What the Hugging Face hub's API answers about a repository, as plain JSON values.

Left out is all that leads clients elsewhere: `xetHash` above all, with which they would fetch from
Hugging Face's own storage and go round this machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from server.store.offering import MAIN, OfferedFile, OfferedRevision

Json = dict[str, Any]

_TITLE = "Held by Holdfast"
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_NO_MODEL = ("mmproj", "imatrix")
_USUAL_QUANTS = ("Q4_K_M", "Q4_0", "Q8_0")
"""What a GGUF repository's `latest` means on the hub, as far as there is such a file."""


def model(revision: OfferedRevision, *, blobs: bool = False) -> Json:
    """GET /api/models/{id}; with `blobs`, sizes and hashes as well."""
    licence = revision.licence
    return {
        "_id": _opaque(revision.repository)[:24],
        "id": revision.repository,
        "modelId": revision.repository,
        "author": revision.repository.partition("/")[0],
        "sha": revision.revision,
        "lastModified": _time(revision.fetched),
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [f"license:{licence}"] if licence else [],
        "cardData": {"license": licence} if licence else {},
        "siblings": [_sibling(file, blobs=blobs) for file in revision.files.values()],
    }


def tree(
    revision: OfferedRevision, folder: str, *, recursive: bool, expand: bool
) -> list[Json] | None:
    """GET /api/models/{id}/tree/{rev}/{folder}, all at once; None if there is no such folder."""
    inside = f"{folder}/" if folder else ""
    files = [file for path, file in revision.files.items() if path.startswith(inside)]
    if folder and not files:
        return None
    folders = _by_folder(files, inside)
    shown: list[Json] = [entry_of_folder(path, folders[path]) for path in folders]
    shown += [entry_of_file(file) for file in files]
    if not recursive:
        shown = [one for one in shown if "/" not in one["path"].removeprefix(inside)]
    if expand:
        last = {"id": revision.revision, "title": _TITLE, "date": _time(revision.fetched)}
        shown = [one | {"lastCommit": last} for one in shown]
    return sorted(shown, key=lambda one: str(one["path"]))


def paths_info(revision: OfferedRevision, paths: Iterable[str]) -> list[Json]:
    """POST /api/models/{id}/paths-info/{rev}: those of `paths` that there are."""
    folders = _by_folder(revision.files.values(), "")
    found = []
    for path in dict.fromkeys(paths):
        if (file := revision.files.get(path)) is not None:
            found.append(entry_of_file(file))
        elif (within := folders.get(path)) is not None:
            found.append(entry_of_folder(path, within))
    return found


def entry_of_file(file: OfferedFile) -> Json:
    entry: Json = {"type": "file", "path": file.path, "size": file.bytes, "oid": file.git_oid}
    if file.lfs:
        entry["lfs"] = {
            "oid": file.sha256,
            "size": file.bytes,
            "pointerSize": _pointer_size(file),
        }
    return entry


def entry_of_folder(path: str, files: Iterable[OfferedFile]) -> Json:
    """A folder. Its true git oid depends on files that may not be held, so this is another one,
    which changes when the content does."""
    content = "\n".join(f"{file.git_oid} {file.path}" for file in files)
    return {"type": "directory", "path": path, "size": 0, "oid": _opaque(content)}


def refs(newest: OfferedRevision) -> Json:
    """GET /api/models/{id}/refs: one branch, which is what llama.cpp asks for."""
    main = {"name": MAIN, "ref": f"refs/heads/{MAIN}", "targetCommit": newest.revision}
    return {"branches": [main], "converts": [], "tags": [], "pullRequests": []}


def commits(revision: OfferedRevision) -> list[Json]:
    """GET /api/models/{id}/commits/{rev}: the one commit that is held."""
    return [
        {
            "id": revision.revision,
            "title": _TITLE,
            "message": "",
            "authors": [],
            "date": _time(revision.fetched),
        }
    ]


def whoami(client: str) -> Json:
    """GET /api/whoami-v2."""
    return {
        "type": "user",
        "id": client,
        "name": client,
        "fullname": client,
        "isPro": False,
        "orgs": [],
        "auth": {
            "type": "access_token",
            "accessToken": {"displayName": client, "role": "read"},
        },
    }


def manifest(revision: OfferedRevision, tag: str) -> Json | None:
    """GET /v2/{id}/manifests/{tag}, with which older releases of llama.cpp find a GGUF file.

    `tag` is a quantization or `latest`; None: no file is of that kind.
    """
    names = [name for name in revision.files if name.lower().endswith(".gguf")]
    models = [name for name in names if not _LATER_PART.search(name) and not _is_aside(name)]
    wanted = _USUAL_QUANTS if tag.lower() == "latest" else (tag,)
    found = next((name for quant in wanted for name in models if _is_of(name, quant)), None)
    if found is None and tag.lower() == "latest" and models:
        found = models[0]
    if found is None:
        return None
    answer = {"ggufFile": _manifest_entry(revision.files[found])}
    encoders = [name for name in names if PurePosixPath(name).name.lower().startswith("mmproj")]
    if encoders:
        best = min(encoders, key=lambda name: (not _is_of(name, "F16"), name))
        answer["mmprojFile"] = _manifest_entry(revision.files[best])
    return answer


def _sibling(file: OfferedFile, *, blobs: bool) -> Json:
    sibling: Json = {"rfilename": file.path}
    if blobs:
        sibling |= {"size": file.bytes, "blobId": file.git_oid}
        if file.lfs:
            sibling["lfs"] = {
                "sha256": file.sha256,
                "size": file.bytes,
                "pointerSize": _pointer_size(file),
            }
    return sibling


def _manifest_entry(file: OfferedFile) -> Json:
    return {"rfilename": file.path, "blobId": f"sha256:{file.sha256}", "size": file.bytes}


def _by_folder(files: Iterable[OfferedFile], inside: str) -> dict[str, list[OfferedFile]]:
    """The folders that lie in the folder `inside`, each with all files below it."""
    folders: dict[str, list[OfferedFile]] = {}
    for file in files:
        parts = file.path.removeprefix(inside).split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folders.setdefault(inside + "/".join(parts[:count]), []).append(file)
    return folders


def _is_aside(name: str) -> bool:
    return PurePosixPath(name).name.lower().startswith(_NO_MODEL)


def _is_of(name: str, quant: str) -> bool:
    """Whether a file's or its folder's name says that it is of `quant`."""
    return bool(
        re.search(rf"(?:^|[-./]){re.escape(quant)}(?:[-./]|$)", name.removesuffix(".gguf"), re.I)
    )


def _pointer_size(file: OfferedFile) -> int:
    """Bytes of the text that git holds in an LFS file's place; its last line gives the size."""
    return 125 + len(str(file.bytes))


def _opaque(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
