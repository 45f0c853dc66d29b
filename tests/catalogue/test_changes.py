"""What differs between two configurations, and when it takes effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from server.catalogue import Catalogue, Serve
from server.catalogue.changes import _SERVE, Change, How, changes

Of = Callable[..., Catalogue]

BASE = """
[router]
policy = "cheapest"
limits = { day = "5 USD" }
[[alias]]
name = "auto"
candidates = ["*"]
[task.coding]
benchmarks = { gpqa = 1 }
[[team]]
id = "research"
[[provider]]
id = "acme"
kind = "openai"
url = "https://api.acme.example/v1"
[[cloud]]
id = "acme/big"
context = 128_000
max_output = 8_000
price = { input = "1 USD/1M", output = "4 USD/1M" }
[[route]]
id = "first"
when = { images = true }
[[route]]
id = "second"
when = { images = false }
"""


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("", []),
        ('[router]\npolicy = "cheapest"', []),
        ("[serve]\nport = 1", [Change("serve.port", "changed", "restart")]),
        ('[serve]\nhost = "::"', [Change("serve.host", "changed", "restart")]),
        ("[serve]\nslots = 3", [Change("serve.slots", "changed", "plan")]),
        (
            '[serve]\nmodels = "auto"',
            [Change("serve.models", "changed", "plan"), Change("serve.auto", "changed", "plan")],
        ),
        ("[serve]\nmax_body = 2048", [Change("serve.max_body", "changed", "now")]),
        ("[store]\njobs = 3", [Change("store.jobs", "changed", "command")]),
        ('[[model]]\nid = "tiny"\ncontext = 8', [Change("model[tiny]", "changed", "plan")]),
        (
            '[[build]]\nmodel = "tiny"\nid = "q4"\nbytes = 1000\ntensor_bytes = 9',
            [Change("model[tiny]", "changed", "plan")],
        ),
        ('[router]\npolicy = "fastest"', [Change("router.policy", "changed", "now")]),
        (
            '[router.limits]\nday = "4 USD"',
            [Change("router.limits", "changed", "now")],
        ),
        (
            '[[alias]]\nname = "auto"\nfloor = 1\n[[alias]]\nname = "b"\ncandidates = ["auto"]',
            [Change("alias[auto]", "changed", "now"), Change("alias[b]", "added", "now")],
        ),
        ("[task.coding]\nfloor = 9", [Change("task[coding]", "changed", "now")]),
        (
            '[[route]]\nid = "first"\nlocal_only = true',
            [Change("route[first]", "changed", "now")],
        ),
        (
            '[[team]]\nid = "research"\nlimits = { rpm = 1 }\n[[team]]\nid = "sales"',
            [Change("team[research]", "changed", "now"), Change("team[sales]", "added", "now")],
        ),
        (
            '[[provider]]\nid = "acme"\nrpm = 1',
            [Change("provider[acme]", "changed", "now")],
        ),
        (
            '[[cloud]]\nid = "acme/big"\nprice.input = "2 USD/1M"',
            [Change("cloud[acme/big]", "changed", "now")],
        ),
    ],
)
def test_changes(whole: str, catalogue_of: Of, over: str, expected: list[Change]) -> None:
    old, new = catalogue_of(whole + BASE), catalogue_of(whole + BASE, over)
    assert list(changes(old, new)) == expected
    back: dict[How, How] = {"added": "removed"}
    reverse = [replace(one, how=back.get(one.how, one.how)) for one in expected]
    assert sorted(map(str, changes(new, old))) == sorted(map(str, reverse))


def test_routes_in_another_order(whole: str, catalogue_of: Of) -> None:
    old = catalogue_of(whole + BASE)
    router = replace(old.router, routes=old.router.routes[::-1])
    assert changes(old, replace(old, router=router)) == (Change("route", "moved", "now"),)
    shorter = replace(old.router, routes=old.router.routes[1:])
    assert changes(old, replace(old, router=shorter)) == (Change("route[first]", "removed", "now"),)


def test_every_key_of_serve_has_its_time() -> None:
    assert set(_SERVE) == {field.name for field in fields(Serve)}


def test_the_words() -> None:
    assert Change("serve.port", "changed", "restart").sentence == (
        "serve.port changed: takes a restart, the address is opened once, at the start"
    )
    assert Change("alias[x]", "added", "now").sentence == (
        "alias[x] added: requests that come from now on go by it"
    )
