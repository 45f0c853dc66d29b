"""One configuration file -> a tree of checked values that remember where they stood."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.catalogue.catalogue import shorten, suggestion
from server.catalogue.node import Dictionary, Entries, Node, Table, Whole
from server.catalogue.routing_field import SecretError
from server.catalogue.schema import DOCUMENT
from server.catalogue.tree import WRONG, Leaf, Tree, shown


@dataclass(slots=True)
class Document:
    source: Path
    tree: Tree = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(source: Path) -> Document:
    """The file's tree and all of its problems; nothing is raised for what the file holds."""
    document = Document(source)
    text = ""
    try:
        text = source.read_bytes().decode()
        raw = tomllib.loads(text)
    except OSError as error:
        document.problems.append(f"{source}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        document.problems.append(f"{source}: is not UTF-8 text (byte {error.start})")
    except RecursionError:
        document.problems.append(f"{source}: is nested too deeply")
    except ValueError as error:  # TOMLDecodeError, and integers of thousands of digits
        document.problems.append(f"{source}{_place(str(error), text)}")
    else:
        reader = _Reader(document)
        document.tree = reader.table(DOCUMENT, raw, "")
        _expand_repositories(document)
    return document


def entry_name(tree: Tree, key: str = "id") -> str | None:
    """What stands at `key`, or `model:id` where there is a model; None where either was refused."""
    leaves = [tree.get("model"), tree.get(key)] if "model" in tree else [tree.get(key)]
    names = [leaf.value for leaf in leaves if isinstance(leaf, Leaf)]
    if len(names) != len(leaves) or any(name is WRONG for name in names):
        return None
    return ":".join(names)


@dataclass(slots=True)
class _Reader:
    document: Document

    def table(self, table: Table, raw: object, key: str) -> Tree:
        tree: Tree = {}
        for name, value in self._mapping(raw, key, table if table.private else None).items():
            inner = f"{key}.{name}" if key else name
            if name not in table.fields:
                hint = suggestion(name, table.fields, "Keys")
                self._problem(_quoted(inner, name), f"is not a known key. {hint}")
            else:
                tree[name] = self._node(table.fields[name], value, inner)
        return tree

    def _node(self, node: Node, raw: object, key: str) -> Leaf | Tree:
        match node:
            case Table():
                tree = self.table(node, raw, key)
                return tree if isinstance(raw, dict) else self._leaf(WRONG, key)
            case Dictionary():
                return self._dictionary(node, raw, key)
            case Entries():
                return self._entries(node, raw, key)
            case Whole():
                return self._leaf(self._whole(node, raw, key), key)
            case _:
                try:
                    return self._leaf(node(raw), key)
                except ValueError as error:
                    unshown = isinstance(error, SecretError)
                    self._problem(key, str(error), *(() if unshown else (raw,)))
                    return self._leaf(WRONG, key)

    def _dictionary(self, node: Dictionary, raw: object, key: str) -> Tree:
        tree: Tree = {}
        for name, value in self._mapping(raw, key).items():
            inner = f"{key}.{name}"
            try:
                node.key(name)
            except ValueError as error:
                self._problem(_quoted(inner, name), f"is not a known key: {error}")
                if not isinstance(node.value, Table):
                    tree[name] = self._leaf(WRONG, inner)
                continue
            tree[name] = read = self._node(node.value, value, inner)
            if node.name and isinstance(read, dict):
                read[node.name] = Leaf(name, self.document.source, inner)
        return tree

    def _entries(self, node: Entries, raw: object, key: str) -> Tree:
        """Entries by name; one without a usable name is checked and then left out."""
        tree: Tree = {}
        for index, row in enumerate(self._list(raw, key, node.table.private)):
            label = _label(row, node.key)
            inner = f"{key}[{index if label is None else label}]"
            entry = self.table(node.table, row, inner)
            absent = [k for k in ("model", node.key) if k in node.table.required and k not in entry]
            if absent and isinstance(row, dict):
                self._problem(inner, f"has no {', '.join(absent)}")
            name = None if absent else entry_name(entry, node.key)
            if name is None:
                continue
            if name not in tree:
                tree[name] = entry
            elif node.unique:
                self._problem(inner, "stands twice")
            else:
                tree[f"{name}#{index}"] = entry
        return tree

    def _whole(self, node: Whole, raw: object, key: str) -> object:
        if not node.many:
            return self._row(node, raw, key)
        rows = [
            self._row(node, row, f"{key}[{index}]")
            for index, row in enumerate(self._list(raw, key))
        ]
        if any(row is WRONG for row in rows):
            return WRONG
        return tuple(item for row in rows for item in row)  # type: ignore[attr-defined]

    def _row(self, node: Whole, raw: object, key: str) -> object:
        before = len(self.document.problems)
        tree = self.table(node.table, raw, key)
        absent = [name for name in node.table.required if name not in tree]
        if absent and isinstance(raw, dict):
            self._problem(key, f"has no {', '.join(absent)}")
        if len(self.document.problems) > before:
            return WRONG
        try:
            return node.make({k: leaf.value for k, leaf in tree.items() if isinstance(leaf, Leaf)})
        except ValueError as error:
            self._problem(key, str(error), raw)
            return WRONG

    def _mapping(self, raw: object, key: str, private: Table | None = None) -> Mapping[str, object]:
        """`private`: the table that stands there, where what was written may be a secret."""
        if isinstance(raw, dict):
            return raw
        if private is None:
            self._problem(key, "expected a table", raw)
        else:
            self._problem(key, f"expected a table with {', '.join(private.fields)}")
        return {}

    def _list(self, raw: object, key: str, private: bool = False) -> list[object]:
        if isinstance(raw, list):
            return raw
        self._problem(key, f"expected an array of tables, [[{key}]]", *(() if private else (raw,)))
        return []

    def _leaf(self, value: object, key: str) -> Leaf:
        return Leaf(value, self.document.source, key)

    def _problem(self, key: str, text: str, *value: object) -> None:
        is_value = f" = {shown(value[0])}:" if value else ""
        self.document.problems.append(f"{self.document.source}: {key}{is_value} {text}")


def _expand_repositories(document: Document) -> None:
    """Turns `[[repository]]` entries into builds, each with what its repository says of all."""
    repositories = document.tree.pop("repository", {})
    singles = document.tree.pop("build", {})
    assert isinstance(repositories, dict)
    assert isinstance(singles, dict)
    builds: Tree = {}
    for repository in repositories.values():
        assert isinstance(repository, dict)
        shared = {key: value for key, value in repository.items() if key not in ("id", "builds")}
        rows = repository.get("builds", {})
        assert isinstance(rows, dict)
        for row in rows.values():
            assert isinstance(row, dict)
            build: Tree = {**shared, "repository": repository["id"], **row}
            name = entry_name(build)
            if name in builds or name in singles:
                document.problems.append(f"{document.source}: build[{name}] stands twice")
            elif name is not None:
                builds[name] = build
    document.tree["build"] = {**builds, **singles}


def _label(row: object, key: str) -> str | None:
    """How an entry is called in messages before it has been checked."""
    if not isinstance(row, dict) or not isinstance(row.get(key), str):
        return None
    model = row.get("model")
    # A repository's id holds a slash and is unambiguous without its model.
    named = isinstance(model, str) and "/" not in row[key]
    return shorten(f"{model}:{row[key]}" if named else row[key])


def _quoted(key: str, name: str) -> str:
    """`key` with its last part quoted where it is not a bare TOML key."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return key
    return key[: len(key) - len(name)] + shown(name)


def _place(message: str, text: str) -> str:
    """tomllib's message -> `:line:column: message`; it has no attributes before Python 3.14."""
    if match := re.search(r" \(at line (\d+), column (\d+)\)$", message):
        line, column = match[1], match[2]
    elif match := re.search(r" \(at end of document\)$", message):
        line, column = str(text.count("\n") + 1), str(len(text) - text.rfind("\n"))
    else:
        return f": {message}"
    return f":{line}:{column}: {message[: match.start()]}"
