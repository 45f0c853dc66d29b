"""A Holdfast that serves the demo twice, by llama-server and by vLLM, in the place of `holdfast
serve`. Run by the tests in a process of its own; the home is HOLDFAST_HOME."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import replace

from server import catalogue, settings
from server.catalogue import Build
from server.engines.berth import Berth
from server.engines.binary import find_llama_server
from server.engines.launching import Programs
from server.engines.provision import Provision
from server.engines.vllm_binary import find_vllm
from server.hardware.probe import probe
from server.node import Node
from server.planning.deployment import Deployment
from server.planning.rig import rig
from server.store.layout import Installed, Missing, locate
from server.units import MIB
from tests.integration.asking import CONTEXT, SLOTS

OVERLAY = """
[serve]
port = 0
load_timeout = "5m"
"""
VLLM_CACHE = 256 * MIB


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    own = settings.load(os.environ, configs=())
    own.home.mkdir(parents=True, exist_ok=True)
    overlay = own.home / "both.toml"
    overlay.write_text(OVERLAY)
    own = replace(own, configs=(overlay,))
    known = catalogue.load(own)

    def look(build: Build) -> Installed | Missing:
        return locate(build, own)

    machine = probe(own.home)
    programs = Programs(find_llama_server(own), find_vllm(own))
    assert programs.vllm is not None
    gpus = () if programs.vllm.cpu else (machine.gpus[0].uuid,)
    deployments = (
        Deployment("demo", "demo:f16", "llama-server", (), CONTEXT, SLOTS),
        Deployment("demo", "demo:bf16", "vllm", gpus, CONTEXT, SLOTS, kv_cache_bytes=VLLM_CACHE),
    )
    berths = [Berth(each.build, each, {"ram": 1}) for each in deployments]
    provision = Provision(own, known, programs, rig(machine), look)
    node = Node(own, known, provision.yard(), berths, {"ram": 2}, look)
    await node.serve(lambda url: print(f"listens at {url}", file=sys.stderr, flush=True))


if __name__ == "__main__":
    asyncio.run(main())
