from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.engines.build.compilation import Workshop, compile_wheel
from server.engines.build.progress import ProgressDisplay
from server.engines.build.recipe import Host, recipe
from server.errors import EngineMissing
from server.units import TIB


def test_a_full_disk_is_told_before_the_work_begins(tmp_path: Path) -> None:
    usual = recipe("0.3.36", Host("x86_64", "AMD EPYC", (), 2, TIB, None))
    workshop = Workshop(cache=tmp_path, requirements=tmp_path, uv="/nowhere/uv")
    with pytest.raises(EngineMissing) as caught:
        compile_wheel(replace(usual, disk=10**6 * TIB), workshop, ProgressDisplay())
    assert "needs 1000000.0 TiB" in caught.value.why
    assert f"at {tmp_path}, which has " in caught.value.why
    assert "XDG_CACHE_HOME" in caught.value.next_step
