"""The router and clouds as lines."""

from __future__ import annotations

import datetime
from dataclasses import fields, replace

import pytest

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
)
from server.cli.routing_lines import (
    alias_line,
    cloud_rows,
    limits_line,
    provider_line,
    route_line,
    router_lines,
    task_line,
)
from server.providers.secrets import Absence
from server.units import USD


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (Limits(), "none"),
        (Limits(day=0), "$0.00 a day"),
        (
            Limits(5 * USD, 100 * USD, 10_000, 1_000_000, 60, 5_000, 4),
            "$5.00 a day, $100.00 a month, 10,000 tokens a day, 1,000,000 tokens a month, "
            "60 requests a minute, 5,000 tokens a minute, 4 at a time",
        ),
    ],
)
def test_limits(limits: Limits, line: str) -> None:
    assert limits_line(limits) == line


@pytest.mark.parametrize(
    ("route", "line"),
    [
        (Route("r", Match()), "always -> as usual"),
        (Route("r", Match(images=True), local_only=True), "images -> local only"),
        (Route("r", Match(documents=True), policy="fastest"), "documents -> fastest"),
        (Route("r", Match(documents=False), policy="fastest"), "no documents -> fastest"),
        (
            Route(
                "r",
                Match(
                    ("a", "b"), ("coding",), ("k",), ("t",), {"x-a": "1"}, 5, 1000, images=False,
                    hours=(datetime.time(22), datetime.time(6, 30)),
                ),
                policy="weighted",
                candidates=("a", "cloud"),
                fallbacks=("b",),
                weights={"a": 3.0, "cloud": 1.0},
                canary=Canary("c", 10.0),
                shadow=Shadow("d", 0.5, USD),
                slo_ttft=2.0,
            ),
            "model a or b; task coding; key k; team t; x-a: 1; 5 tokens or more; "
            "1,000 tokens or fewer; no images; 22:00 to 06:30 -> a 3, cloud 1; weighted; else b; "
            "10 % to c; 0.5 % copied to d for at most $1.00 a day; first token in 2.0 s",
        ),
        (
            Route("r", Match(), policy="fastest", candidates=("a", "b")),
            "always -> a, b; fastest",
        ),
    ],
)  # fmt: skip
def test_routes(route: Route, line: str) -> None:
    assert route_line(route) == line


def test_aliases_and_tasks() -> None:
    assert alias_line(Alias("x", ("*",))) == "*"
    whole = Alias("x", ("a", "local"), "fastest", 50.0, "coding")
    assert alias_line(whole) == "a, local; fastest; task coding; floor 50"
    assert task_line(Task("t", {"gpqa": 2.0, "tau2": 0.0}, 60.0)) == "floor 60; gpqa 2"


def test_the_router_with_its_units() -> None:
    lines = router_lines(Router(cloud=False, hedge_after=1.5, limits=Limits(day=USD)))
    assert lines["cloud"] == "no, nothing ever leaves this machine"
    assert (lines["hedge_after"], lines["retry_budget"]) == ("1.5 s", "20% of all requests")
    assert lines["limits"] == "$1.00 a day"
    assert router_lines(Router())["hedge_after"] == "never"
    log = Router(request_log=RequestLog("https://collector.example"))
    assert router_lines(log)["request_log"] == "https://collector.example"
    tables = {"aliases", "tasks", "routes", "teams"}
    assert lines.keys() == {field.name for field in fields(Router)} - tables


def test_providers() -> None:
    keyless = Provider("p", "openai", "http://localhost:1")
    assert provider_line(keyless, None) == "openai at http://localhost:1; needs no key"
    keyed = Provider("p", "gemini", "https://p.example", KeySource("P"), True, 60)
    assert provider_line(keyed, None) == (
        "gemini at https://p.example; keeps nothing; 60 requests a minute; has its key"
    )
    assert provider_line(keyed, Absence("P is not set", "Set P")).endswith(
        "; not asked: P is not set"
    )


def test_prices_by_the_length_of_prompts() -> None:
    tier = Tier(200_000, Rate(4 * USD, 18 * USD))
    model = CloudModel(
        "p/m", "p", "m", "M", 1_000_000, 8_000,
        Price(Rate(1_234_567_890, 12 * USD, 200_000_000, 2_500_000_000), (tier,)),
    )  # fmt: skip
    assert list(cloud_rows(model)) == [
        ("p/m", "1,000,000", "8,000", "$1.23456789", "$0.20", "$2.50", "$12.00", "to 200,000", "-"),
        ("", "", "", "$4.00", "$4.00", "$4.00", "$18.00", "over 200,000", ""),
    ]
    reads = [
        next(cloud_rows(replace(model, image=image, documents=documents)))[-1]
        for image, documents in ((True, False), (False, True), (True, True))
    ]
    assert reads == ["images", "PDFs", "images, PDFs"]
