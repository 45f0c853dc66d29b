from server.catalogue.router import Limits, Match, Route, Router, Shadow, Team
from server.ledger.account import account_of, shadow_account
from server.ledger.keys import Key

ROUTER = Router(teams={"lab": Team("lab", Limits(day=5))}, limits=Limits(month=100))


def key(team: str | None) -> Key:
    return Key("ab12", "laptop", "", "", team=team, limits=Limits(rpm=3))


def test_a_request_is_on_the_account_of_its_key_its_team_and_all() -> None:
    account = account_of("ab12", key("lab"), ROUTER)
    assert [str(party) for party in account] == ["key ab12", "team lab", "all keys together"]
    assert [party.limits for party in account] == [Limits(rpm=3), Limits(day=5), Limits(month=100)]
    assert (account.team, account.shadow) == ("lab", None)


def test_without_a_key_it_is_the_addresss() -> None:
    account = account_of("127.0.0.1", None, ROUTER)
    assert [str(party) for party in account] == ["key 127.0.0.1", "all keys together"]
    assert account.team is None


def test_a_team_that_is_not_configured_has_no_limits() -> None:
    account = account_of("ab12", key("gone"), ROUTER)
    assert (account.team, account.parties[1].limits) == ("gone", Limits())


def test_a_shadow_copy_is_the_operators() -> None:
    route = Route("try", Match(), shadow=Shadow("cloud/one", 10.0, 7))
    account = shadow_account(route, ROUTER)
    assert [str(party) for party in account] == ["shadow try", "all keys together"]
    assert account.parties[0].limits == Limits(day=7)
    assert account.shadow == "try"
