"""Command lines, as a shell takes them."""

from __future__ import annotations

import shlex

import pytest

from server.cli.plan.commands import command_lines, shell
from server.cli.plan.draft import Command
from server.cli.plan.screen import Screen
from tests.cli.plan.drafts import COMMAND, draft


@pytest.mark.parametrize("width", [None, 30, 60, 200])
def test_a_shell_takes_it_as_it_stands(width: int | None) -> None:
    text = "\n".join(shell(COMMAND, width))
    words = shlex.split(text.replace("\\\n", " "))
    assert words == ["CUDA_VISIBLE_DEVICES=GPU-0", *COMMAND.argv]


def test_it_is_folded_between_options() -> None:
    command = Command("b", {}, ("/x/python", "-m", "vllm", "--seed", "7", "--flag", "--other", "x"))
    assert shell(command, 28) == ["/x/python -m vllm --seed 7 \\", "  --flag --other x"]
    assert shell(command, 27) == ["/x/python -m vllm \\", "  --seed 7 --flag \\", "  --other x"]


def test_each_stands_below_its_letter() -> None:
    lines = [line.plain for line in command_lines(draft(), Screen(None))]
    assert lines[0] == "A  qwen3.5-9b:q4_k_m"
    assert lines[1].startswith("   CUDA_VISIBLE_DEVICES=GPU-0 /opt/llama-server")
