"""What a request's model name stands for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from server.catalogue import Build, Catalogue, Model
from server.engines.member import Member
from server.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class Target:
    """A build that is served, and the member of the fleet that serves it."""

    model: Model
    build: Build
    member: Member
    sees: bool
    """Whether images can be sent to it."""
    created: int
    """When this Holdfast began to serve it, in seconds since 1970."""

    @property
    def tells_steps(self) -> bool:
        """Whether its engine counts the batches of a long prompt, by which its progress shows."""
        return self.build.engine == "llama-server"

    @property
    def context(self) -> int:
        """Tokens a request may use: its prompt and its answer together."""
        return self.member.berth.deployment.context


class Targets:
    """The served builds by name: `qwen3.5-9b:q4_k_m`, or the model's name alone.

    Where several builds of a model are served its bare name means the first of them.
    """

    def __init__(self, catalogue: Catalogue, targets: Sequence[Target] = ()) -> None:
        self._catalogue = catalogue
        self._by_name: dict[str, Target] = {}
        self.serve(targets)

    def serve(self, targets: Sequence[Target], catalogue: Catalogue | None = None) -> None:
        """Serve `targets` from now on, and nothing else; of `catalogue` where that has changed."""
        self._catalogue = catalogue or self._catalogue
        self._by_name = {}
        for target in targets:
            self._by_name.setdefault(target.model.id, target)
            self._by_name[target.build.name] = target

    def served(self) -> tuple[tuple[str, Target], ...]:
        """Each name that a client may ask for, with what it stands for."""
        return tuple(self._by_name.items())

    def find(self, name: str) -> Target:
        """The target called `name`. Raises ModelNotFound, with the nearest names."""
        target = self._by_name.get(name)
        if target is not None:
            return target
        raise ModelNotFound(
            f"the model {name[:128]!r} is not served here",
            why=self._why(name),
            next_step=self._next_step(name),
            param="model",
        )

    def _why(self, name: str) -> str:
        model = self._catalogue.models.get(name.partition(":")[0])
        return "" if model is None else f"{model.title} is in the catalogue, but is not running"

    def _next_step(self, name: str) -> str:
        near = difflib.get_close_matches(name[:128].lower(), self._by_name, n=3, cutoff=0.5)
        if near:
            return "Did you mean " + " or ".join(near) + "?"
        return "Served: " + (", ".join(self._by_name) or "nothing yet")
