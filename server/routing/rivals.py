"""The clouds that could have answered a request, whether they may or not: what is saved is measured
by the cheapest of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.catalogue import Catalogue
from server.catalogue.capability import capability, reaches
from server.catalogue.cloud import CloudModel, Feature
from server.ledger.cost import frontier
from server.routing.needs import Needs

_DEMANDS = 1000
"""Kinds of requests whose rivals are remembered at a time."""

_Demand = tuple[bool, str, frozenset[Feature], bool, bool]
"""Embeddings or an answer, the task, what it takes beyond words, and whether it has images, and
documents."""


class Rivals:
    """Of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[_Demand, tuple[CloudModel, ...]] = {}

    def of(self, needs: Needs) -> Sequence[CloudModel]:
        """Without those that another undercuts, whatever the usage turns out to be."""
        demand = (
            needs.endpoint == "embeddings",
            needs.task,
            needs.features,
            needs.images > 0,
            needs.pages > 0,
        )
        found = self._known.get(demand)
        if found is None:
            if len(self._known) >= _DEMANDS:
                self._known.clear()
            found = self._known[demand] = frontier(self._able(*demand))
        return found

    def _able(
        self,
        embeddings: bool,
        task_name: str,
        features: frozenset[Feature],
        images: bool,
        documents: bool,
    ) -> Iterator[CloudModel]:
        task = self._catalogue.router.tasks.get(task_name)
        for model in self._catalogue.clouds.values():
            if model.embeddings != embeddings:
                continue
            able = embeddings or (
                features <= model.features
                and (model.image or not images)
                and (model.documents or not documents)
            )
            known = None if task is None else capability(model.scores, task)
            if able and (embeddings or task is None or reaches(known, task.floor, named=False)):
                yield model
