"""`holdfast mirror serve`: the store as a hub for the network, without any engine."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, load_settings

if TYPE_CHECKING:
    from server.ledger.keys import KeyBook
    from server.store.offering import Offering
    from server.web.mirror import Mirror

_DRAIN = 30.0  # seconds that running downloads get when it is stopped; they can be resumed


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8001,
    copy: Annotated[
        Path | None,
        typer.Option(
            "--copy",
            metavar="PATH",
            help="Serve this copy of the store [default: the home's own].",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Be a hub for other machines.

    They set HF_ENDPOINT=http://THIS-MACHINE:8001/hf and fetch what they would from Hugging Face.
    `holdfast serve` does the same below its own /hf; here no engine is started. Clients only read,
    and see only files that a receipt names. Once a key exists (`holdfast keys create`), they send
    it as HF_TOKEN. Ctrl-C lets running downloads finish; a second one does not wait for them.

    \b
    Examples:
      holdfast mirror serve                            for this machine
      holdfast mirror serve --host 0.0.0.0             for the network; needs a key
      holdfast mirror serve --copy /mnt/nas/holdfast   what lies in a copy
    """
    import logging

    import uvloop

    from server.errors import StoreError
    from server.ledger.keys import KeyBook
    from server.store.offering import Offering

    if copy is not None and not copy.is_dir():
        raise StoreError(f"there is no folder {copy}", next_step="Name a copy's own folder")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("holdfast").setLevel(logging.INFO)
    settings = load_settings(home, config)
    offering = Offering(copy or settings.models)

    def announce(url: str) -> None:
        for line in banner(url, offering):
            print(line, file=sys.stderr, flush=True)

    mirror = uvloop.run(_serve(KeyBook(settings.keys_file), offering, host, port, announce))
    print(f"Sent {mirror.sent} bytes in {mirror.answers} answers.", file=sys.stderr)


def banner(url: str, offering: Offering) -> list[str]:
    """What a person sees at the start: the address for clients, and what they can have."""
    from server.units import format_bytes

    offered = offering.read().repositories
    lines = [f"The store is a hub at {url}"]
    for name, revisions in offered.items():
        newest = revisions[0]
        size = format_bytes(sum(file.bytes for file in newest.files.values()))
        more = f", and {len(revisions) - 1} older" if len(revisions) > 1 else ""
        lines.append(f"  {name} at {newest.revision[:12]}: {len(newest.files)} files, {size}{more}")
    if not offered:
        lines.append("  It holds nothing yet; `holdfast pull` fetches models.")
    lines += [f"  Left out: {problem}" for problem in offering.problems]
    return [*lines, f"Clients use it with HF_ENDPOINT={url}"]


async def _serve(
    book: KeyBook, offering: Offering, host: str, port: int, on_listening: Callable[[str], None]
) -> Mirror:
    from server.web.app import App, mirror_routes
    from server.web.endpoint import Endpoint, base_url, check_exposure
    from server.web.listen import listen
    from server.web.mirror import Mirror

    check_exposure(host, book)
    mirror = Mirror(offering)
    endpoint = Endpoint(App(book, mirror_routes(mirror)), _DRAIN)
    with contextlib.closing(listen(host, port)) as sock:
        await asyncio.to_thread(on_listening, f"{base_url(sock)}/hf")
        async with endpoint.serving([sock]):
            await endpoint.stopping.wait()
    return mirror
