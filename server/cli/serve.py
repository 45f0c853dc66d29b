"""`holdfast serve`: run the endpoint and the engines behind it."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, load_settings

if TYPE_CHECKING:
    from server.catalogue import Build, Catalogue
    from server.planning.recommendation import Recommendation
    from server.planning.selection import Selection
    from server.settings import Settings
    from server.store.layout import Installed, Missing


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="What to serve: MODEL or MODEL:BUILD. Without any: [serve] models of the "
            "configuration, else the best that is in the store and fits, else the demo.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on [default: 8000].", min=0, max=65535)
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Serve the embedded demo model, whatever is there.")
    ] = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Serve models behind one OpenAI-compatible endpoint.

    Ctrl-C or SIGTERM lets running requests finish; a second one does not wait for them.

    \b
    Examples:
      holdfast serve                          what is in the store, else the demo
      holdfast serve qwen3.5-9b:q4_k_m        one build
      holdfast serve qwen3.5-9b qwen3.5-0.8b  two models
      holdfast serve --host 0.0.0.0           for the network; needs a key
    """
    import uvloop

    uvloop.run(_serve(load_settings(home, config), models or [], host, port, demo=demo))


async def _serve(
    settings: Settings, models: list[str], host: str | None, port: int | None, *, demo: bool
) -> None:
    import logging

    from server import catalogue
    from server.engines.binary import find_llama_server
    from server.engines.devices import list_devices
    from server.engines.launching import Programs
    from server.engines.provision import Provision, selected, together
    from server.hardware.probe import probe
    from server.node import Node
    from server.planning.places import places
    from server.planning.recommendation import recommend
    from server.planning.rig import rig
    from server.planning.selection import select
    from server.store.layout import locate

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("holdfast").setLevel(logging.INFO)
    known = _with_flags(catalogue.load(settings), models, host, port)
    binary = find_llama_server(settings)
    machine = await asyncio.to_thread(probe, settings.home)

    def look(build: Build) -> Installed | Missing:
        return locate(build, settings)

    gpus = [gpu.uuid for gpu in machine.gpus]
    listed = (list_devices(binary.path, gpus) if gpus else None) or ()
    found = places(machine, cuda=any(device.startswith("CUDA") for device in listed))
    selection = select(known, look, found, demo=demo)
    provision = Provision(settings, known, Programs(binary), rig(machine), look)
    berths = selected(selection, known)
    # What was selected fits, each in its place: nothing of it is to be turned away.
    node = Node(settings, known, provision.yard(), berths, together(berths), look)

    def announce(url: str) -> None:
        for line in banner(url, selection, recommend(known, found[0]), settings):
            print(line, file=sys.stderr, flush=True)

    await node.serve(announce)


def banner(
    url: str, selection: Selection, better: Recommendation | None, settings: Settings
) -> list[str]:
    """What a person sees at the start: where, what, why, and how to get something better."""
    from server import __version__
    from server.planning.demand import DEMO
    from server.units import format_bytes

    lines = [f"Holdfast {__version__} listens at {url}"]
    for pick in selection.picks:
        sizing = pick.sizing
        lines.append(
            f"  {pick.build.name} on {pick.place.name}: {sizing.slots} slots of {sizing.context} "
            f"tokens, at most {format_bytes(sizing.footprint.total)} ({selection.reason})"
        )
    if any(pick.model.id == DEMO for pick in selection.picks):
        lines += ["", *_demo_notice(better, settings), ""]
    return lines


def _demo_notice(better: Recommendation | None, settings: Settings) -> list[str]:
    lines = [
        "  *** THIS IS THE DEMO MODEL: a few million parameters, a few dozen answers. ***",
        "  It shows that everything works; it is of no other use.",
    ]
    if better is None:
        return [*lines, "  No real model of the catalogue fits this machine."]
    build = better.build
    command = [str(Path(sys.prefix) / "bin" / "holdfast"), "pull", build.name]
    if settings.home != _usual_home():
        command += ["--home", str(settings.home)]
    return [
        *lines,
        f"  {better.model.title} in {build.quant} fits this machine, at about "
        f"{better.tokens_per_second:.0f} tokens per second. Get it, then start again:",
        f"    {shlex.join(command)}",
    ]


def _usual_home() -> Path:
    """The home of a command that is given none."""
    from server.settings import load

    without = {key: text for key, text in os.environ.items() if key != "HOLDFAST_CONFIG"}
    return load(without, system_config=Path(os.devnull)).home


def _with_flags(
    known: Catalogue, models: list[str], host: str | None, port: int | None
) -> Catalogue:
    serve = known.serve
    asked = replace(
        serve,
        models=tuple(models) or serve.models,
        host=serve.host if host is None else host,
        port=serve.port if port is None else port,
    )
    return replace(known, serve=asked)
