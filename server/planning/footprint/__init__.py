"""The memory that an engine takes: by device, and by what it is for."""

from __future__ import annotations

from server.planning.footprint.component import COMPONENTS, EXACT, RAM, Component, Footprint, Share
from server.planning.footprint.prediction import footprint

__all__ = [
    "COMPONENTS",
    "EXACT",
    "RAM",
    "Component",
    "Footprint",
    "Share",
    "footprint",
]
