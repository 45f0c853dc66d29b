"""A Holdfast with two builds of the demo and room for one, in the place of `holdfast serve`.

Run by the tests in a process of its own. Arguments: how each of the two stays, `resident`, `pinned`
or `on-demand`. The home is HOLDFAST_HOME.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import replace

from server import catalogue, demo, settings
from server.catalogue import Build
from server.engines.berth import Berth
from server.engines.binary import find_llama_server
from server.engines.launching import Programs
from server.engines.provision import Provision
from server.hardware.probe import probe
from server.node import Node
from server.planning.deployment import Deployment
from server.planning.rig import rig
from server.store.layout import Installed, Missing, locate

OVERLAY = """
[[build]]
model = "demo"
id = "second"
engine = "llama-server"
format = "gguf"
quant = "f16"
path = "{path}"

[serve]
port = 0
"""


async def main(kinds: list[str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    own = settings.load(os.environ, configs=())
    own.home.mkdir(parents=True, exist_ok=True)
    overlay = own.home / "crowded.toml"
    overlay.write_text(OVERLAY.format(path=demo.GGUF))
    own = replace(own, configs=(overlay,))
    known = catalogue.load(own)

    def look(build: Build) -> Installed | Missing:
        return locate(build, own)

    machine = probe(own.home)
    found = rig(machine)
    tiny = replace(found, ram=replace(found.ram, free=1))  # what fits is made up
    provision = Provision(own, known, Programs(find_llama_server(own)), found, look)
    yard = replace(provision.yard(), survey=lambda pids: tiny)
    berths = [
        Berth(
            f"demo:{build}",
            Deployment("demo", f"demo:{build}", "llama-server", (), 4096, 2),
            {"ram": 1},
            "on demand" if kind == "on-demand" else "resident",
            pin=kind == "pinned",
            load_seconds=0.2,
        )
        for build, kind in zip(("f16", "second"), kinds, strict=True)
    ]
    node = Node(own, known, yard, berths, {"ram": 1}, look)
    await node.serve(lambda url: print(f"listens at {url}", file=sys.stderr, flush=True))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
