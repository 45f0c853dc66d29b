import stat
from pathlib import Path

import pytest

from server.engines.devices import list_devices, parse_devices

TWO = """\
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23600 MiB free)
  CUDA1: NVIDIA GeForce RTX 4090 (24080 MiB, 1200 MiB free)
"""


@pytest.mark.parametrize(
    ("output", "devices"),
    [
        ("Available devices:\n  (none)\n", ()),
        (TWO, tuple(line.strip() for line in TWO.splitlines()[1:])),
        (
            "ggml_cuda_init: found 2 devices\n" + TWO,
            tuple(line.strip() for line in TWO.split("\n")[1:3]),
        ),
        ("unknown option --list-devices\n", None),
        ("", None),
    ],
)
def test_devices_are_read_from_what_llama_server_prints(
    output: str, devices: tuple[str, ...] | None
) -> None:
    assert parse_devices(output) == devices


def program(folder: Path, script: str) -> Path:
    path = folder / "llama-server"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_program_is_asked_without_our_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    said = 'echo "  CUDA0: key=$OPENAI_API_KEY gpus=$CUDA_VISIBLE_DEVICES"'
    told = program(tmp_path, f'echo "Available devices:"; {said}')
    assert list_devices(told, ["GPU-a", "GPU-b"]) == ("CUDA0: key= gpus=GPU-a,GPU-b",)


def test_a_program_that_cannot_say_is_no_error(tmp_path: Path) -> None:
    assert list_devices(program(tmp_path, "exit 1"), ["GPU-a"]) is None
    assert list_devices(tmp_path / "gone", ["GPU-a"]) is None
