"""`holdfast pull`: fetch models, verified and resumable."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from server.cli.options import Config, Home, load_settings

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="A model (qwen3.5-9b), its size (9B), a build (9b:q4_k_m) or a repository of the hub "
        "(org/name, org/name@revision); several may be given.",
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every model of the family.")]
Format = Annotated[
    Literal["safetensors", "gguf", "both"] | None,
    typer.Option(
        help="Of each model [default: gguf; with --mirror safetensors].", show_default=False
    ),
]
Quant = Annotated[
    list[str] | None,
    typer.Option(help="Q4_K_M, FP8, ... or all; may be repeated.", show_default=False),
]
Fitting = Annotated[bool, typer.Option("--fits", help="Only what this machine can run.")]
Base = Annotated[bool, typer.Option("--base", help="The checkpoints before post-training, too.")]
Mirror = Annotated[
    bool, typer.Option("--mirror", help="To keep: unquantized, where no option says otherwise.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Tell files, bytes, place and time; fetch nothing.")
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Connections at a time [default: 8].", show_default=False),
]
LimitRate = Annotated[
    str | None,
    typer.Option(help="Bytes a second over all connections, such as 50MB.", show_default=False),
]
Hours = Annotated[str | None, typer.Option("--window", help="Only in these hours: 01:00-06:00.")]
Transport = Annotated[
    Literal["http", "xet"], typer.Option(help="xet: through hf_xet, checked afterwards.")
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON, of a pull an event a line.")]


def pull(
    names: Names = None,
    everything: All = False,
    format: Format = None,  # noqa: A002 - the option's name
    quant: Quant = None,
    fits: Fitting = False,
    base: Base = False,
    mirror: Mirror = False,
    dry_run: DryRun = False,
    jobs: Jobs = None,
    limit_rate: LimitRate = None,
    window: Hours = None,
    transport: Transport = "http",
    json: JsonLines = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Fetch models into the store: pinned, verified, resumable, visible only when whole.

    Ctrl-C stops it; the same command goes on where it was, and fetches no verified byte twice.
    Without the hub, --dry-run tells what the catalogue knows. HF_ENDPOINT, HF_TOKEN,
    HF_HUB_OFFLINE and the proxy variables mean what they mean to `hf`. The exit code is 0 if all
    is held, 6 if a hub cannot be reached or refuses, 4 if something is wrong with files or disk.

    \b
    Examples:
      holdfast pull 9B                          to serve: a GGUF file and its image encoder
      holdfast pull qwen3.5-9b:q8_0             that build
      holdfast pull --fits --dry-run            what this machine could run
      holdfast pull --mirror --all --dry-run    the whole family as it was published
      holdfast pull 27B 35B --format both --window 01:00-06:00 --limit-rate 50MB
      holdfast pull bartowski/Qwen_Qwen3.5-9B-GGUF --quant Q4_K_M
    """
    from server import catalogue
    from server.cli.pull import steps
    from server.store.pull.selection import Asked, select

    settings = load_settings(home, config)
    known = catalogue.load(settings)
    store = steps.with_flags(known.store, jobs, limit_rate, window)
    asked = Asked(tuple(names or ()), everything, format, tuple(quant or ()), fits, base, mirror)
    selection = select(known, asked, steps.fitting(known, settings) if fits else steps.anything)
    if selection.passed:
        typer.echo(f"Of {', '.join(selection.passed)} nothing fits what was asked for.", err=True)
    if selection.baseless:
        typer.echo(f"No base checkpoint is known of {', '.join(selection.baseless)}.", err=True)
    if dry_run:
        steps.dry_run(settings, store, selection.orders, json=json)
    else:
        steps.run(settings, store, selection.orders, xet=transport == "xet", json=json)
