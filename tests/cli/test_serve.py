"""What `holdfast serve` says at its start."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from server import __version__, catalogue
from server import settings as configured
from server.catalogue import EngineName, Serve
from server.cli.serve import banner
from server.engines.berth import Berth, berths
from server.engines.served import Served
from server.hardware.imagined import imagined
from server.planning.demand import demand
from server.planning.deployment import Deployment
from server.planning.options import options as ways
from server.planning.placement import place
from server.planning.recommendation import recommend
from server.planning.rig import rig
from server.settings import Settings
from server.store.layout import Missing
from server.units import MIB

LLAMA: tuple[EngineName, ...] = ("llama-server",)


def told(settings: Settings, hardware: str) -> list[str]:
    known = catalogue.load(settings)
    here = rig(imagined("cpu+64G"))
    deployment = Deployment("demo", "demo:f16", "llama-server", (), 4096, 4)
    berth = Berth("demo:f16", deployment, {"ram": 600 * MIB})
    chosen = Served((berth,), here.pools(), here, None, "the demo was asked for")
    usable = rig(imagined(hardware))
    better = recommend(known, usable, engines=LLAMA, cuda=True)
    return banner("http://127.0.0.1:8000/v1", chosen, better, settings)


def test_what_is_served_is_told_and_what_comes_later_is_told_last() -> None:
    known = replace(catalogue.load(Settings(Path("/nonexistent"), ())), serve=Serve())
    here = rig(imagined("1x4090+64G"))
    wanted = demand(known)
    options, rejections = ways(
        known, wanted, here, lambda build: Missing(build, None, ()),
        held_only=False, engines=LLAMA, cuda=True,
    )  # fmt: skip
    plan = place(options, wanted, here, rejections=rejections)
    chosen = Served(berths(plan, here), here.pools(), here, plan, "as planned")
    first, *lines, last = banner("http://here/v1", chosen, None, Settings(Path("/home"), ()))
    assert first.endswith("listens at http://here/v1")
    assert "holdfast plan" in last
    assert len(lines) == len(plan.assignments) > 2
    waiting = ["loaded when asked for" in line for line in lines]
    assert waiting == sorted(waiting)
    assert any(" on GPU 0: " in line for line in lines)
    assert any(" on the CPU: " in line for line in lines)


@pytest.mark.parametrize("usual", [True, False])
def test_who_sees_the_demo_is_told_the_command_that_gets_a_real_model(
    usual: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    home = tmp_path if usual else tmp_path / "other"
    settings = configured.load(os.environ, home=home, system_config=Path(os.devnull))
    program, *words = shlex.split(told(settings, "cpu+16G")[-2])
    assert program.endswith("/bin/holdfast")
    assert words == ["pull", "qwen3.5-4b:q5_k_m", *([] if usual else ["--home", str(home)])]


def test_where_nothing_fits_no_command_is_told(tmp_path: Path) -> None:
    settings = configured.load({}, home=tmp_path, system_config=Path(os.devnull))
    lines = told(settings, "cpu+1G")
    assert "No real model of the catalogue fits this machine." in lines[-2]


def test_the_version_is_told_and_nothing_else_needed() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("holdfast"), "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"holdfast {__version__}\n")
