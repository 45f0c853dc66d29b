from __future__ import annotations

from pathlib import Path

import pytest

from server.engines.blame import explain, final
from server.engines.failure import Cause, Failure
from server.errors import DoesNotFit, EngineError, EngineMissing, HoldfastError, StoreError

LOG = Path("/srv/logs/nine.log")


@pytest.mark.parametrize(
    ("cause", "kind", "names_log"),
    [
        ("memory", DoesNotFit, False),
        ("weights", StoreError, False),
        ("unsupported", StoreError, False),
        ("program", EngineMissing, False),
        ("gpu", EngineError, True),
        ("killed", EngineError, True),
        ("unknown", EngineError, True),
    ],
)
def test_each_cause_has_its_error(cause: Cause, kind: type[HoldfastError], names_log: bool) -> None:
    error = explain("nine:q4", Failure(cause, "it broke", "Mend it", False), LOG)
    assert type(error) is kind
    assert "nine:q4" in error.what
    assert error.why == "it broke"
    assert (str(LOG) in error.next_step) == names_log


@pytest.mark.parametrize(("why", "told"), [("it broke", "it broke; for good"), ("", "for good")])
def test_the_final_error_says_that_it_is_final(why: str, told: str) -> None:
    error = final(StoreError("it ended", why=why, next_step="Mend it"), "for good")
    assert isinstance(error, StoreError)
    assert (error.what, error.why, error.next_step) == ("it ended", told, "Mend it")
