"""What must hold between the values of one table, as a list of rules.

A rule names the keys that it looks at, so that the message can say where they stand; it is skipped
where one of them is absent (unless it asks for that) or was refused already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.catalogue.model import FORMAT_OF_ENGINE, File
from server.catalogue.tree import WRONG, Leaf, Tree, shown

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    keys: tuple[str, ...]
    """The first is the one to blame; all must be present for the rule to apply."""
    holds: Callable[[Values], bool]
    expected: str
    show: Callable[[Any], str] = shown
    """How the value of the first key reads."""


@dataclass(frozen=True, slots=True)
class Implies:
    """`key` being `value` (None: being there at all) forbids some keys and demands others."""

    key: str
    value: object
    forbids: tuple[str, ...] = ()
    demands: tuple[str, ...] = ()


ARCHITECTURE: tuple[Rule | Implies, ...] = (
    Rule(
        ("kv_heads", "heads"),
        lambda v: v["heads"] % v["kv_heads"] == 0,
        "must divide heads",
    ),
    Rule(
        ("linear_key_heads", "linear_value_heads"),
        lambda v: v["linear_value_heads"] % v["linear_key_heads"] == 0,
        "must divide linear_value_heads",
    ),
    Rule(
        ("full_attention_interval", "layers"),
        lambda v: v["layers"] >= v["full_attention_interval"],
        "must not exceed layers, or no layer would have full attention",
    ),
    Rule(
        ("experts_per_token", "experts"),
        lambda v: v["experts_per_token"] <= v["experts"],
        "must not exceed experts",
    ),
    Implies("kind", "qwen3_5", ("experts", "experts_per_token", "moe_ffn", "shared_ffn"), ("ffn",)),
    Implies(
        "kind", "qwen3_5_moe", ("ffn",), ("experts", "experts_per_token", "moe_ffn", "shared_ffn")
    ),
)
VISION: tuple[Rule | Implies, ...] = (
    Rule(("heads", "hidden"), lambda v: v["hidden"] % v["heads"] == 0, "must divide hidden"),
)
BUILD: tuple[Rule | Implies, ...] = (
    Rule(
        ("format", "engine"),
        lambda v: FORMAT_OF_ENGINE[v["engine"]] == v["format"],
        "does not suit the engine: llama-server takes gguf, vllm takes safetensors",
    ),
    Implies("path", None, ("repository", "revision", "files", "modelscope")),
    Implies("revision", None, demands=("repository",)),
    Implies("files", None, demands=("repository",)),
    Rule(
        ("mmproj", "engine"),
        lambda v: v["engine"] == "llama-server",
        "is for llama-server only: safetensors builds hold their image encoder",
    ),
    Rule(
        ("files", "format"),
        lambda v: all(file.path.endswith(f".{v['format']}") for file in v["files"]),
        "must all have the format's name as their ending",
    ),
    Rule(("files",), lambda v: _distinct(v["files"]), "names a path twice"),
    Rule(
        ("bytes", "files"),
        lambda v: total_bytes(v["files"]) in (None, v["bytes"]),
        "is not the sum of the files' bytes",
    ),
    Rule(
        ("tensor_bytes", "bytes"),
        lambda v: v["tensor_bytes"] <= v["bytes"],
        "must not exceed bytes: files hold their tensors and a header",
    ),
)
SERVE: tuple[Rule | Implies, ...] = (
    Rule(
        ("models",),
        lambda v: v["models"] == "auto" or len(set(v["models"])) == len(v["models"]),
        "names a model twice",
    ),
    Rule(("preload",), lambda v: len(set(v["preload"])) == len(v["preload"]), "names one twice"),
)
SERVED_MODEL: tuple[Rule | Implies, ...] = (
    Implies("pin", True, forbids=("ttl",)),
    Rule(
        ("engines",),
        lambda v: 0 < len(v["engines"]) == len(set(v["engines"])),
        "must name at least one engine, and none twice",
    ),
    Rule(
        ("engines", "embeddings"),
        lambda v: not v["embeddings"] or "llama-server" in v["engines"],
        "must have llama-server for embeddings: a vLLM that makes them does nothing else, and is "
        "not launched so",
    ),
)
STORE: tuple[Rule | Implies, ...] = (
    Rule(("copies",), lambda v: len(set(v["copies"])) == len(v["copies"]), "names a place twice"),
    Rule(
        ("min_copies",),
        lambda v: v["min_copies"] <= 1 + len(v.get("copies", ())),
        "is more than the store itself and the places that copies names",
    ),
    Rule(
        ("sources",),
        lambda v: 0 < len(v["sources"]) == len(set(v["sources"])),
        "must name at least one source, and none twice",
    ),
)


def broken(rules: tuple[Rule | Implies, ...], tree: Tree) -> list[str]:
    """The problems of `tree` under `rules`, each naming file, key and value."""
    leaves = {key: leaf for key, leaf in tree.items() if isinstance(leaf, Leaf)}
    values = {key: leaf.value for key, leaf in leaves.items() if leaf.value is not WRONG}
    problems: list[str] = []
    for rule in rules:
        if isinstance(rule, Rule):
            if all(key in values for key in rule.keys) and not rule.holds(values):
                blamed, *others = (leaves[key] for key in rule.keys)
                problems.append(_told(blamed, rule.expected, *others, show=rule.show))
        elif rule.key in values and rule.value in (None, values[rule.key]):
            cause = leaves[rule.key]
            name = rule.key if rule.value is None else f"{rule.key} = {shown(rule.value)}"
            for key in rule.forbids:
                if key in leaves:
                    problems.append(_told(leaves[key], f"cannot stand beside {name}", cause))
            absent = [key for key in rule.demands if key not in tree]
            if absent:
                problems.append(_told(cause, f"needs {', '.join(absent)}"))
    return problems


def total_bytes(files: tuple[File, ...]) -> int | None:
    """The files' bytes together, None where one of them is not known."""
    sizes = [file.bytes for file in files]
    return sum(size for size in sizes if size) if sizes and None not in sizes else None


def _distinct(files: tuple[File, ...]) -> bool:
    return len({file.path for file in files}) == len(files)


def _told(blamed: Leaf, text: str, *others: Leaf, show: Callable[[Any], str] = shown) -> str:
    """The problem, and where the other values stand if that is another file."""
    simple = isinstance(blamed.value, str | int | float)
    elsewhere = "".join(
        f" ({other.key.rpartition('.')[2]} = {show(other.value)} stands in {other.source})"
        for other in others
        if other.source != blamed.source and isinstance(other.value, str | int)
    )
    return f"{blamed.where}{f' = {show(blamed.value)}:' if simple else ''} {text}{elsewhere}"
