"""How GPUs reach each other: NVLink directly, NVLink through a switch, or PCIe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import pynvml

from server.hardware.adapters import pci_address
from server.hardware.machine import Link

Ask = Callable[..., Any]

_DISTANCES: dict[int, str] = {
    pynvml.NVML_TOPOLOGY_INTERNAL: "same board",
    pynvml.NVML_TOPOLOGY_SINGLE: "switch",
    pynvml.NVML_TOPOLOGY_MULTIPLE: "switches",
    pynvml.NVML_TOPOLOGY_HOSTBRIDGE: "host bridge",
    pynvml.NVML_TOPOLOGY_NODE: "NUMA node",
    pynvml.NVML_TOPOLOGY_SYSTEM: "sockets",
}


@dataclass(frozen=True, slots=True)
class Lane:
    """One active NVLink of a GPU."""

    peer: int | None
    """Index of the GPU at the other end; None: an NVSwitch, or a device not visible from here."""
    speed: int | None
    """Bytes/s in each direction."""


def connect(
    lanes: Mapping[int, tuple[Lane, ...]], distances: Mapping[tuple[int, int], str | None]
) -> tuple[Link, ...]:
    """One link for each pair of GPUs, the best that they have.

    Lanes that end in no GPU of this machine end in a switch, which joins all GPUs that have such
    lanes; two GPUs then reach each other with the lanes of the lesser one.
    """
    links = []
    for first, second in combinations(sorted(lanes), 2):
        direct = [lane for lane in lanes[first] if lane.peer == second]
        ways = [[lane for lane in lanes[gpu] if lane.peer is None] for gpu in (first, second)]
        switched = min(ways, key=len)
        kind: Literal["nvlink", "nvswitch", "pcie"] = (
            "nvlink" if direct else "nvswitch" if switched else "pcie"
        )
        used = direct or switched
        speeds = [lane.speed for lane in used if lane.speed is not None]
        links.append(
            Link(
                first,
                second,
                kind,
                lanes=len(used),
                bandwidth=sum(speeds) if used and len(speeds) == len(used) else None,
                distance=distances.get((first, second)),
            )
        )
    return tuple(links)


def read_links(handles: Mapping[int, Any], by_pci: Mapping[str, int], ask: Ask) -> tuple[Link, ...]:
    """Links among the GPUs of `handles` (index -> NVML handle). Raises NVMLError as `ask` does."""
    if len(handles) < 2:
        return ()
    lanes = {index: tuple(_lanes(handle, by_pci, ask)) for index, handle in handles.items()}
    distances = {
        (first, second): _DISTANCES.get(
            ask(pynvml.nvmlDeviceGetTopologyCommonAncestor, handles[first], handles[second])
        )
        for first, second in combinations(sorted(handles), 2)
    }
    return connect(lanes, distances)


def _lanes(handle: Any, by_pci: Mapping[str, int], ask: Ask) -> list[Lane]:
    lanes = []
    for number in range(pynvml.NVML_NVLINK_MAX_LINKS):
        state = ask(pynvml.nvmlDeviceGetNvLinkState, handle, number)
        if state is None:  # past the last link, or a GPU without any
            break
        if state != pynvml.NVML_FEATURE_ENABLED:
            continue
        remote = ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, number)
        peer = by_pci.get(pci_address(remote.busId)) if remote else None
        lanes.append(Lane(peer, _speed(handle, number, ask)))
    return lanes


def _speed(handle: Any, number: int, ask: Ask) -> int | None:
    """Bytes/s of a link each way. Newer drivers tell it by link, older ones one for all."""
    by_link = (pynvml.NVML_FI_DEV_NVLINK_GET_SPEED, number)
    common = (pynvml.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON, 0)
    for question in (by_link, common):
        values = ask(pynvml.nvmlDeviceGetFieldValues, handle, [question])
        if values and values[0].nvmlReturn == pynvml.NVML_SUCCESS and values[0].value.uiVal:
            return int(values[0].value.uiVal) * 1_000_000  # NVML counts MB/s
    return None
