"""Embeddings as people's programs ask for them: OpenAI's SDK and LangChain, of an engine and of a
cloud, with faults."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from server import demo
from tests.fakes.cloud_running import FakeCloud, running_cloud
from tests.integration.clouds import Clouds, clouds, gateway
from tests.integration.running import Holdfast, run
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

HIDDEN = 192
SMALL = "openai/text-embedding-3-small"
GEMINI = "gemini/gemini-embedding-2"
CONFIG = """
[router]
breaker_failures = 1000

[[serve.model]]
name = "demo"
embeddings = true

[[provider]]
id = "second"
kind = "openai"
url = "{second}/v1"
key = {{ env = "TEST_OPENAI_KEY" }}

[[cloud]]
id = "second/text-embedding-3-small"
context = 8192
max_output = 1
embeddings = true
price = {{ input = "0.03 USD/1M", output = "0 USD/1M" }}

[[alias]]
name = "vectors"
candidates = ["openai/text-embedding-3-small", "second/text-embedding-3-small"]
"""


@pytest.fixture(scope="module")
def second() -> Iterator[FakeCloud]:
    with running_cloud("openai_api") as found:
        yield found


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, played: Clouds, second: FakeCloud
) -> Iterator[Holdfast]:
    folder = tmp_path_factory.mktemp("embeddings")
    with gateway(folder, played, CONFIG.format(second=second.url)) as running:
        yield running


@pytest.fixture(autouse=True)
def _mended(played: Clouds, second: FakeCloud) -> None:
    played.mend()
    second.mend()


def alike(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine between them."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths


def entries(node: Holdfast, request_id: str) -> list[dict[str, Any]]:
    """The rows that the ledger has of a request, once there is a final one."""

    path = node.home / "ledger" / "book.db"

    def rows() -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as book:
            book.row_factory = sqlite3.Row
            found = book.execute("SELECT * FROM entry WHERE request_id = ?", (request_id,))
            return [dict(row) for row in found]

    wait_for(rows, 30)
    return rows()


def test_an_engine_makes_them_for_the_sdk(client: openai.OpenAI) -> None:
    texts = ["Holdfast keeps weights", "Something else", "Holdfast keeps weights"]
    raw = client.embeddings.with_raw_response.create(model="demo", input=texts)
    found = raw.parse()
    first, other, again = (one.embedding for one in found.data)
    assert [one.index for one in found.data] == [0, 1, 2]
    assert {len(first), len(other)} == {HIDDEN}
    assert math.hypot(*first) == pytest.approx(1, abs=1e-3)
    assert alike(first, again) == pytest.approx(1, abs=1e-3)
    assert alike(first, other) < 0.999
    assert found.usage.prompt_tokens == found.usage.total_tokens > 5
    assert raw.headers["x-holdfast-route"] == "local"
    assert raw.headers["x-holdfast-model"] == "demo:f16"
    assert float(raw.headers["x-holdfast-cost-usd"]) == 0


def test_numbers_base64_and_tokens(client: openai.OpenAI) -> None:
    plain = client.embeddings.create(model="demo", input="Holdfast", encoding_format="float")
    packed = client.embeddings.create(model="demo", input=["Holdfast"])
    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-3)
    ids = client.embeddings.create(model="demo", input=[5, 6, 7])
    many = client.embeddings.create(model="demo", input=[[5, 6, 7], [8]], dimensions=HIDDEN)
    assert len(ids.data) == 1
    assert alike(ids.data[0].embedding, many.data[0].embedding) == pytest.approx(1, abs=1e-3)


def test_a_batch_beyond_the_slots_keeps_its_order(client: openai.OpenAI) -> None:
    texts = [f"text number {number % 7}" for number in range(40)]
    found = client.embeddings.create(model="demo", input=texts)
    assert [one.index for one in found.data] == list(range(40))
    single = client.embeddings.create(model="demo", input=texts[11])
    same = [
        n
        for n, one in enumerate(found.data)
        if alike(one.embedding, single.data[0].embedding) > 0.9999
    ]
    assert same == [n for n in range(40) if n % 7 == 11 % 7]
    assert found.usage.prompt_tokens >= 40 * 3


def test_what_makes_embeddings_still_answers(client: openai.OpenAI) -> None:
    what = demo.question("what-is-holdfast")
    said = client.chat.completions.create(model="demo", messages=list(what.messages))  # type: ignore[arg-type]
    assert said.choices[0].message.content == what.content


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"input": ""}, "input", "1 to"),
    ({"input": []}, "input", "1 to"),
    ({"input": ["a", ""]}, "input[1]", "1 to"),
    ({"input": "a", "dimensions": 64}, "dimensions", "have 192 numbers"),
    ({"input": "word " * 6000}, "input", "maximum context length is 4096 tokens"),
    ({"input": ["a", "word " * 6000]}, "input", "maximum context length is 4096 tokens"),
    ({"input": [[1, 10**6]]}, "input", "token ids that do not exist"),
    ({"input": "a", "encoding_format": "int8"}, "encoding_format", "int8"),
    ({"input": "a", "model": "anthropic/claude-sonnet-4-5"}, "model", "no embeddings"),
    ({"input": "a", "model": "auto"}, "model", "several models that make embeddings"),
    ({"input": "a", "model": "gemini/gemini-2.5-flash"}, "model", "no embeddings"),
]


@pytest.mark.parametrize(("fields", "param", "says"), REFUSED)
def test_what_is_wrong_is_told(
    client: openai.OpenAI, fields: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": "demo"} | fields)
    assert says in caught.value.message
    assert caught.value.param == param


def test_a_chat_is_no_business_of_an_embedding_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="makes embeddings, and nothing else"):
        client.chat.completions.create(model=SMALL, messages=[{"role": "user", "content": "x"}])


def test_a_cloud_makes_them_and_is_paid(
    node: Holdfast, client: openai.OpenAI, played: Clouds
) -> None:
    before = len(played.openai.requests())
    raw = client.embeddings.with_raw_response.create(
        model=SMALL, input=["one two", "three"], dimensions=4
    )
    found = raw.parse()
    assert [len(one.embedding) for one in found.data] == [4, 4]
    assert raw.headers["x-holdfast-route"] == "cloud"
    assert len(played.openai.requests()) == before + 1
    (row,) = entries(node, raw.headers["x-request-id"])
    assert (row["endpoint"], row["model"], row["prompt_tokens"]) == ("embeddings", SMALL, 3)
    assert row["cost"] == 60, "3 tokens at 0.02 USD a million, in nano-USD"
    assert float(raw.headers["x-holdfast-cost-usd"]) == pytest.approx(60e-9)


def test_geminis_own_are_asked_for_in_its_own_words(
    node: Holdfast, client: openai.OpenAI, played: Clouds
) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=GEMINI, input=["one two", "three"], dimensions=4
    )
    found = raw.parse()
    assert [len(one.embedding) for one in found.data] == [4, 4]
    assert (found.model, found.usage.prompt_tokens) == ("gemini-embedding-2", 3)
    sent = played.gemini.requests()[-1]
    assert sent["path"] == "/v1/models/gemini-embedding-2:batchEmbedContents"
    assert sent["headers"]["x-goog-api-key"] == "sk-canary-gemini"
    (row,) = entries(node, raw.headers["x-request-id"])
    assert (row["endpoint"], row["model"], row["prompt_tokens"]) == ("embeddings", GEMINI, 3)
    assert row["cost"] == 600, "3 tokens at 0.20 USD a million, in nano-USD"
    with pytest.raises(openai.BadRequestError, match="takes no token ids"):
        client.embeddings.create(model=GEMINI, input=[[1, 2]])
    with pytest.raises(openai.BadRequestError, match="takes 100 inputs at a time") as many:
        client.embeddings.create(model=GEMINI, input=["a"] * 101)
    assert many.value.param == "input"
    assert sent == played.gemini.requests()[-1]


def test_nothing_leaves_that_may_not(client: openai.OpenAI, played: Clouds) -> None:
    before = played.sent()
    with pytest.raises(openai.BadRequestError, match="this request is local-only"):
        client.embeddings.create(
            model=SMALL, input="a", extra_headers={"x-holdfast-local-only": "true"}
        )
    here = client.embeddings.with_raw_response.create(
        model="demo", input="a", extra_headers={"x-holdfast-local-only": "true"}
    )
    assert here.headers["x-holdfast-route"] == "local"
    assert played.sent() == before


def test_the_list_of_models_tells_who_makes_them(client: openai.OpenAI) -> None:
    listed = {model.id: model.model_dump()["capabilities"] for model in client.models.list().data
              if "capabilities" in model.model_dump()}  # fmt: skip
    assert listed[SMALL] == ["embeddings"]
    assert "embeddings" in listed["demo"]
    assert "chat" in listed["demo"]
    assert "embeddings" not in listed["openai/gpt-5"]


def test_where_they_would_go_can_be_explained(node: Holdfast, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"model": "vectors", "input": ["a", "b"]}')
    done = run("route", "explain", "--request", str(body), home=node.home)
    assert done.returncode == 0, done.stderr
    assert f"It would go to {SMALL}" in done.stdout
    assert "vectors: about" in done.stdout
    assert "; embeddings" in done.stdout


def test_a_batch_that_may_cost_too_much_is_not_sent(tmp_path: Path) -> None:
    limit = '[router.limits]\nday = "0.001 USD"\n'  # 50,000 tokens of this model
    with clouds() as played, gateway(tmp_path, played, limit) as node:
        small = node.client(timeout=60).embeddings.create(model=SMALL, input=["a"] * 20)
        assert len(small.data) == 20
        with pytest.raises(openai.RateLimitError) as caught:
            node.client(timeout=60).embeddings.create(model=SMALL, input=["word " * 500] * 200)
        assert caught.value.code == "insufficient_quota"
        assert played.sent() == 1


def test_langchain_works_unchanged(node: Holdfast) -> None:
    for model in ("demo", SMALL, GEMINI):
        store = OpenAIEmbeddings(
            model=model,
            base_url=node.url,
            api_key=SecretStr("none"),
            check_embedding_ctx_length=False,
        )
        one, other, again = store.embed_documents(["to be found", "another", "to be found"])
        assert alike(one, again) == pytest.approx(1, abs=1e-3)
        assert alike(store.embed_query("to be found"), one) == pytest.approx(1, abs=1e-3)
        assert alike(one, other) < 0.9999


@pytest.mark.parametrize("fault", ["500", "503", "cut", "refused", "429 retry_after=1"])
def test_another_provider_of_the_same_model_takes_over(
    client: openai.OpenAI, played: Clouds, fault: str
) -> None:
    played.openai.faults(*[fault] * 3)
    raw = client.embeddings.with_raw_response.create(model="vectors", input=["a", "b"])
    assert len(raw.parse().data) == 2
    assert raw.headers["x-holdfast-model"] == "second/text-embedding-3-small"
    assert int(raw.headers["x-holdfast-attempts"]) >= 2
