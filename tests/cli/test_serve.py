"""What `holdfast serve` says at its start."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from server import catalogue
from server import settings as configured
from server.cli.serve import banner
from server.planning.places import CPU_BANDWIDTH, Place
from server.planning.recommendation import recommend
from server.planning.selection import Selection, select
from server.settings import Settings
from server.store.layout import locate
from server.units import GIB


def told(settings: Settings, memory: int) -> list[str]:
    known = catalogue.load(settings)
    place = Place("the CPU", memory, CPU_BANDWIDTH)
    selection: Selection = select(known, lambda build: locate(build, settings), [place], demo=True)
    return banner("http://127.0.0.1:8000/v1", selection, recommend(known, place), settings)


@pytest.mark.parametrize("usual", [True, False])
def test_who_sees_the_demo_is_told_the_command_that_gets_a_real_model(
    usual: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    home = tmp_path if usual else tmp_path / "other"
    settings = configured.load(os.environ, home=home, system_config=Path(os.devnull))
    program, *words = shlex.split(told(settings, 16 * GIB)[-2])
    assert program.endswith("/bin/holdfast")
    assert words == ["pull", "qwen3.5-4b:ud-q4_k_xl", *([] if usual else ["--home", str(home)])]


def test_where_nothing_fits_no_command_is_told(tmp_path: Path) -> None:
    settings = configured.load({}, home=tmp_path, system_config=Path(os.devnull))
    lines = told(settings, GIB)
    assert "No real model of the catalogue fits this machine." in lines[-2]
