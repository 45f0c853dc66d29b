"""Merged trees -> the catalogue, or all the problems that stand in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from server.catalogue import routing_assembly, routing_check, rule, schema
from server.catalogue.architecture import Architecture, Vision
from server.catalogue.catalogue import Catalogue, suggestion
from server.catalogue.document import Document
from server.catalogue.model import Build, Model, Sampling
from server.catalogue.overlay import inherit, merge
from server.catalogue.serve import Serve, ServedModel
from server.catalogue.store import Store
from server.catalogue.tree import (
    WRONG,
    Leaf,
    Tree,
    home_of,
    missing,
    plain,
    shown,
    subtree,
    value_of,
)
from server.errors import ConfigError


def assemble(documents: Sequence[Document]) -> Catalogue:
    """Lays the documents over each other, in order. Raises ConfigError with every problem."""
    problems = [problem for document in documents for problem in document.problems]
    tree: Tree = {}
    for document in documents:
        tree = merge(tree, document.tree)
    models, unlike = inherit(subtree(tree, "model"), subtree(tree, "family"))
    builds, serve, store = (subtree(tree, name) for name in ("build", "serve", "store"))
    problems += unlike
    problems += [text for model in models.values() for text in _model_problems(model)]
    problems += [text for build in builds.values() for text in _build_problems(build, models)]
    problems += _serve_problems(serve, models, builds)
    problems += rule.broken(rule.STORE, store)
    problems += routing_check.problems(tree, models, builds)
    if not problems:
        return Catalogue(
            MappingProxyType({name: _model(name, models, builds) for name in models}),
            _serve(serve),
            tuple(document.source for document in documents),
            Store(**plain(store)),
            routing_assembly.providers(tree),
            routing_assembly.clouds(tree),
            routing_assembly.router(tree),
        )
    # A mistake in a family would else be told once for every model that is like it.
    problems = list(dict.fromkeys(problems))
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise ConfigError(
        f"the configuration has {count}",
        problems=tuple(problems),
        next_step="Mend the files and try again; `holdfast check-config` lists the problems",
    )


def _model_problems(model: Tree | Leaf) -> Iterator[str]:
    assert isinstance(model, dict)
    home = home_of(model, "model")
    if value_of(model, "like") is not WRONG:
        yield from missing(schema.MODEL, model, home)
    architecture = subtree(model, "architecture")
    yield from rule.broken(rule.ARCHITECTURE, architecture)
    yield from rule.broken(rule.VISION, subtree(architecture, "vision"))
    sampling = subtree(model, "sampling")
    if sampling and not sampling.keys() >= {"thinking", "non_thinking"}:
        yield f"{home}.sampling must have both thinking and non_thinking"


def _build_problems(build: Tree | Leaf, models: Tree) -> Iterator[str]:
    assert isinstance(build, dict)
    yield from missing(schema.BUILD, build, home_of(build, "build"))
    yield from rule.broken(rule.BUILD, build)
    if "repository" not in build and "path" not in build:
        yield f"{home_of(build, 'build')} has neither repository nor path"
    model = build["model"]
    assert isinstance(model, Leaf)
    if model.value not in models:
        hint = suggestion(model.value, models, "Models")
        yield f"{model.where} = {shown(model.value)}: no such model. {hint}"


def _serve_problems(serve: Tree, models: Tree, builds: Tree) -> Iterator[str]:
    """What `[serve]` names must be there, and take the context that it asks for."""
    yield from rule.broken(rule.SERVE, serve)
    context = serve.get("context")
    for key in ("models", "preload"):
        names = serve.get(key)
        if isinstance(names, Leaf) and names.value is not WRONG and names.value != "auto":
            for name in names.value:
                yield from _name_problems(name, names, models, builds)
                if key == "models":
                    yield from _context_problems(name, context, models)
    for name, table in subtree(serve, "model").items():
        assert isinstance(table, dict)
        leaf = table["name"]
        assert isinstance(leaf, Leaf)
        yield from _name_problems(name, leaf, models, builds)
        yield from _context_problems(name, table.get("context", context), models)
        yield from rule.broken(rule.SERVED_MODEL, table)
        yield from _engine_problems(name, table.get("engines"), builds)
        yield from _embedding_problems(name, table.get("embeddings"), builds)


def _name_problems(name: str, leaf: Leaf, models: Tree, builds: Tree) -> Iterator[str]:
    """`leaf`: where the name stands."""
    model_id, colon, _ = name.partition(":")
    told = f"{leaf.where} = {shown(name)}:"
    if model_id not in models:
        yield f"{told} no such model. {suggestion(model_id, models, 'Models')}"
    elif colon and name not in builds:
        own = [build for build in builds if build.startswith(f"{model_id}:")]
        yield f"{told} no such build. {suggestion(name, own, f'Builds of {model_id}')}"


def _context_problems(name: str, context: Leaf | Tree | None, models: Tree) -> Iterator[str]:
    model_id = name.partition(":")[0]
    trained = value_of(subtree(models, model_id), "context")
    if not isinstance(context, Leaf) or context.value is WRONG or not isinstance(trained, int):
        return
    if context.value > trained:
        yield f"{context.where} = {context.value}: {model_id} takes {trained} tokens at most"


def _engine_problems(name: str, engines: Leaf | Tree | None, builds: Tree) -> Iterator[str]:
    """Some build of what is named must be for one of the engines."""
    if not isinstance(engines, Leaf) or engines.value is WRONG or not engines.value:
        return
    made_for = _engines_of(name, builds)
    if made_for and not made_for & set(engines.value):
        others = ", ".join(sorted(made_for))
        yield (
            f"{engines.where} = {shown(list(engines.value))}: {name} has no build for that, "
            f"only for {others}"
        )


def _embedding_problems(name: str, embeddings: Leaf | Tree | None, builds: Tree) -> Iterator[str]:
    """Only llama-server makes embeddings beside its answers."""
    if not isinstance(embeddings, Leaf) or embeddings.value is not True:
        return
    made_for = _engines_of(name, builds)
    if made_for and "llama-server" not in made_for:
        yield (
            f"{embeddings.where} = true: {name} has no build for llama-server, and a vLLM that "
            "makes embeddings does nothing else, and is not launched so"
        )


def _engines_of(name: str, builds: Tree) -> set[str]:
    """What the builds that `name` stands for are made for."""
    own = [build for key, build in builds.items() if f"{key}:".startswith(f"{name}:")]
    engines = (value_of(build, "engine") for build in own if isinstance(build, dict))
    return {engine for engine in engines if isinstance(engine, str)}


def _serve(tree: Tree) -> Serve:
    values = plain(tree)
    served = values.pop("model", {})
    auto = values.get("models") == "auto"
    if auto:
        values["models"] = ()
    keep_alive = values.get("keep_alive")
    tables = tuple(ServedModel(**{"ttl": keep_alive, **table}) for table in served.values())
    return Serve(**values, auto=auto, model=tables)


def _model(name: str, models: Tree, builds: Tree) -> Model:
    tree = subtree(models, name)
    architecture = plain(subtree(tree, "architecture"))
    if vision := architecture.get("vision"):
        architecture["vision"] = Vision(**vision)
    sampling = plain(subtree(tree, "sampling"))
    values = plain(tree)
    values.pop("like", None)
    values.setdefault("title", name)
    return Model(
        **{
            **values,
            "architecture": Architecture(**architecture),
            "sampling": MappingProxyType({mode: Sampling(**s) for mode, s in sampling.items()}),
            "scores": MappingProxyType(values.get("scores", {})),
            "builds": tuple(
                _build(build)
                for build in builds.values()
                if isinstance(build, dict) and value_of(build, "model") == name
            ),
        }
    )


def _build(tree: Tree) -> Build:
    values = plain(tree)
    if "bytes" not in values:
        values["bytes"] = rule.total_bytes(values.get("files", ()))
    if "path" in values:
        path = tree["path"]
        assert isinstance(path, Leaf)
        values["path"] = path.source.absolute().parent / Path(path.value).expanduser()
    return Build(**values)
