from __future__ import annotations

import pytest

from server.engines.decision import Refusal
from server.engines.refusal import among_strangers, does_not_fit, strangers
from server.errors import DoesNotFit
from server.planning.rig import Rig

GIB = 1024**3


@pytest.mark.parametrize(
    ("stay", "said"),
    [
        ((), "; process"),
        (("a",), "; a is pinned there; process"),
        (("a", "b"), "; a and b are pinned there; process"),
    ],
)
def test_what_is_missing_is_told_with_who_holds_it(
    rig: Rig, stay: tuple[str, ...], said: str
) -> None:
    error = does_not_fit(
        "big", {"GPU-1": 21 * GIB, "ram": 5}, Refusal("big", {"GPU-1": GIB}, stay), rig
    )
    assert error.what == "big does not fit"
    assert error.why == (
        f"it needs 21.0 GiB of GPU 0 (Card) ({21 * GIB} bytes), 1.0 GiB ({GIB} bytes) more than "
        f"can be made free{said} 4242 (python) holds 3.0 GiB of GPU 0 (Card); "
        "process 7 (not visible) holds memory of GPU 0 (Card)"
    )


def test_ram_has_its_name_and_an_unknown_pool_its_own() -> None:
    refusal = Refusal("m", {"ram": 1, "GPU-9": 1}, ())
    why = does_not_fit("m", {"ram": 2, "GPU-9": 2}, refusal, None).why
    assert "2 B of RAM (2 bytes)" in why
    assert "2 B of GPU-9 (2 bytes)" in why


def test_strangers_are_told_only_where_memory_was_short(rig: Rig) -> None:
    error = DoesNotFit("m failed", why="out of memory", next_step="Do this")
    assert among_strangers(error, {"ram": 5}, rig).why == "out of memory"
    told = among_strangers(error, {"GPU-1": 5}, rig)
    assert told.why.startswith("out of memory; process 4242 (python) holds 3.0 GiB")
    assert told.next_step == "Do this"
    assert list(strangers(None, {"ram": 5})) == []
