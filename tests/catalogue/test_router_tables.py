"""The tables of the router and of clouds -> their types; files laid over each other."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from server.catalogue import Catalogue
from server.catalogue.cloud import CloudModel, KeySource, Price, Provider, Rate, Tier
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
from server.units import USD

Of = Callable[..., Catalogue]

EVERYTHING = """
[router]
cloud = false
policy = "fastest"
slo_ttft = "2s"
bridge = false
hedge_after = "1500ms"
retries = 0
retry_budget = 0.1
breaker_failures = 3
breaker_pause = 10
first_token_timeout = "5m"
token_timeout = "1m"
limits = { day = "5 USD", month = "$100", tokens_day = 1_000_000, rpm = 600, concurrency = 8 }

[[alias]]
name = "gpt-4o"
candidates = ["tiny", "acme/*"]
policy = "most-capable"
floor = 50
task = "coding"

[task.coding]
benchmarks = { gpqa = 2, ifeval = 1 }
floor = 60

[[team]]
id = "research"
limits = { month = "12.50 USD", tpm = 1000 }

[[provider]]
id = "acme"
kind = "openai"
url = "http://127.0.0.1:9000/v1/"
key = { env = "ACME_KEY", file = "~/acme.key", credential = "acme" }
zero_retention = true
rpm = 60
tpm = 100_000
concurrency = 4

[[cloud]]
id = "acme/vendor/Big-1"
name = "vendor/Big-1"
title = "Big One"
context = 128_000
max_output = 8_000
image = true
features = ["tools", "schema"]
efforts = ["none", "low", "max"]
thinking_budget = [128, 4096]
scores = { gpqa = 80 }
ttft = "500ms"
speed = 90
retires = 2027-01-31

[cloud.price]
input = "0.40 USD/1M"
cached_input = "0.04 USD/1M"
cache_write = "0.50 USD/1M"
output = "1.60 USD/1M"
tiers = [
    { above = 32_000, input = "0.80 USD/1M", cached_input = "0.08 USD/1M", \
cache_write = "1 USD/1M", output = "3.20 USD/1M" },
    { above = 64_000, input = "1 USD/1M", cached_input = "0.1 USD/1M", \
cache_write = "1.25 USD/1M", output = "4 USD/1M" },
]

[[cloud]]
id = "acme/embed"
context = 8_000
max_output = 1
price = { input = "0.02 USD/1M", output = "0 USD/1M" }
embeddings = true

[[route]]
id = "everything"
when = { models = ["tiny", "gpt-*"], tasks = ["coding"], keys = ["hr-*"], teams = ["research"], \
headers = { x-from = "crm", x-any = "*" }, min_tokens = 10, max_tokens = 20, images = false, \
hours = "22:00-06:00" }
policy = "weighted"
candidates = ["tiny:q4", "acme/*", "gpt-4o"]
weights = { "tiny:q4" = 3, "acme/*" = 1 }
fallbacks = ["cloud"]
canary = { model = "tiny:q8", percent = 10 }
shadow = { model = "acme/vendor/Big-1", percent = 0.5, day = "0.25 USD" }
slo_ttft = "5s"

[[route]]
id = "rest"
local_only = true
"""

ROUTER = Router(
    cloud=False,
    policy="fastest",
    slo_ttft=2.0,
    bridge=False,
    hedge_after=1.5,
    retries=0,
    retry_budget=0.1,
    breaker_failures=3,
    breaker_pause=10.0,
    first_token_timeout=300.0,
    token_timeout=60.0,
    limits=Limits(day=5 * USD, month=100 * USD, tokens_day=1_000_000, rpm=600, concurrency=8),
    aliases={"gpt-4o": Alias("gpt-4o", ("tiny", "acme/*"), "most-capable", 50.0, "coding")},
    tasks={"coding": Task("coding", {"gpqa": 2.0, "ifeval": 1.0}, 60.0)},
    teams={"research": Team("research", Limits(month=12_500_000_000, tpm=1000))},
    routes=(
        Route(
            "everything",
            Match(
                models=("tiny", "gpt-*"),
                tasks=("coding",),
                keys=("hr-*",),
                teams=("research",),
                headers={"x-from": "crm", "x-any": "*"},
                min_tokens=10,
                max_tokens=20,
                images=False,
                hours=(datetime.time(22), datetime.time(6)),
            ),
            policy="weighted",
            candidates=("tiny:q4", "acme/*", "tiny"),  # gpt-4o by what it stands for
            fallbacks=("cloud",),
            weights={"tiny:q4": 3.0, "acme/*": 1.0},
            canary=Canary("tiny:q8", 10.0),
            shadow=Shadow("acme/vendor/Big-1", 0.5, USD // 4),
            slo_ttft=5.0,
        ),
        Route("rest", Match(), local_only=True),
    ),
)
ACME = Provider(
    "acme",
    "openai",
    "http://127.0.0.1:9000/v1",
    KeySource("ACME_KEY", Path("~/acme.key"), "acme"),
    zero_retention=True,
    rpm=60,
    tpm=100_000,
    concurrency=4,
)
BIG = CloudModel(
    id="acme/vendor/Big-1",
    provider="acme",
    name="vendor/Big-1",
    title="Big One",
    context=128_000,
    max_output=8_000,
    price=Price(
        Rate(400_000_000, 1_600_000_000, 40_000_000, 500_000_000),
        (
            Tier(32_000, Rate(800_000_000, 3_200_000_000, 80_000_000, USD)),
            Tier(64_000, Rate(USD, 4 * USD, 100_000_000, 1_250_000_000)),
        ),
    ),
    image=True,
    features=frozenset({"tools", "schema"}),
    scores={"gpqa": 80.0},
    ttft=0.5,
    speed=90.0,
    efforts=("none", "low", "max"),
    thinking_budget=(128, 4096),
    retires=datetime.date(2027, 1, 31),
)
EMBED = CloudModel(
    id="acme/embed",
    provider="acme",
    name="embed",
    title="acme/embed",
    context=8_000,
    max_output=1,
    price=Price(Rate(20_000_000, 0)),
    embeddings=True,
)


def test_everything_that_can_be_said(whole: str, catalogue_of: Of) -> None:
    catalogue = catalogue_of(whole + EVERYTHING)
    assert catalogue.router == ROUTER
    assert catalogue.providers == {"acme": ACME}
    assert catalogue.clouds == {"acme/vendor/Big-1": BIG, "acme/embed": EMBED}


def test_nothing_said_is_the_default(catalogue_of: Of) -> None:
    catalogue = catalogue_of("")
    assert catalogue.router == Router()
    assert (catalogue.providers, catalogue.clouds) == ({}, {})


def test_later_files_change_entries_by_name_and_add_others(whole: str, catalogue_of: Of) -> None:
    over = """
    [router]
    cloud = true
    hedge_after = "never"
    limits = { day = "1 USD" }
    [[alias]]
    name = "gpt-4o"
    candidates = ["local"]
    [task.coding]
    benchmarks = { gpqa = 0 }
    [[team]]
    id = "research"
    limits = { tpm = 2000 }
    [[provider]]
    id = "acme"
    url = "https://acme.example"
    key = { env = "OTHER_KEY" }
    [[cloud]]
    id = "acme/vendor/Big-1"
    price = { input = "0.30 USD/1M" }
    [[route]]
    id = "first"
    when = { images = true }
    [[route]]
    id = "everything"
    when = { min_tokens = 5 }
    canary = { percent = 0 }
    """
    base = (whole + EVERYTHING).replace('id = "rest"', 'id = "rest"\nwhen = { images = false }')
    catalogue = catalogue_of(base, over)
    router = catalogue.router
    assert (router.cloud, router.hedge_after, router.policy) == (True, None, "fastest")
    assert (router.limits.day, router.limits.month) == (USD, 100 * USD)
    assert router.aliases["gpt-4o"] == Alias("gpt-4o", ("local",), "most-capable", 50.0, "coding")
    assert router.tasks["coding"] == Task("coding", {"gpqa": 0.0, "ifeval": 1.0}, 60.0)
    assert router.teams["research"].limits == Limits(month=12_500_000_000, tpm=2000)
    acme = catalogue.providers["acme"]
    assert (acme.url, acme.kind) == ("https://acme.example", "openai")
    assert acme.key == KeySource("OTHER_KEY", Path("~/acme.key"), "acme")
    big = catalogue.clouds["acme/vendor/Big-1"]
    assert (big.price.rate.input, big.price.rate.output) == (300_000_000, 1_600_000_000)
    assert big.price.tiers == BIG.price.tiers
    assert [route.id for route in router.routes] == ["everything", "rest", "first"]
    changed = router.routes[0]
    assert (changed.when.min_tokens, changed.when.max_tokens) == (5, 20)
    assert changed.canary == Canary("tiny:q8", 0.0)


def test_the_types_cannot_be_changed(whole: str, catalogue_of: Of) -> None:
    catalogue = catalogue_of(whole + EVERYTHING)
    tables = (
        catalogue.clouds,
        catalogue.providers,
        catalogue.clouds["acme/vendor/Big-1"].scores,
        catalogue.router.aliases,
        catalogue.router.tasks,
        catalogue.router.teams,
        catalogue.router.tasks["coding"].benchmarks,
        catalogue.router.routes[0].weights,
        catalogue.router.routes[0].when.headers,
    )
    for table in tables:
        with pytest.raises(TypeError):
            table["x"] = 1  # type: ignore[index]


def test_a_clouds_problems_in_two_files_name_each_its_own(
    whole: str, problems_of: Callable[..., list[str]]
) -> None:
    over = '[[cloud]]\nid = "acme/vendor/Big-1"\ncontext = 100'
    assert problems_of(whole + EVERYTHING, over) == [
        "0.toml: cloud[acme/vendor/Big-1].max_output = 8000: must not exceed context "
        "(context = 100 stands in 1.toml)"
    ]


@pytest.mark.parametrize(
    ("day", "retired"), [("2027-01-30", False), ("2027-01-31", True), ("2027-02-01", True)]
)
def test_a_model_is_retired_from_its_day_on(day: str, retired: bool) -> None:
    assert BIG.retired(datetime.date.fromisoformat(day)) is retired
    assert not EMBED.retired(datetime.date.fromisoformat(day))


def test_the_request_log(catalogue_of: Of) -> None:
    assert catalogue_of("").router.request_log is None
    catalogue = catalogue_of(
        """
        [router]
        request_log = { url = "https://collector.example/in/", key = { env = "COLLECTOR" } }
        """
    )
    expected = RequestLog("https://collector.example/in", KeySource(env="COLLECTOR"))
    assert catalogue.router.request_log == expected
