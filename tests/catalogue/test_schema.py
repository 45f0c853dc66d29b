"""The tables of the schema and the types that they become have the same keys."""

from __future__ import annotations

from dataclasses import fields

import pytest

from server.catalogue import (
    Architecture,
    Build,
    Model,
    Repository,
    Sampling,
    Serve,
    ServedModel,
    Vision,
    routing_schema,
    schema,
)
from server.catalogue.cloud import CloudModel, KeySource, Provider, Rate
from server.catalogue.node import Table
from server.catalogue.router import (
    Alias,
    Canary,
    Limits,
    Match,
    RequestLog,
    Route,
    Router,
    Shadow,
    Task,
    Team,
)

PAIRS = [
    (schema.ARCHITECTURE, Architecture, set()),
    (schema.VISION, Vision, set()),
    (schema.SAMPLING, Sampling, set()),
    (schema.SERVE, Serve, {"auto"}),
    (schema.SERVED_MODEL, ServedModel, set()),
    (schema.BUILD, Build, set()),
    # `like` is resolved away; builds stand in tables of their own.
    (schema.MODEL, Model, {"like", "builds"}),
    # Entries of [router] stand in tables of their own.
    (routing_schema.ROUTER, Router, {"aliases", "tasks", "routes", "teams"}),
    (routing_schema.LIMITS, Limits, set()),
    (routing_schema.REQUEST_LOG, RequestLog, set()),
    (routing_schema.ALIAS, Alias, set()),
    (routing_schema.TASK, Task, {"name"}),
    (routing_schema.MATCH, Match, set()),
    (routing_schema.CANARY, Canary, set()),
    (routing_schema.SHADOW, Shadow, set()),
    (routing_schema.TEAM, Team, set()),
    (routing_schema.KEY, KeySource, set()),
    (routing_schema.PROVIDER, Provider, set()),
    (routing_schema.PRICE, Rate, {"tiers"}),
    # A route without conditions is for every request.
    (routing_schema.ROUTE, Route, {"when"}),
    # The provider is the beginning of the id; name and title are the id where nothing is said.
    (routing_schema.CLOUD, CloudModel, {"provider", "name", "title"}),
]


@pytest.mark.parametrize(
    ("table", "type_", "apart"), PAIRS, ids=lambda p: getattr(p, "__name__", "")
)
def test_keys_are_fields(table: Table, type_: type, apart: set[str]) -> None:
    names = {field.name for field in fields(type_)}
    assert set(table.fields) - apart == names - apart


@pytest.mark.parametrize(
    ("table", "type_", "apart"), PAIRS, ids=lambda p: getattr(p, "__name__", "")
)
def test_required_keys_are_fields_without_default(
    table: Table, type_: type, apart: set[str]
) -> None:
    from dataclasses import MISSING

    bare = {
        field.name
        for field in fields(type_)
        if field.default is MISSING and field.default_factory is MISSING
    }
    # The title is the id, and scores are empty, where nothing is said.
    assert set(table.required) == bare - apart - ({"title", "scores"} if type_ is Model else set())


def test_a_repository_needs_an_id() -> None:
    assert Repository("a/b").revision is None
