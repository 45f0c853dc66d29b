import asyncio

from server.web.ticker import Ticker

IMPATIENT = {"first_after": 0.02, "every": 0.01}


async def test_a_quick_answer_hears_nothing() -> None:
    told: list[str] = []

    async def tell(text: str) -> None:
        told.append(text)

    waiting = Ticker(tell, lambda: "loading")
    await asyncio.sleep(0)
    await waiting.stop()
    assert told == []
    assert not waiting.ticking


async def test_a_slow_answer_hears_what_it_waits_for_until_it_comes() -> None:
    told: list[str] = []
    phases = iter(["loading, 10%", "loading, 60%", *["waiting for a slot"] * 1000])

    async def tell(text: str) -> None:
        told.append(text)

    waiting = Ticker(tell, lambda: next(phases), **IMPATIENT)
    while len(told) < 3:
        await asyncio.sleep(0.005)
    await waiting.stop()
    heard = len(told)
    await asyncio.sleep(0.05)
    assert told[:3] == ["loading, 10%", "loading, 60%", "waiting for a slot"]
    assert len(told) == heard


async def test_stopping_waits_for_a_write_that_is_under_way() -> None:
    writing = asyncio.Event()
    ended = False

    async def tell(text: str) -> None:
        nonlocal ended
        writing.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    waiting = Ticker(tell, lambda: "loading", **IMPATIENT)
    await writing.wait()
    await waiting.stop()
    assert ended
