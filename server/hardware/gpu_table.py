"""What is known of GPUs without asking a driver: the table in gpus.toml, read and checked once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from server.catalogue import field
from server.errors import ConfigError
from server.units import MIB

TABLE = Path(__file__).with_name("gpus.toml")

Joined = Literal["switch", "board", "bridge"]
"""How NVLink joins cards: all with all through a switch, the board's own mesh, pairs by a bridge
that is sold separately."""

_LANE = {3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
"""Bytes/s of a PCIe lane each way by generation, after encoding (PCI-SIG's specifications)."""
_OLDEST_LANE = 0.985e9
_FIELDS: Mapping[str, field.Parse] = {
    "name": field.LINE,
    "short": field.list_of(field.LINE, "names"),
    "memory": field.integer(1024, 10_000_000),
    "bandwidth": field.number(1, 1_000_000),
    "compute": field.number(0.1, 1_000_000),
    "capability": field.text(r"\d{1,2}\.\d", 'a compute capability such as "8.9"'),
    "pcie": field.integer(1, 9),
    "lanes": field.integer(1, 16),
    "nvlink": field.number(1, 100_000),
    "joined": field.choice("switch", "board", "bridge"),
    "unified": field.boolean,
}
_NEAR = 0.16
"""By what part the memory that people name may differ from the driver's: "48G" is 45 GiB with ECC,
and "80G" is 79.6."""
_BRAND = re.compile(r"^(nvidia)?[\s_-]*(geforce|quadro|tesla)?[\s_-]*(rtx)?[\s_-]*", re.IGNORECASE)
_REQUIRED = ("name", "memory", "bandwidth", "compute", "capability", "pcie")


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of GPU."""

    name: str
    """As NVML tells it; cards with different memory may have the same."""
    short: tuple[str, ...]
    memory: int
    """Bytes in all, as the driver tells it."""
    bandwidth: float
    """Peak bytes/s."""
    compute: float
    """Peak FLOP/s, dense: 16-bit matrices summed in 32 bits."""
    capability: tuple[int, int]
    pcie: int
    lanes: int
    nvlink: float
    """Bytes/s in each direction to one other card; 0 without NVLink."""
    joined: Joined | None
    unified: bool
    """It has no memory of its own and uses the machine's RAM."""

    @property
    def label(self) -> str:
        """How it is written after `--hardware`, such as `4090` or `A100-80G`."""
        name = self.short[0] if self.short else bare(self.name)
        if len(find(name)) > 1:
            name += f"-{round(self.memory / 1024**3)}G"
        return name.replace(" ", "-")

    @property
    def host_link(self) -> float:
        """Bytes/s each way between RAM and the card."""
        return pcie_rate(self.pcie, self.lanes)


def bare(name: str) -> str:
    """A GPU's name without those of its maker and series: `4090`, `A100-SXM4-80GB`."""
    return _BRAND.sub("", name.strip())


def pcie_rate(generation: int, lanes: int) -> float:
    """Bytes/s each way over a PCIe slot."""
    return _LANE.get(generation, _OLDEST_LANE if generation < 3 else max(_LANE.values())) * lanes


def lookup(name: str, memory: int | None = None) -> Product | None:
    """The product that a driver calls `name`, the one nearest to `memory` bytes where several are.

    The name of a MIG instance ends in its profile; that of the card before it is looked up.
    """
    card = name.partition(" MIG ")[0]
    found = [product for product in products() if product.name == card]
    return min(found, key=lambda product: abs(product.memory - (memory or 0)), default=None)


def least(capability: tuple[int, int] | None) -> tuple[float, float]:
    """(bandwidth, compute) that a card which is not in the table has at least: those of the slowest
    of its capability, or of all where there is none of it."""
    alike = [product for product in products() if product.capability == capability] or products()
    return min(p.bandwidth for p in alike), min(p.compute for p in alike)


def find(text: str) -> tuple[Product, ...]:
    """Products that people may mean by `text`: `4090`, `rtx 4090`, `A100-80G`, `H100 PCIe`.

    More than one where cards of one name differ in memory and `text` does not tell it.
    """
    key = _key(text)
    found = tuple(product for product in products() if key in _keys(product))
    if found:
        return found
    size = re.fullmatch(r"(.+?)[\s_-]*(\d+)\s*gi?b?", text.strip(), re.IGNORECASE)
    if size is None:
        return ()
    key, gigabytes = _key(size[1]), int(size[2])
    return tuple(
        product
        for product in products()
        if key in _keys(product) and abs(product.memory / 1024**3 / gigabytes - 1) < _NEAR
    )


@cache
def products() -> tuple[Product, ...]:
    """The whole table. Raises ConfigError with every problem of the file."""
    return parse(TABLE.read_text(), TABLE)


def parse(text: str, source: Path) -> tuple[Product, ...]:
    """The products in a table's `text`. Raises ConfigError with every problem."""
    rows = tomllib.loads(text)["gpus"]
    problems: list[str] = []
    found: list[Product] = []
    for number, row in enumerate(rows):
        where = f"{source}: gpus[{row.get('name', number)}]"
        values, wrong = _values(row)
        problems += [f"{where}{problem}" for problem in wrong]
        if not wrong:
            found.append(_product(values))
    kinds = [(product.name, product.memory) for product in found]
    problems += [
        f"{source}: gpus[{name}] stands twice with the same memory"
        for name, memory in dict.fromkeys(kinds)
        if kinds.count((name, memory)) > 1
    ]
    if problems:
        raise ConfigError("the table of GPUs is wrong", problems=tuple(problems))
    return tuple(found)


def _values(row: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    wrong = [f" has no {key}" for key in _REQUIRED if key not in row]
    for key, value in row.items():
        if key not in _FIELDS:
            wrong.append(f".{key} is not a known key")
            continue
        try:
            values[key] = _FIELDS[key](value)
        except ValueError as error:
            wrong.append(f".{key} = {value!r}: {error}")
    if ("nvlink" in row) != ("joined" in row):
        wrong.append(" needs both nvlink and joined, or neither")
    return values, wrong


def _product(values: Mapping[str, Any]) -> Product:
    major, minor = values["capability"].split(".")
    return Product(
        name=values["name"],
        short=values.get("short", ()),
        memory=values["memory"] * MIB,
        bandwidth=values["bandwidth"] * 1e9,
        compute=values["compute"] * 1e12,
        capability=(int(major), int(minor)),
        pcie=values["pcie"],
        lanes=values.get("lanes", 16),
        nvlink=values.get("nvlink", 0) * 1e9,
        joined=cast("Joined | None", values.get("joined")),
        unified=values.get("unified", False),
    )


@cache
def _keys(product: Product) -> frozenset[str]:
    return frozenset(_key(name) for name in (product.name, *product.short))


def _key(name: str) -> str:
    """A name without the maker's and the series' names, spaces and dashes."""
    return re.sub(r"[^a-z0-9]", "", bare(name).lower())
