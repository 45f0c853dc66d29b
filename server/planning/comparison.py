"""What the speed of a running engine says of the prediction. Pure."""

from __future__ import annotations

from dataclasses import replace

from server.catalogue import Architecture
from server.planning.deployment import Deployment
from server.planning.measured import Measurement
from server.planning.rig import Rig
from server.planning.speed import products, roofline
from server.planning.weights import WeightMap

TYPICAL_CONTEXT = 8192
"""Tokens. Requests fill far less than the longest context there is; half of this is taken."""


def compare(
    deployment: Deployment,
    architecture: Architecture,
    weights: WeightMap,
    rig: Rig,
    decode: float,
) -> Measurement:
    """`decode`: tokens/s of one answer, on average over all that an engine gave.

    How many answers were given at a time is not told. A speed between that of one request alone
    and a slot's with all of them busy therefore says that the prediction was right; one beyond
    either is held against it. Raises KeyError for a GPU that is not on the rig.
    """
    typical = replace(deployment, context=min(deployment.context, TYPICAL_CONTEXT))
    predicted = roofline(typical, architecture, weights, rig)
    least, most = predicted.decode_all / deployment.slots, predicted.decode
    nearest = max(min(decode, most), least)
    return Measurement(
        deployment.engine, deployment.build, products(deployment, rig), decode=decode / nearest
    )
