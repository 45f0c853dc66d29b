"""What is wrong with a request, in the words of the API that it came by. Models are asked in the
terms of chat completions, and so are errors told that only a target can find: here their fields get
the names that the client knows."""

from __future__ import annotations

from collections.abc import Mapping

from server.errors import RequestError

Words = Mapping[str, str]
"""A place in chat completions -> the same here: a field, which stands for all below it, or a part
of a path, such as `.function`. The first that fits a place counts."""


def in_words(error: RequestError, words: Words) -> RequestError:
    """`error`, with the field at fault called as in `words`, where they have it."""
    place = error.param
    if place is None:
        return error
    here = _called(place, words)
    if here == place:
        return error
    what = error.what.replace(f"'{place}'", f"'{here}'")
    if what.startswith(f"{place} "):
        what = here + what.removeprefix(place)
    return type(error)(
        what,
        why=error.why,
        next_step=error.next_step,
        param=here,
        retry_after=error.retry_after,
    )


def _called(place: str, words: Words) -> str:
    for there, here in words.items():
        if there.startswith("."):
            if there in place:
                return place.replace(there, here)
        elif place == there or place.startswith((f"{there}.", f"{there}[")):
            return here + place.removeprefix(there)
    return place
