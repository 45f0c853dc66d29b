"""What is worth knowing of clouds and routes, from made-up configurations."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue import Catalogue, Serve
from server.catalogue.cloud import CloudModel, KeySource, Price, Provider, Rate
from server.catalogue.router import Limits, Match, RequestLog, Route, Router, Team
from server.cli.cloud_advice import advice, look
from server.ledger.keys import Key
from server.providers.secrets import Absence
from server.settings import Settings

TODAY = datetime.date(2026, 11, 21)
NO_KEY = Absence("A_KEY is not set", "Set A_KEY, or have systemd pass it")
REFUSED = Absence("others may read /a.key", "Keep them out: chmod 600 /a.key", refused=True)
TEAMS = {name: Team(name) for name in ("hr", "lab")}
LIMITED = Router(limits=Limits(month=1))


def provider(name: str) -> Provider:
    return Provider(name, "openai", "https://a.example", KeySource("A_KEY"))


def model(name: str, **changes: object) -> CloudModel:
    price = Price(Rate(1, 2))
    plain = CloudModel(f"{name}/m", name, "m", "M", 100, 10, price)
    return replace(plain, **changes)  # type: ignore[arg-type]


def key(name: str, **terms: object) -> Key:
    return Key(id=name, name="laptop", sha256="", created="", **terms)  # type: ignore[arg-type]


def catalogue(router: Router = LIMITED, *models: CloudModel) -> Catalogue:
    own = models or (model("a"), model("b"), model("c"))
    providers = {one.provider: provider(one.provider) for one in own}
    clouds = {one.id: one for one in own}
    return Catalogue(
        {}, Serve(), (Path("a.toml"),), providers=providers, clouds=clouds, router=router
    )


def told(
    of: Catalogue, absences: dict[str, Absence] | None = None, keys: tuple[Key, ...] = ()
) -> list[tuple[str, str, str, str]]:
    found = advice(of, absences or {}, keys, TODAY)
    return [(one.severity, one.what, one.consequence, one.next_step) for one in found]


def test_all_is_well() -> None:
    assert told(catalogue()) == []


def test_one_without_a_key() -> None:
    assert told(catalogue(), {"b": NO_KEY}) == [
        (
            "note",
            "The provider b has no key: A_KEY is not set",
            "Its models are not asked",
            "Set A_KEY, or have systemd pass it",
        )
    ]


def test_a_route_that_keeps_things_here_comes_before_others() -> None:
    hr, lab = Match(teams=("hr",)), Match(teams=("lab",))
    secret = Route("secret", when=hr, local_only=True)
    others = (
        Route("local", when=Match(models=("local",)), policy="local-only"),
        Route("trial", when=Match(models=("frontier",))),
        Route("lab", when=lab),
    )
    late = replace(LIMITED, routes=(*others, secret))
    assert told(catalogue(replace(late, teams=TEAMS))) == [
        (
            "warning",
            "route[secret] is local-only, and stands behind route[trial]",
            "The first route that matches holds: a request that meets both may leave",
            "Put route[secret] first, or make the keys local-only",
        )
    ]
    by_policy = Route("secret", when=hr, policy="local-only")
    assert told(catalogue(replace(late, routes=(*others, by_policy), teams=TEAMS)))[0][1] == (
        "route[secret] is local-only, and stands behind route[trial]"
    )
    assert told(catalogue(replace(late, routes=(secret, *others), teams=TEAMS))) == []
    assert told(catalogue(replace(late, cloud=False, teams=TEAMS))) == []


def test_several_are_told_together_and_what_is_refused_apart() -> None:
    absences = {"a": NO_KEY, "b": REFUSED, "c": NO_KEY}
    assert told(catalogue(), absences) == [
        (
            "warning",
            "There is no key for the provider b: others may read /a.key",
            "Its models are not asked",
            "Keep them out: chmod 600 /a.key",
        ),
        (
            "note",
            "The providers a and c have no key",
            "No cloud is asked",
            "a: set A_KEY; c: set A_KEY",
        ),
    ]


def test_nothing_of_clouds_where_none_is_to_be_asked() -> None:
    closed = catalogue(Router(cloud=False), model("a", retires=TODAY))
    assert told(closed, {"a": REFUSED}) == []


@pytest.mark.parametrize(
    ("limits", "absences", "price", "unlimited"),
    [
        (Limits(), {}, Rate(1, 1), True),
        (Limits(rpm=5, tokens_day=5), {}, Rate(1, 1), True),
        (Limits(day=0), {}, Rate(1, 1), False),
        (Limits(month=0), {}, Rate(1, 1), False),
        (Limits(), {"a": REFUSED}, Rate(1, 1), False),
        (Limits(), {}, Rate(0, 0), False),
    ],
)
def test_spending_without_a_limit(
    limits: Limits, absences: dict[str, Absence], price: Rate, unlimited: bool
) -> None:
    found = told(catalogue(Router(limits=limits), model("a", price=Price(price))), absences)
    whats = [what for _, what, _, _ in found]
    assert ("Clouds may be asked, and what they cost is not limited" in whats) is unlimited


@pytest.mark.parametrize(
    ("retires", "expected"),
    [
        ("2026-11-21", ("warning", "a/m is no longer offered, since 2026-11-21")),
        ("2026-11-22", ("note", "a/m is offered until 2026-11-22 only")),
        ("2026-12-21", ("note", "a/m is offered until 2026-12-21 only")),
        ("2026-12-22", None),
    ],
)
def test_models_that_retire(retires: str, expected: tuple[str, str] | None) -> None:
    going = model("a", retires=datetime.date.fromisoformat(retires))
    found = told(catalogue(LIMITED, going))
    assert [one[:2] for one in found] == ([expected] if expected else [])


def test_a_key_that_does_not_exist() -> None:
    route = Route("r", Match(keys=("ab*", "cd")))
    found = told(catalogue(replace(LIMITED, routes=(route,))), keys=(key("abcd"),))
    assert [one[:2] for one in found] == [
        ("warning", "route[r].when.keys: no API key has an id like cd")
    ]


def test_a_key_of_a_team_that_is_not_configured() -> None:
    teams = replace(LIMITED, teams={"research": Team("research")})
    keys = (key("1", team="research"), key("2", team="sales"), key("3"))
    assert told(catalogue(teams), keys=keys) == [
        (
            "warning",
            "The API key laptop is of the team sales, which is not configured",
            "No limit of the team holds for it",
            'Add  [[team]]  id = "sales"',
        )
    ]


def test_a_key_for_models_that_do_not_exist() -> None:
    found = told(catalogue(), keys=(key("1", models=("a/*", "z")),))
    assert found == [
        ("note", "The API key laptop may ask for z, and nothing has such a name", "", "")
    ]


def test_a_look_at_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    monkeypatch.setenv("B_KEY", "sk-hunter2")
    log = RequestLog("https://collector.example", KeySource("A_KEY"))
    of = catalogue(replace(LIMITED, request_log=log), model("a"), model("b"))
    other = replace(of.providers["b"], key=KeySource("B_KEY"))
    of = replace(of, providers={**of.providers, "b": other})
    absences, found = look(of, Settings(home=tmp_path, configs=()))
    assert absences == {"a": Absence("A_KEY is not set", "Set A_KEY")}
    assert [(one.severity, one.what) for one in found] == [
        ("note", "The provider a has no key: A_KEY is not set"),
        ("warning", "There is no key for the request log: A_KEY is not set"),
    ]
