"""`holdfast doctor`: what this machine has, what is wrong with it, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.options import Config, Home, Json, load_settings
from server.errors import ConfigError, EngineMissing

if TYPE_CHECKING:
    from server.cli.checkup import Checkup, Contents, Engines
    from server.engines.vllm_binary import Interpreter
    from server.hardware import Finding, Machine
    from server.settings import Settings

CANNOT_SERVE = 3  # as EngineError's exit code
_WIDEST = 100


def doctor(
    json: Json = False,
    home: Home = None,
    config: Config = None,
    measure_disk: Annotated[
        bool,
        typer.Option(
            "--measure-disk", help="Measure the disk's speed with a 256 MiB file, removed after."
        ),
    ] = False,
) -> None:
    """Examine this machine: GPUs, processor, memory, disk, engines, configuration.

    Everything that stands in the way is told with its consequence and what to do about it.
    The exit code is 0 if models can be served, and 3 if they cannot.

    \b
    Examples:
      holdfast doctor
      holdfast doctor --json > machine.json
    """
    from server.cli.report import document, render

    checkup = examine(home, config, measure_disk)
    if json:
        typer.echo(document(checkup))
    else:
        terminal = sys.stdout.isatty()
        width = min(_WIDEST, shutil.get_terminal_size().columns) if terminal else None
        colour = terminal and "NO_COLOR" not in os.environ
        typer.echo(render(checkup, width, colour, sys.stdout.encoding or "ascii"), color=colour)
    if not checkup.can_serve:
        raise typer.Exit(CANNOT_SERVE)


def examine(home: Path | None, config: list[Path] | None, measure_disk: bool) -> Checkup:
    """Everything that the report tells. What is wrong becomes a finding and is never raised."""
    from server.cli.checkup import Checkup
    from server.hardware import probe

    settings, findings = _settings(home, config)
    machine = probe(settings.home)
    if measure_disk:
        machine = _measured(machine, findings)
    engines = _engines(settings, machine, findings)
    contents = _contents(settings, findings)
    _ledger(settings, findings)
    return Checkup(machine, engines, settings.home, contents, (*machine.findings, *findings))


def _settings(home: Path | None, config: list[Path] | None) -> tuple[Settings, list[Finding]]:
    """The settings; where a file that they name does not exist, those without any overlay."""
    from server import settings
    from server.hardware import Finding

    try:
        return load_settings(home, config), []
    except ConfigError as error:
        without = {key: text for key, text in os.environ.items() if key != "HOLDFAST_CONFIG"}
        bad = Finding("error", "configuration", _capital(error.what), _NO_SERVE, error.next_step)
        return settings.load(without, home=home, system_config=Path(os.devnull)), [bad]


def _measured(machine: Machine, findings: list[Finding]) -> Machine:
    from dataclasses import replace

    from server.hardware import Finding, disk

    try:
        return replace(machine, disk=disk.measure(machine.disk))
    except OSError as error:
        what = f"The disk's speed could not be measured: {error.strerror or error}"
        findings.append(Finding("note", "disk", what))
        return machine


def _ledger(settings: Settings, findings: list[Finding]) -> None:
    from server.errors import LedgerUnavailable
    from server.hardware import Finding
    from server.ledger.schema import damaged, sqlite_warning
    from server.ledger.statement import head, reading

    if (warning := sqlite_warning()) is not None:
        means = "The ledger is safe: Holdfast writes to it with one connection alone"
        step = "Write to the ledger with no other program while Holdfast runs"
        findings.append(Finding("note", "configuration", warning, means, step))
    if settings.ledger.exists() or damaged(settings.ledger):
        try:
            with reading(settings.ledger) as book:
                head(book)
        except LedgerUnavailable as error:
            what = _capital(error.what) + (f": {error.why}" if error.why else "")
            no_cloud = "No cloud is asked, since nobody knows what is spent; local models serve"
            step = error.next_step
            findings.append(Finding("warning", "configuration", what, no_cloud, step))


def _engines(settings: Settings, machine: Machine, findings: list[Finding]) -> Engines:
    from server.cli.checkup import Engines, without_gpu
    from server.engines.binary import candidates, find_llama_server
    from server.engines.devices import list_devices
    from server.hardware import Finding

    considered = candidates(settings)
    vllm = _vllm(settings, machine, findings)
    try:
        chosen = find_llama_server(settings)
    except EngineMissing as error:
        what = _capital(error.what) + (f": {error.why}" if error.why else "")
        findings.append(Finding("error", "engine", what, _NO_SERVE, error.next_step))
        return Engines(considered, None, None, vllm)
    gpus = [gpu.uuid for gpu in machine.gpus]
    devices = list_devices(chosen.path, gpus) if gpus else None
    if gpus and not devices:
        findings.append(without_gpu(chosen.path, devices))
    return Engines(considered, chosen, devices, vllm)


def _vllm(settings: Settings, machine: Machine, findings: list[Finding]) -> Interpreter | None:
    from server.cli.checkup import broken_vllm, vllm_without_gpu
    from server.engines.vllm_binary import built_interpreter, find_vllm

    try:
        found = find_vllm(settings)
    except EngineMissing as error:
        if settings.vllm_python is not None or built_interpreter(Path(sys.prefix)).exists():
            findings.append(broken_vllm(error))
        return None
    if machine.gpus and found.cpu:
        findings.append(vllm_without_gpu(found))
    return found


def _contents(settings: Settings, findings: list[Finding]) -> Contents | None:
    from server import catalogue
    from server.cli.checkup import Contents
    from server.cli.cloud_advice import look
    from server.hardware import Finding

    try:
        loaded = catalogue.load(settings)
    except ConfigError as error:
        mend = error.next_step or "Correct it; `holdfast check-config` shows the whole"
        findings += (
            Finding("error", "configuration", problem, _NO_SERVE, mend)
            for problem in error.problems or (error.what,)
        )
        return None
    absences, notes = look(loaded, settings)
    findings += notes
    return Contents(
        files=loaded.sources,
        models=len(loaded.models),
        builds=sum(len(model.builds) for model in loaded.models.values()),
        address=f"{loaded.serve.host}:{loaded.serve.port}",
        clouds=tuple(name for name in loaded.providers if name not in absences),
        without_key={name: absence.next_step for name, absence in absences.items()},
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_NO_SERVE = "`holdfast serve` does not start"
