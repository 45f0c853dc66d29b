from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from server.catalogue.router import Router
from server.errors import HoldfastError, LedgerUnavailable, NoRoute
from server.providers.permit import Permit, check_may_leave, permit


@dataclass
class Asking:
    local_only: bool = False
    private_because: str = "the header says so"


@dataclass
class Held:
    open: bool = True
    host: str = "api.example.com"
    body: bytes = b"{}"


ON, OFF = Router(), Router(cloud=False)


def test_what_may_leave_is_permitted() -> None:
    permit(Asking(), Asking(), router=ON, hold=Held()).check("api.example.com", b"{}")


@pytest.mark.parametrize(
    ("asking", "router", "hold", "error", "why"),
    [
        ((Asking(True),), ON, Held(), NoRoute, "the header says so"),
        ((Asking(), Asking(True, "the route")), ON, Held(), NoRoute, "the route"),
        ((Asking(True), Asking()), ON, Held(), NoRoute, "the header says so"),
        ((Asking(),), OFF, Held(), NoRoute, "clouds are switched off"),
        ((), ON, Held(), NoRoute, "nothing says that it may leave"),
        ((Asking(None),), ON, Held(), NoRoute, ""),  # type: ignore[arg-type]
        ((Asking(),), ON, Held(open=False), LedgerUnavailable, ""),
        ((Asking(),), ON, Held(open=None), LedgerUnavailable, ""),  # type: ignore[arg-type]
    ],
)
def test_it_is_refused_and_closed_when_in_doubt(
    asking: tuple[Asking, ...], router: Router, hold: Held, error: type[HoldfastError], why: str
) -> None:
    with pytest.raises(error) as caught:
        permit(*asking, router=router, hold=hold)
    assert why in caught.value.why
    if error is NoRoute:
        with pytest.raises(NoRoute):
            check_may_leave(*asking, router=router)


def test_it_is_asked_again_when_it_is_used() -> None:
    asking, hold = Asking(), Held()
    leave = permit(asking, router=ON, hold=hold)
    hold.open = False
    with pytest.raises(LedgerUnavailable):
        leave.check("api.example.com", b"{}")
    hold.open, asking.local_only = True, True
    with pytest.raises(NoRoute):
        leave.check("api.example.com", b"{}")


@pytest.mark.parametrize(
    ("host", "body"), [("other.example.com", b"{}"), ("api.example.com", b"{ }")]
)
def test_it_is_for_one_body_and_one_host(host: str, body: bytes) -> None:
    with pytest.raises(LedgerUnavailable):
        permit(Asking(), router=ON, hold=Held()).check(host, body)


def test_nothing_else_makes_one_and_none_can_be_changed() -> None:
    with pytest.raises(TypeError):
        Permit((Asking(),), ON, Held(), object())
    leave = permit(Asking(), router=ON, hold=Held())
    with pytest.raises(dataclasses.FrozenInstanceError):
        leave.router = OFF  # type: ignore[misc]
    with pytest.raises(TypeError):
        dataclasses.replace(leave, seal=None)
