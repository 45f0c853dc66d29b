"""A checkup as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import typer

import server
from server.cli.checkup import Checkup
from server.hardware import Cpu, Disk, Finding, Gpu, Link
from server.hardware.machine import Area, Severity
from server.units import format_bytes

_TITLES: dict[Area, str] = {
    "gpu": "GPU",
    "cpu": "Processor",
    "memory": "Memory",
    "disk": "Disk",
    "engine": "Engines",
    "configuration": "Configuration",
}
_ORDER: tuple[Severity, ...] = ("ok", "note", "warning", "error")
_MARKS: dict[Severity, tuple[str, str, str]] = {
    "ok": ("✓", "+", typer.colors.GREEN),
    "note": ("•", "-", typer.colors.CYAN),
    "warning": ("!", "!", typer.colors.YELLOW),
    "error": ("✗", "x", typer.colors.RED),
}
_DISKS = {
    "nvme": "NVMe", "ssd": "SSD", "hdd": "hard disk", "network": "network", "tmpfs": "RAM",
    "overlay": "container layer", "virtual": "virtual disk", "unknown": "unknown kind of disk",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    indent: int = 0
    mark: Severity | None = None
    label: str = ""
    """A bold word before the text; what does not fit on a line goes on below the text."""
    bold: bool = False
    dim: bool = False


def document(checkup: Checkup) -> str:
    """The JSON that `holdfast doctor --json` prints; `Machine.from_json` reads it back."""
    engines, contents = checkup.engines, checkup.contents
    data = {
        "schema": 1,
        "holdfast": server.__version__,
        "can_serve": checkup.can_serve,
        "machine": checkup.machine.to_dict(),
        "engines": {
            "llama_server": asdict(engines.chosen) if engines.chosen else None,
            "llama_server_devices": engines.devices,
            "llama_servers_considered": [asdict(one) for one in engines.llama_servers],
            "vllm": asdict(engines.vllm) if engines.vllm else None,
        },
        "configuration": {
            "home": checkup.home,
            **(asdict(contents) if contents else {"files": None}),
        },
        "findings": [asdict(finding) for finding in checkup.findings],
    }
    return json.dumps(data, indent=2, default=str)


def render(checkup: Checkup, width: int | None, colour: bool, encoding: str) -> str:
    """The report. `width`: columns to wrap at; None: not at all, for what is not a terminal."""
    plain = not _can_show("✓•✗", encoding)
    lines = (_draw(line, width, colour, plain) for line in _lines(checkup))
    return "\n".join(lines).rstrip()


def _lines(checkup: Checkup) -> Iterator[Line]:
    yield Line(f"Holdfast {server.__version__} on {checkup.machine.system}", bold=True)
    yield Line("")
    for area, title in _TITLES.items():
        found = [finding for finding in checkup.findings if finding.area == area]
        summary, *details = _section(area, checkup)
        severities: list[Severity] = ["ok", *(finding.severity for finding in found)]
        worst = max(severities, key=_ORDER.index)
        yield Line(summary, mark=worst, label=f"{title:<15}")
        yield from (Line(detail, indent=4) for detail in details)
        for finding in found:
            yield from _finding(finding)
    yield Line("")
    yield from _to_do(checkup)
    yield _verdict(checkup)


def _finding(finding: Finding) -> Iterator[Line]:
    """What and what follows; a note's advice at once, that of the others in "What to do"."""
    yield Line(_sentence(finding.what), indent=4, mark=finding.severity)
    if finding.consequence:
        yield Line(_sentence(finding.consequence), indent=6, dim=True)
    if finding.next_step and finding.severity == "note":
        yield Line(_sentence(finding.next_step), indent=6, dim=True)


def _to_do(checkup: Checkup) -> Iterator[Line]:
    """Advice by weight, each piece once, however many findings it mends."""
    steps: dict[str, Severity] = {}
    for severity in ("error", "warning"):
        for finding in checkup.findings:
            if finding.severity == severity and finding.next_step:
                steps.setdefault(finding.next_step, finding.severity)
    if steps:
        yield Line("What to do", bold=True)
        for number, (step, severity) in enumerate(steps.items(), 1):
            yield Line(_sentence(step), indent=2, mark=severity, label=f"{number}. ")
        yield Line("")


def _verdict(checkup: Checkup) -> Line:
    errors = sum(finding.severity == "error" for finding in checkup.findings)
    if errors:
        stands = "problem stands" if errors == 1 else "problems stand"
        return Line(f"Holdfast cannot serve yet: {errors} {stands} in the way.", bold=True)
    gpus = checkup.usable_gpus
    where = f"on {_count(len(gpus), 'GPU')}" if gpus else "on the CPU"
    return Line(f"Holdfast can serve models, {where}. Start it with `holdfast serve`.", bold=True)


def _section(area: Area, checkup: Checkup) -> list[str]:
    """A one-line summary, then details."""
    machine = checkup.machine
    if area == "gpu":
        return _gpus(checkup)
    if area == "cpu":
        return _cpu(machine.cpu)
    if area == "memory":
        total = min(machine.memory.total, machine.memory.limit or machine.memory.total)
        swap = machine.memory.swap_total
        return [
            f"{format_bytes(machine.memory.available)} available of {format_bytes(total)}"
            + (f", {format_bytes(swap)} of swap" if swap else "")
        ]
    if area == "disk":
        return _disk(machine.disk)
    if area == "engine":
        return _engines(checkup)
    return _configuration(checkup)


def _gpus(checkup: Checkup) -> list[str]:
    machine = checkup.machine
    if not machine.gpus:
        return ["none usable" if machine.lost_gpus else "none"]
    versions = f"driver {machine.driver}" + (f", CUDA {machine.cuda}" if machine.cuda else "")
    rows = [_gpu(gpu) for gpu in machine.gpus]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{_count(len(machine.gpus), 'GPU')} ({versions})"]
    for gpu, row in zip(machine.gpus, rows, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width)
        lines.append("  ".join(cells).rstrip())
        for one in gpu.mig_instances:
            free = _free_of(one.memory_free, one.memory_total)
            lines.append(f"   {one.index}  {one.name}  {free}  {one.uuid}")
    return lines + _links(machine.links)


def _gpu(gpu: Gpu) -> tuple[str, ...]:
    """Cells of a table; what is not known is empty."""
    capability, pcie = gpu.compute_capability, gpu.pcie_generation and gpu.pcie_width
    return (
        str(gpu.index),
        gpu.name,
        _free_of(gpu.memory_free, gpu.memory_total),
        f"{gpu.bandwidth / 1e9:.0f} GB/s" if gpu.bandwidth else "",
        f"sm_{capability[0]}{capability[1]}" if capability else "",
        f"PCIe {gpu.pcie_generation} x{gpu.pcie_width}" if pcie and not gpu.unified else "",
        {True: "ECC", False: "no ECC", None: ""}[gpu.health.ecc],
    )


def _links(links: tuple[Link, ...]) -> list[str]:
    """NVLink only: that pairs without it go over PCIe needs no line each."""
    if links and all(link.kind == "nvswitch" for link in links):
        return [f"every pair joined by NVLink through switches{_rate(links[0].bandwidth)}"]
    return [
        f"{link.first} and {link.second} joined by {_count(link.lanes, 'NVLink')}"
        f"{_rate(link.bandwidth)}"
        for link in links
        if link.kind != "pcie"
    ]


def _cpu(cpu: Cpu) -> list[str]:
    threads = f", {_count(cpu.logical, 'thread')}" if cpu.logical != cpu.physical else ""
    summary = f"{cpu.model}, {_count(cpu.physical, 'core')}{threads}"
    if len(cpu.numa) > 1:
        summary += f", {len(cpu.numa)} NUMA nodes"
    lines = [summary]
    if cpu.usable < cpu.logical:
        lines.append(
            f"usable: {_count(cpu.usable, 'thread')} on {_count(cpu.usable_cores, 'core')}"
        )
    return lines + ([" ".join(cpu.instructions)] if cpu.instructions else [])


def _disk(disk: Disk) -> list[str]:
    lines = [
        f"{format_bytes(disk.free)} free of {format_bytes(disk.total)} on {disk.mount} "
        f"({disk.filesystem}, {_DISKS[disk.kind]})",
        f"home: {disk.path}",
    ]
    if disk.read_speed and disk.write_speed:
        read, write = disk.read_speed / 1e6, disk.write_speed / 1e6
        lines.append(f"measured: reads {read:.0f} MB/s, writes {write:.0f} MB/s")
    return lines


def _engines(checkup: Checkup) -> list[str]:
    engines = checkup.engines
    if engines.chosen is None:
        lines = ["no usable llama-server"]
    else:
        lines = [f"llama-server {engines.chosen.version}", f"{engines.chosen.path}"]
    for other in engines.llama_servers:
        if other.problem and engines.chosen:
            lines.append(f"passed over: {other.path}, {other.problem}")
    lines += [f"can use {device}" for device in engines.devices or ()]
    if engines.vllm is None:
        lines.append("vLLM is not set up")
    else:
        kind = ", the build for CPUs" if engines.vllm.cpu else ""
        lines += [f"vLLM {engines.vllm.version}{kind}", f"{engines.vllm.path}"]
    return lines


def _configuration(checkup: Checkup) -> list[str]:
    contents = checkup.contents
    if contents is None:
        return ["has errors"]
    summary = (
        f"{_count(contents.models, 'model')}, {_count(contents.builds, 'build')}, "
        f"serves on {contents.address}"
    )
    clouds = f"clouds: {', '.join(contents.clouds)}" if contents.clouds else "no cloud"
    return [summary, clouds, *map(str, contents.files)]


def _draw(line: Line, width: int | None, colour: bool, plain: bool) -> str:
    """One line as text: its mark, its label, then its words, wrapped to hang below the first."""
    mark, label = "", line.label
    if line.mark:
        fancy, simple, foreground = _MARKS[line.mark]
        mark = (simple if plain else fancy) + " "
        mark = typer.style(mark, fg=foreground, bold=True) if colour else mark
    if label and colour:
        label = typer.style(label, bold=True)
    lead = line.indent + (2 if line.mark else 0) + len(line.label)
    rows = [line.text]
    if width and line.text:
        room = max(20, width - lead)
        rows = textwrap.wrap(rows[0], room, break_long_words=False, break_on_hyphens=False)
    if colour and (line.bold or line.dim):
        rows = [typer.style(row, bold=line.bold or None, dim=line.dim or None) for row in rows]
    first, *rest = rows
    return "\n".join(
        [" " * line.indent + mark + label + first, *(" " * lead + row for row in rest)]
    )


def _free_of(free: int | None, total: int | None) -> str:
    if free is None or total is None:
        return "memory not told"
    return f"{format_bytes(free)} free of {format_bytes(total)}"


def _rate(bandwidth: int | None) -> str:
    return f", {bandwidth / 1e9:.0f} GB/s each way" if bandwidth else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else text + "."


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
