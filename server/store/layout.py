"""Where weights lie, and whether a build's are there.

`<home>/models/<org>/<name>/<revision>/<file>`: plain files, which an engine takes by their path
and a person can read, copy and check with ordinary tools. Where a receipt lies beside them, a file
counts only if the receipt names it and it has the size written there: what is still arriving is
in none. Files that were put there by hand, without a receipt, count as they are.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from server.catalogue import Build, File
from server.errors import StoreError
from server.settings import Settings
from server.store.receipt import Receipt, read_receipt

_REVISION = re.compile(r"[0-9a-f]{40}")
_WEIGHTS = {"gguf": "*.gguf", "safetensors": "*.safetensors"}


@dataclass(frozen=True, slots=True)
class Installed:
    """A build whose weights are all there."""

    build: Build
    files: tuple[Path, ...]
    """The weight files, in order, without `mmproj`."""
    main: Path
    """What the engine is given: the GGUF file (of a split one the first part), or the folder."""
    mmproj: Path | None
    bytes: int
    """Of `files`, as they are on the disk."""
    mmproj_bytes: int
    """0 without one."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A build that cannot be served from this store, and why."""

    build: Build
    folder: Path | None
    """Where its files were looked for; None where the catalogue does not say enough to look."""
    problems: tuple[str, ...]
    """One for each file that is absent or of the wrong size, or a single one for the whole."""

    def error(self) -> StoreError:
        shown = self.problems[:5]
        more = len(self.problems) - len(shown)
        return StoreError(
            f"the weights of {self.build.name} are not in the store",
            why="; ".join(shown) + (f"; and {more} more" if more else ""),
            next_step=_next_step(self),
        )


def locate(build: Build, settings: Settings) -> Installed | Missing:
    """The weights of `build` in the store, or at its own `path`; else what is missing."""
    if build.path is not None:
        return _local(build, build.path)
    if build.repository is None:
        return Missing(build, None, ("the catalogue names no repository for it",))
    home = settings.models / PurePosixPath(build.repository)
    if build.revision is not None:
        return _in_folder(build, home / build.revision)
    folders = sorted(_revisions(home))
    if not folders:
        return Missing(build, home, (f"no revision of it is in {home}",))
    found = [_in_folder(build, folder) for folder in folders]
    if len(found) == 1:
        return found[0]
    return _newest(found) or Missing(
        build, home, (f"{home} holds {len(folders)} revisions: pin one of them",)
    )


def installed(build: Build, settings: Settings) -> Installed | None:
    """The weights of `build` if they are all there. See `locate` for why they are not."""
    found = locate(build, settings)
    return found if isinstance(found, Installed) else None


def _newest(found: Sequence[Installed | Missing]) -> Installed | None:
    """The one that was fetched last; None unless every one that is whole has a receipt."""
    dated = []
    for one in found:
        if isinstance(one, Installed):
            receipt = read_receipt(_folder(one))
            if receipt is None:
                return None
            dated.append((receipt.fetched, one))
    return max(dated, key=lambda pair: pair[0])[1] if dated else None


def _folder(found: Installed) -> Path:
    """The revision's folder; its files may lie in a folder of that."""
    inside = PurePosixPath(found.build.files[0].path).parts if found.build.files else ("one",)
    return found.files[0].parents[len(inside) - 1]


def _local(build: Build, path: Path) -> Installed | Missing:
    if path.is_dir():
        return _in_folder(build, path)
    if not path.is_file():
        return Missing(build, path.parent, (f"{path} does not exist",))
    mmproj = path.parent / build.mmproj.path if build.mmproj else None
    if mmproj is not None and not mmproj.is_file():
        return Missing(build, path.parent, (f"{mmproj} does not exist",))
    files = _with_parts(path)
    return _installed(build, files, path, mmproj)


def _in_folder(build: Build, folder: Path) -> Installed | Missing:
    """The build in one folder: by the catalogue's list of files, or by what lies there."""
    try:
        receipt = read_receipt(folder)
    except StoreError as error:
        return Missing(build, folder, (f"{error.what}: {error.why}",))
    listed = build.files or tuple(File(name) for name in _present(build, folder, receipt))
    if not listed:
        return Missing(build, folder, (f"no {build.format} file is in {folder}",))
    if (
        not build.files
        and build.format == "gguf"
        and len(_with_parts(folder / listed[0].path)) < len(listed)
    ):
        return Missing(build, folder, (f"{folder} holds more than one model: name the file",))
    wanted = (*listed, *((build.mmproj,) if build.mmproj else ()))
    problems = tuple(_problems(folder, wanted, receipt))
    if problems:
        return Missing(build, folder, problems)
    files = tuple(folder / PurePosixPath(file.path) for file in listed)
    main = files[0] if build.format == "gguf" else folder
    mmproj = folder / PurePosixPath(build.mmproj.path) if build.mmproj else None
    return _installed(build, files, main, mmproj)


def _installed(build: Build, files: tuple[Path, ...], main: Path, mmproj: Path | None) -> Installed:
    return Installed(
        build=build,
        files=files,
        main=main,
        mmproj=mmproj,
        bytes=sum(file.stat().st_size for file in files),
        mmproj_bytes=mmproj.stat().st_size if mmproj else 0,
    )


def _problems(folder: Path, files: Sequence[File], receipt: Receipt | None) -> Iterator[str]:
    sizes = {held.path: held.bytes for held in receipt.files} if receipt else {}
    for file in files:
        path = folder / PurePosixPath(file.path)
        size = sizes.get(file.path, file.bytes)
        if receipt and file.path not in sizes:
            yield f"{path} has not arrived" if path.exists() else f"{path} does not exist"
        elif not path.is_file():
            yield f"{path} does not exist"
        elif size is not None and path.stat().st_size != size:
            yield f"{path} has {path.stat().st_size} bytes, and should have {size}"
        elif file.bytes not in (None, size):
            yield f"{path} has {size} bytes, and the catalogue says {file.bytes}"


def _present(build: Build, folder: Path, receipt: Receipt | None) -> list[str]:
    """Weight files in `folder`, for a build whose files the catalogue does not list."""
    pattern = _WEIGHTS[build.format]
    if receipt is None:
        names = sorted(path.name for path in folder.glob(pattern))
    else:
        top = (held.path for held in receipt.files if "/" not in held.path)
        names = [name for name in top if fnmatchcase(name, pattern)]
    return [name for name in names if build.mmproj is None or name != build.mmproj.path]


def _with_parts(path: Path) -> tuple[Path, ...]:
    """`path` and, if its name is that of the first part of a split file, the other parts."""
    head, separator, count = path.stem.rpartition("-of-")
    if not separator or not head.endswith("-00001") or not count.isdigit():
        return (path,)
    return tuple(sorted(path.parent.glob(f"{glob.escape(head[:-5])}?????-of-{count}.gguf")))


def _revisions(home: Path) -> Iterator[Path]:
    if home.is_dir():
        for folder in home.iterdir():
            if _REVISION.fullmatch(folder.name) and folder.is_dir():
                yield folder


def _next_step(missing: Missing) -> str:
    build = missing.build
    if build.path is not None:
        return "Correct its path in the configuration"
    if missing.folder is None:
        return "Give it a repository or a path in the configuration"
    return f"`holdfast pull {build.name}` fetches them, or put them into {missing.folder}"
