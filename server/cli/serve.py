"""`holdfast serve`: run the endpoint and the engines behind it."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, load_settings

if TYPE_CHECKING:
    from server.catalogue import Catalogue
    from server.engines.served import Served
    from server.planning.recommendation import Recommendation
    from server.settings import Settings


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="What to serve: MODEL or MODEL:BUILD. Without any: [serve] models of the "
            "configuration, else the best plan for what is in the store, else the demo.",
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
    no_cloud: Annotated[
        bool, typer.Option("--no-cloud", help="Send nothing to a cloud, whatever is configured.")
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
      holdfast serve --no-cloud               whatever happens, nothing leaves this machine
    """
    import uvloop

    from server.settings import overlays

    flags = _Flags(tuple(models or ()), host, port, demo, no_cloud)
    # Looked for at each reload: /etc/holdfast/models.toml may have been written since.
    configs = partial(overlays, os.environ, config or ())
    uvloop.run(_serve(load_settings(home, config), flags, configs))


@dataclass(frozen=True, slots=True)
class _Flags:
    """What the command line says over the configuration."""

    models: tuple[str, ...]
    host: str | None
    port: int | None
    demo: bool
    no_cloud: bool

    def over(self, known: Catalogue) -> Catalogue:
        serve, router = known.serve, known.router
        asked = replace(
            serve,
            models=self.models or serve.models,
            host=serve.host if self.host is None else self.host,
            port=serve.port if self.port is None else self.port,
        )
        router = replace(router, cloud=router.cloud and not self.no_cloud)
        return replace(known, serve=asked, router=router)


async def _serve(
    settings: Settings, flags: _Flags, configs: Callable[[], tuple[Path, ...]]
) -> None:
    import logging

    from server import catalogue
    from server.engines.outfit import Outfitter
    from server.hardware.probe import probe
    from server.node import Node
    from server.planning.recommendation import recommend
    from server.planning.rig import rig

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("holdfast").setLevel(logging.INFO)

    def load() -> Catalogue:
        return flags.over(catalogue.load(replace(settings, configs=configs())))

    outfitter = Outfitter(settings, load, demo=flags.demo)
    machine = await asyncio.to_thread(probe, settings.home)
    outfit = outfitter.adopt(await asyncio.to_thread(outfitter.prepare, rig(machine)))
    chosen = outfit.served
    yard = outfitter.yard()
    node = Node(
        settings, outfit.catalogue, yard, chosen.berths, chosen.capacity, outfit.look, outfitter
    )

    def announce(url: str) -> None:
        better = None
        if chosen.plan is None:
            found = outfit.found
            better = recommend(outfit.catalogue, found.rig, engines=found.engines, cuda=found.cuda)
        clouds = _clouds(outfit.catalogue)
        for line in banner(url, chosen, better, settings, clouds):
            print(line, file=sys.stderr, flush=True)

    await node.serve(announce)


def banner(
    url: str,
    chosen: Served,
    better: Recommendation | None,
    settings: Settings,
    clouds: Sequence[str] = (),
) -> list[str]:
    """What a person sees at the start: where, what, why, and how to get something better."""
    from server import __version__

    lines = [f"Holdfast {__version__} listens at {url}", *_berths(chosen), *clouds]
    if chosen.plan is None:
        return [*lines, "", *_demo_notice(better, settings), ""]
    return [*lines, "  `holdfast plan` shows why, and what else this machine could run."]


def _berths(chosen: Served) -> Iterator[str]:
    from server.engines.berth import starts
    from server.planning.reasons import where
    from server.units import format_bytes

    for berth in sorted(chosen.berths, key=lambda berth: not starts(berth)):
        d = berth.deployment
        slots = "1 slot" if d.slots == 1 else f"{d.slots} slots"
        when = "" if starts(berth) else ", loaded when asked for"
        yield (
            f"  {berth.name} on {where(d, chosen.rig)}{when}: {slots} of {d.context} "
            f"tokens, at most {format_bytes(sum(berth.needs.values()))} ({chosen.reason})"
        )


def _clouds(known: Catalogue) -> list[str]:
    """What may leave this machine, where something may."""
    from collections import Counter

    from server.providers.secrets import Keyring

    if not known.router.cloud:
        return ["  no cloud: nothing leaves this machine"]
    keyless = Keyring().keyless(known.providers.values())
    models = Counter(m.provider for m in known.clouds.values() if m.provider not in keyless)
    if not models:
        return []
    each = ", ".join(f"{name} ({count} models)" for name, count in models.items())
    return [f"  clouds, where a request may go there: {each}"]


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
