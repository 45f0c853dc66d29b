"""Everything that the configuration files say, and the look-up of a model by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.catalogue.cloud import CloudModel, Provider
from server.catalogue.model import Build, Model
from server.catalogue.router import Router
from server.catalogue.serve import Serve
from server.catalogue.store import Store
from server.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class Catalogue:
    models: Mapping[str, Model]
    serve: Serve
    sources: tuple[Path, ...]
    """The files read, in the order in which they were laid over each other."""
    store: Store = field(default_factory=Store)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    clouds: Mapping[str, CloudModel] = field(default_factory=dict)
    """Models of providers, by `PROVIDER/NAME`."""
    router: Router = field(default_factory=Router)

    def resolve(self, name: str) -> tuple[Model, Build | None]:
        """`"qwen3.5-9b"` -> (model, None); `"qwen3.5-9b:q4_k_m"` -> (model, build).

        Raises ModelNotFound with the nearest names.
        """
        model_id, colon, build_id = name.partition(":")
        model = self.models.get(model_id)
        if model is None:
            raise ModelNotFound(
                f'there is no model "{shorten(model_id)}"',
                next_step=suggestion(model_id, self.models, "Models"),
                param="model",
            )
        if not colon:
            return model, None
        build = model.build(build_id)
        if build is None:
            builds = [build.id for build in model.builds]
            raise ModelNotFound(
                f'{model_id} has no build "{shorten(build_id)}"',
                next_step=suggestion(build_id, builds, f"Builds of {model_id}"),
                param="model",
            )
        return model, build


def suggestion(wrong: str, choices: Iterable[str], noun: str) -> str:
    """The names nearest to `wrong`, or all of them where none is near, as one sentence."""
    names = list(choices)
    near = difflib.get_close_matches(wrong.lower()[:100], names, n=3, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(f'"{name}"' for name in near) + "?"
    return f"{noun}: {', '.join(names)}" if names else f"{noun}: none"


def shorten(text: str, limit: int = 80) -> str:
    """`text`, cut so that a message stays readable whatever was sent."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
