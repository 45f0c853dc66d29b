"""Requests for embeddings go to one model. Pure.

Vectors of two models cannot be compared, nor quite those of two quantizations of one, and nobody
would see that an index holds both. So an embedding never goes to another model than the one before,
however busy that is: a name that stands for several makers of vectors is refused, whether they are
up or not, and what answers is the same model, at whichever of its providers, or one build.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.errors import NoRoute
from server.routing.candidate import Candidate
from server.routing.fit import Stage


def one_model(
    asked: str, staged: Sequence[tuple[Candidate, Stage]]
) -> list[tuple[Candidate, Stage]]:
    """`staged` with all but one build of a local model out of the question. `asked`: the name that
    the client wrote. Raises NoRoute where that stands for several models."""
    makers = [c for c, stage in staged if stage is not Stage.ASKED and c.embeddings]
    models = dict.fromkeys((c.side, c.model) for c in makers)
    if len(models) > 1:
        names = ", ".join(c.name for c in makers)
        raise NoRoute(
            f"{asked[:128]!r} stands for several models that make embeddings",
            why=f"the vectors of {names} cannot be compared with each other",
            next_step="Ask for one of them by its name",
            param="model",
        )
    others = {c.name for c in makers[1:] if c.side == "local"}
    return [(c, Stage.KIND if c.name in others else stage) for c, stage in staged]
