"""What a build's requests leave behind for decisions: since when they wait, how soon they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.engines.berth import Berth
from server.engines.engine import Engine
from server.engines.llama_server import Launch
from server.engines.member import Member
from server.engines.occupant import Occupant
from server.engines.slots import SlotQueue
from server.planning.deployment import Deployment


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def member(tmp_path: Path, clock: Clock) -> Member:
    """One whose engine is never launched."""
    launch = Launch(
        Path("/none"), Path("/none.gguf"), "a", tmp_path / "a.sock", context=256, slots=1, threads=1
    )
    queue = SlotQueue(1, 8, clock=clock)
    berth = Berth("a:f16", Deployment("a", "a:f16", "llama-server", (), 256, 1), {"ram": 1})
    engine = Engine("a:f16", launch, logs=tmp_path, queue=queue)
    found = Member(berth, queue, engine, lambda: None, clock)
    queue.on_quiet = found.rest
    return found


def seen(member: Member) -> Occupant:
    (occupant,) = member.occupants()
    return occupant


async def test_who_waits_for_what_was_evicted_waits_from_then_on(
    member: Member, clock: Clock
) -> None:
    member.request("client")
    clock.now += 60
    assert seen(member).waited == 60
    member.vacate()
    clock.now += 5
    assert seen(member).waited == 5


async def test_the_pause_before_a_request_is_learned_where_nothing_runs(
    member: Member, clock: Clock
) -> None:
    member.request("client")
    assert seen(member).pause is None, "the first follows nothing"
    member.queue.resume()
    async with member.request("client"):
        member.rhythm.pause = None
        clock.now += 1
        member.request("other")
        assert seen(member).pause is None, "it runs"
    clock.now += 2
    member.request("client")
    assert seen(member).pause == 2
