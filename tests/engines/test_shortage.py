"""Memory that is short after the start: what is forgiven once, and what is final."""

from __future__ import annotations

import signal

import pytest

from server.engines.failure import Failure, by_status
from server.engines.shortage import Shortage
from server.errors import DoesNotFit, EngineError, HoldfastError, RequestError

SHORT = DoesNotFit("too little memory")
WRONG = RequestError("wrong")
MEMORY = Failure("memory", "CUDA error: out of memory", "", permanent=False)
BROKEN = Failure("unknown", "it ended with exit status 1", "", permanent=False)
KILLED = by_status(-signal.SIGKILL, [], rebuild="", was_ready=True)


class Kernel:
    """What counts the processes that the kernel has killed."""

    count: int | None = 3

    def __call__(self) -> int | None:
        return self.count


@pytest.mark.parametrize(
    ("answers", "enough"),
    [
        ([SHORT], False),
        ([SHORT, SHORT], True),
        ([SHORT, None, SHORT], False),
        ([SHORT, WRONG, SHORT], True),
        ([WRONG, WRONG], False),
    ],
)
def test_requests_without_memory(answers: list[HoldfastError | None], enough: bool) -> None:
    shortage = Shortage(Kernel())
    shortage.begin()
    assert [shortage.answered(error) for error in answers][-1] is enough
    shortage.begin()
    assert not shortage.answered(WRONG), "another process begins anew"


def test_a_process_that_the_kernel_killed_was_short_of_memory() -> None:
    kernel = Kernel()
    shortage = Shortage(kernel)
    shortage.begin()
    assert shortage.judge(KILLED, None, was_ready=False) == KILLED, "somebody else killed it"
    kernel.count = 4
    found = shortage.judge(KILLED, None, was_ready=False)
    assert (found.cause, found.permanent) == ("memory", True)
    assert "OOM killer" in found.why
    assert shortage.judge(KILLED, EngineError("it hung"), was_ready=True) == KILLED
    assert shortage.judge(BROKEN, None, was_ready=True) == BROKEN
    kernel.count = None
    shortage.begin()
    assert shortage.judge(KILLED, None, was_ready=False) == KILLED, "nobody tells"


def test_one_that_worked_may_run_out_of_memory_once() -> None:
    shortage = Shortage(Kernel())
    shortage.begin()
    assert not shortage.judge(MEMORY, None, was_ready=True).permanent
    assert not shortage.judge(BROKEN, None, was_ready=True).permanent
    assert shortage.judge(MEMORY, None, was_ready=True).permanent
    assert not shortage.judge(BROKEN, None, was_ready=True).permanent


def test_one_that_was_killed_for_its_lack_of_memory_is_not_launched_again() -> None:
    shortage = Shortage(Kernel())
    assert shortage.judge(KILLED, SHORT, was_ready=True).permanent
