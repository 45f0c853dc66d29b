"""Paragraphs and colours, for a terminal and for a file."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from rich.text import Text

from server.cli.plan.screen import Screen

LONG = "the smallest build takes 104.2 GiB where 101.0 GiB are left of RAM and of both GPUs"


def test_a_paragraph_hangs_below_its_beginning() -> None:
    lines = Screen(60).paragraph(LONG, lead="   name: ")
    assert [line.plain for line in lines] == [
        "   name: the smallest build takes 104.2 GiB where 101.0 GiB",
        "         are left of RAM and of both GPUs",
    ]


def test_below_a_long_lead_it_does_not_hang_at_the_edge() -> None:
    lines = Screen(60).paragraph(LONG, lead=f"   {'name' * 8}: ")
    assert [line.plain for line in lines] == [
        "   namenamenamenamenamenamenamename: the smallest build",
        "      takes 104.2 GiB where 101.0 GiB are left of RAM and of",
        "      both GPUs",
    ]


def test_a_lead_that_fills_the_line_is_wrapped_itself() -> None:
    lines = Screen(60).paragraph("it fits", lead="   " + "17.5 GiB more on GPU 0 and " * 3 + ": ")
    assert max(len(line.plain) for line in lines) <= 60
    assert lines[0].plain.startswith("   17.5 GiB")


def test_a_column_stays_at_the_edge() -> None:
    lines = Screen(60).column(LONG, lead=Text("x" * 36))
    assert [line.plain for line in lines[1:3]] == [
        " " * 36 + "104.2 GiB where 101.0",
        " " * 36 + "GiB are left of RAM and",
    ]


def test_what_is_no_terminal_gets_lines_of_any_length() -> None:
    (line,) = Screen(None).paragraph(LONG, lead="   name: ")
    assert line.plain == f"   name: {LONG}"


def test_names_are_never_broken() -> None:
    lines = Screen(60).paragraph(f"it is {'qwen3.5-122b-a10b:' * 4} that goes", lead=" " * 30)
    assert "qwen3.5-122b-a10b:" * 4 in [line.plain.strip() for line in lines]


@pytest.mark.parametrize(("colour", "codes"), [(True, True), (False, False)])
def test_colours_are_for_terminals(colour: bool, codes: bool) -> None:
    text = Screen(80, colour=colour).render([Text("A", "bold cyan"), Text("  x  ")])
    assert ("\x1b[" in text) is codes
    assert text.splitlines()[1] == "  x"


def test_long_lines_stay_whole() -> None:
    assert Screen(80).render([Text("x" * 300)]) == "x" * 300


SHOW = "from server.cli.plan.screen import Screen; print(Screen.stdout())"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"COLUMNS": "97"}, "Screen(width=97, unicode=True, colour=True)"),
        ({"COLUMNS": "97", "NO_COLOR": ""}, "Screen(width=97, unicode=True, colour=False)"),
        ({"COLUMNS": "20"}, "Screen(width=60, unicode=True, colour=True)"),
        (
            {"COLUMNS": "97", "PYTHONIOENCODING": "ascii"},
            "Screen(width=97, unicode=False, colour=True)",
        ),
    ],
)
def test_the_terminal_is_looked_at(environment: dict[str, str], told: str) -> None:
    ours, its = pty.openpty()
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "PYTHONUTF8": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SHOW], stdout=its, env=kept | environment
    ) as process:
        os.close(its)
        assert process.wait(30) == 0
        assert os.read(ours, 4096).decode().strip() == told
    os.close(ours)


def test_a_pipe_is_no_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "Screen(width=None, unicode=True, colour=False)"
