"""Responses that were stored, asked for again by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from server import demo
from tests.integration.running import Holdfast, holdfast, run

pytestmark = pytest.mark.integration

WHAT = demo.question("what-is-holdfast")
QUESTION = WHAT.messages[-1]["content"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holdfast]:
    """With keys for ann and bob."""
    home = tmp_path_factory.mktemp("stored") / "home"
    with holdfast(home, "--demo") as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def clients(node: Holdfast) -> dict[str, openai.OpenAI]:
    made = {name: run("keys", "create", name, home=node.home) for name in ("ann", "bob")}
    assert all(one.returncode == 0 for one in made.values()), made
    return {name: node.client(api_key=one.stdout.strip()) for name, one in made.items()}


@pytest.fixture(scope="module")
def ann(clients: dict[str, openai.OpenAI]) -> openai.OpenAI:
    return clients["ann"]


def streamed(client: openai.OpenAI, **fields: Any) -> Any:
    with client.responses.stream(model="demo", input=QUESTION, **fields) as stream:
        return stream.get_final_response()


def whole(client: openai.OpenAI, **fields: Any) -> Any:
    return client.responses.create(model="demo", input=QUESTION, **fields)


@pytest.mark.parametrize("made", [whole, streamed])
def test_a_response_is_the_same_when_it_is_asked_for_again(ann: openai.OpenAI, made: Any) -> None:
    first = made(ann, metadata={"a": "b"})
    again = ann.responses.retrieve(first.id)
    assert again.output_text == first.output_text == WHAT.content
    assert (again.status, again.metadata, again.usage) == ("completed", {"a": "b"}, first.usage)
    assert [item.id for item in again.output] == [item.id for item in first.output]


def test_its_input_is_listed_with_what_was_said_before(ann: openai.OpenAI) -> None:
    first = whole(ann)
    second = ann.responses.create(model="demo", input="And again?", previous_response_id=first.id)
    items = list(ann.responses.input_items.list(second.id, order="asc", limit=1))
    assert [getattr(item, "role", "") for item in items] == ["user", "assistant", "user"]
    assert items[0].model_dump()["content"][0]["text"] == QUESTION
    newest = ann.responses.input_items.list(second.id).data[0]
    assert newest.model_dump()["content"][0]["text"] == "And again?"


def test_it_is_gone_once_it_was_deleted_and_what_went_on_from_it_is_not(
    ann: openai.OpenAI,
) -> None:
    first = whole(ann)
    second = ann.responses.create(model="demo", input="And again?", previous_response_id=first.id)
    ann.responses.delete(first.id)
    for ask in (ann.responses.retrieve, ann.responses.delete, ann.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match="not found: it was not stored, or is no lo"):
            ask(first.id)
    with pytest.raises(openai.BadRequestError):
        ann.responses.create(model="demo", input="hi", previous_response_id=first.id)
    assert ann.responses.retrieve(second.id).id == second.id
    assert len(list(ann.responses.input_items.list(second.id))) == 3


def test_to_another_key_it_does_not_exist(clients: dict[str, openai.OpenAI]) -> None:
    ann, bob = clients["ann"], clients["bob"]
    first = whole(ann)
    for ask in (bob.responses.retrieve, bob.responses.delete, bob.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(first.id)
    with pytest.raises(openai.AuthenticationError):
        bob.with_options(api_key="sk-nobody").responses.retrieve(first.id)
    assert ann.responses.retrieve(first.id).id == first.id


def test_what_is_not_to_be_stored_is_not(ann: openai.OpenAI) -> None:
    first = whole(ann, store=False)
    with pytest.raises(openai.NotFoundError):
        ann.responses.retrieve(first.id)


def test_what_cannot_be_asked_of_it(ann: openai.OpenAI) -> None:
    first = whole(ann)
    with pytest.raises(openai.BadRequestError) as caught:
        ann.responses.retrieve(first.id, stream=True)
    assert caught.value.param == "stream"
    with pytest.raises(openai.NotFoundError):
        ann.get(f"/responses/{first.id}/else", cast_to=object)
    with pytest.raises(openai.APIStatusError) as refused:
        ann.responses.cancel(first.id)
    assert refused.value.status_code == 405
