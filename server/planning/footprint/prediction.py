"""The memory that a deployment takes, for either engine."""

from __future__ import annotations

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
    engine = llama_cpp if deployment.engine == "llama-server" else vllm
    predicted = engine.footprint(deployment, architecture, weights)
    return Footprint.of_bytes(
        (
            share.device,
            share.component,
            round(
                share.bytes * corrections.factor(deployment.engine, share.device, share.component)
            ),
        )
        for share in predicted.shares
    )
