"""`holdfast mirror`: copies of the store in other places."""

from __future__ import annotations

import typer

from server.cli.mirror.restore import restore
from server.cli.mirror.serve import serve
from server.cli.mirror.status import status
from server.cli.mirror.sync import sync

mirror = typer.Typer(
    help="Keep copies of the store in other places, get it back from them, share it.",
    epilog='The places are named in the configuration: [store] copies = ["/mnt/nas/holdfast"].',
    no_args_is_help=True,
    rich_markup_mode=None,
)
mirror.command()(sync)
mirror.command()(status)
mirror.command()(restore)
mirror.command()(serve)
