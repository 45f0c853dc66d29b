"""Entry of the benchmarks: which to run, and what becomes of the report."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks import (
    decision,
    footprint,
    overflow,
    overhead,
    placement,
    planning,
    pull,
    soak,
    startup,
    streams,
    swap,
    throughput,
    verify,
)
from scripts.benchmarks.load import LoadError
from scripts.benchmarks.machine import Others, describe
from scripts.benchmarks.programs import BenchError, allow_many_files
from scripts.benchmarks.report import Report, joined, table
from server import settings
from server.engines.binary import find_llama_server
from server.errors import EngineMissing, HoldfastError
from server.units import parse_duration

log = logging.getLogger("bench")

_CALM = 0.05
"""The share of the processors' time that other programs may take."""
_EPILOG = """\
examples:
  scripts/bench all                          every measurement, about an hour and a half
  scripts/bench overhead --quick             a first look, seconds
  scripts/bench throughput streams           some of them
  scripts/bench all --record BENCHMARKS.jsonl
                                             add a line to the record of all runs
  scripts/bench --soak 8h                    kill pulls at random points for a night

exit status: 0 every target met, 1 one missed, 2 wrong arguments, 3 could not be measured,
130 interrupted
"""


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures Holdfast side by side with its peers, all on this machine: "
        "throughput (tokens per second against the engine alone), overhead (of a small request, "
        "against a direct call and LiteLLM), streams (1,000 at once), startup (to the first "
        "answer), swap (one model for another, against the engine's own load), pull (4 GB, against "
        "hf), planning (a pull of 800 GB, against hf), verify (8 GB, against sha256sum), footprint "
        "(predicted memory against what llama-server takes), placement (a proven plan for eight "
        "GPUs, and all plans against greedy's), decision (where a request goes, of 50 candidates), "
        "overflow (what a cloud is paid, against spillover by a count). "
        "Prints medians, each against its target.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = (
        "throughput",
        "overhead",
        "streams",
        "startup",
        "swap",
        "pull",
        "planning",
        "verify",
        "footprint",
        "placement",
        "decision",
        "overflow",
        "all",
    )
    # Not `choices`: with them argparse refuses that there is none.
    parser.add_argument("measurement", nargs="*", metavar="MEASUREMENT", help=", ".join(names))
    parser.add_argument(
        "--soak", nargs="?", const="10m", type=parse_duration, metavar="DURATION",
        help="kill pulls at random points, beside a hub with faults, for so long (default 10m)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few and short runs: for a look only")
    parser.add_argument("--json", action="store_true", help="print JSON, with every reading")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the report to FILE")
    asked = parser.parse_args(given)
    if unknown := [name for name in asked.measurement if name not in names]:
        parser.error(f"invalid choice: {unknown[0]!r} (choose from {', '.join(names)})")
    if not asked.measurement and asked.soak is None:
        parser.error("a measurement is required, or --soak")
    return asked


def _measure(asked: argparse.Namespace, work: Path, cache: Path) -> list[Report]:
    names, quick = asked.measurement, asked.quick
    measurements: Mapping[str, Callable[[], Report]] = {
        "throughput": lambda: throughput.measure(
            throughput.QUICK if quick else throughput.FULL, work, cache
        ),
        "overhead": lambda: overhead.measure(
            overhead.QUICK if quick else overhead.FULL, work, cache
        ),
        "streams": lambda: streams.measure(streams.QUICK if quick else streams.FULL, work),
        "startup": lambda: startup.measure(startup.QUICK if quick else startup.FULL, work),
        "swap": lambda: swap.measure(swap.QUICK if quick else swap.FULL, work, cache),
        "pull": lambda: pull.measure(pull.QUICK if quick else pull.FULL, work),
        "planning": lambda: planning.measure(planning.QUICK if quick else planning.FULL, work),
        "verify": lambda: verify.measure(verify.QUICK if quick else verify.FULL, work),
        "footprint": lambda: footprint.measure(footprint.QUICK if quick else footprint.FULL, work),
        "placement": lambda: placement.measure(placement.QUICK if quick else placement.FULL, work),
        "decision": lambda: decision.measure(decision.QUICK if quick else decision.FULL, work),
        "overflow": lambda: overflow.measure(
            overflow.QUICK if quick else overflow.FULL, work, cache
        ),
    }
    chosen = measurements if "all" in names else dict.fromkeys(names)
    reports = [_watched(name, measurements[name]) for name in chosen]
    if asked.soak is not None:
        reports.append(soak.measure(asked.soak, work))
    return reports


def _watched(name: str, measure: Callable[[], Report]) -> Report:
    others = Others()
    report = measure()
    share = others.share()
    note = f"{name}: other programs took {share:.0%} of the processors' time meanwhile"
    if share > _CALM:
        note += ", too much for figures that are to be kept"
    return replace(report, notes=(*report.notes, note))


def _llama_server(work: Path) -> dict[str, str]:
    """Its version, if there is one; not every measurement needs it."""
    try:
        return {"llama_server": find_llama_server(settings.load(os.environ, home=work)).version}
    except EngineMissing:
        return {}


def _run(asked: argparse.Namespace) -> int:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast" / "bench"
    if asked.quick and asked.record is not None:
        raise BenchError("a quick run is not for the record: leave out --quick or --record")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        work = Path(folder)
        machine = describe(**_llama_server(work))
        report = joined(machine, _measure(asked, work, cache))
    if asked.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print("\n".join(table(report)))
    if asked.record is not None:
        with asked.record.open("a", encoding="utf-8") as file:
            file.write(report.record())
    return 1 if report.missed else 0


def main() -> int:
    asked = _arguments(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="bench: %(message)s", stream=sys.stderr)
    logging.getLogger("gguf").setLevel(logging.WARNING)
    # Shells start what runs in the background with SIGINT ignored, which Python would leave so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    allow_many_files()
    gc.disable()  # a collection in the middle of a reading would be read too
    try:
        return _run(asked)
    except (BenchError, LoadError, HoldfastError, TimeoutError) as error:
        log.error("%s", error or type(error).__name__)
        return 3
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
