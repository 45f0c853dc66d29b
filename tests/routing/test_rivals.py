"""What an answer is held to have saved is measured by clouds that could have given it."""

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from server import catalogue, settings
from server.catalogue.capability import capability
from server.catalogue.cloud import CloudModel
from server.chat.usage import Usage
from server.ledger.cost import saved
from server.routing.needs import Needs
from server.routing.rivals import Rivals

NOWHERE = Path("/nowhere")
KNOWN = catalogue.load(settings.load(os.environ, home=NOWHERE, system_config=NOWHERE))
RIVALS = Rivals(KNOWN)
EASY: dict[str, Any] = {
    "asked": "auto", "endpoint": "chat", "task": "chat", "task_from": "inferred",
    "prompt_tokens": 10, "max_tokens": None, "key": "k", "time": datetime.time(12),
}  # fmt: skip


def needs(**more: Any) -> Needs:
    return Needs(**{**EASY, **more})


def able(of: Needs) -> list[CloudModel]:
    """All of them, as the documentation has it."""
    clouds = list(KNOWN.clouds.values())
    if of.endpoint == "embeddings":
        return [one for one in clouds if one.embeddings]
    task = KNOWN.router.tasks[of.task]
    return [
        one
        for one in clouds
        if not one.embeddings
        and of.features <= one.features
        and (one.image or not of.images)
        and (one.documents or not of.pages)
        and (capability(one.scores, task) or 0.0) >= task.floor
    ]


@pytest.mark.parametrize(
    "asked",
    [
        needs(),
        needs(task="coding"),
        needs(images=1),
        needs(pages=1),
        needs(features=frozenset({"tools", "schema"})),
        needs(features=frozenset({"thinking", "stop"}), images=2),
        needs(endpoint="embeddings"),
    ],
    ids=lambda asked: (
        f"{asked.endpoint} {asked.task} {asked.images} {asked.pages} {sorted(asked.features)}"
    ),
)
@pytest.mark.parametrize("usage", [Usage(1000, 10), Usage(10, 1000), Usage(300_000, 50, 299_000)])
def test_the_cheapest_that_is_able_is_among_them(asked: Needs, usage: Usage) -> None:
    everybody = able(asked)
    assert {one.id for one in RIVALS.of(asked)} <= {one.id for one in everybody}
    assert everybody
    assert saved(usage, 0, RIVALS.of(asked)) == saved(usage, 0, everybody) > 0


def test_they_are_looked_for_once() -> None:
    assert RIVALS.of(needs()) is RIVALS.of(needs(prompt_tokens=99, asked="demo"))
    assert RIVALS.of(needs()) is not RIVALS.of(needs(images=1))
