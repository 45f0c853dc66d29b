"""The memory that a deployment takes, for either engine."""

from __future__ import annotations

from dataclasses import replace

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.footprint import llama_cpp, vllm
from server.planning.footprint.component import Footprint
from server.planning.footprint.correction import NONE, Corrections
from server.planning.weights import WeightMap


def footprint(
    deployment: Deployment,
    architecture: Architecture,
    weights: WeightMap,
    corrections: Corrections = NONE,
) -> Footprint:
    """Bytes on each device when the engine is in full use, corrected by what was once measured."""
    by_engine = {"llama-server": llama_cpp.footprint, "vllm": vllm.footprint}
    predicted = by_engine[deployment.engine](deployment, architecture, weights)
    if not corrections.corrections:
        return predicted
    engine = deployment.engine
    return Footprint(
        tuple(
            replace(
                one,
                bytes=round(one.bytes * corrections.factor(engine, one.device, one.component)),
            )
            for one in predicted.shares
        )
    )
