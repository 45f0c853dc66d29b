"""Each script explains itself, refuses what it does not know, and needs no set-up for either."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    "scripts/setup",
    "scripts/serve",
    "scripts/pull-models",
    "scripts/test",
    "scripts/check",
    "scripts/lock",
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / command[0], *command[1:]],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout that was never set up: what these scripts need of it."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    return tmp_path


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(fresh: Path, script: str) -> None:
    done = run(fresh, script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {script}")
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_the_gate_explains_itself(fresh: Path) -> None:
    done = run(fresh, ".ci/run", "--help")
    assert done.returncode == 0
    assert "scripts/setup" in done.stdout


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/check", "scripts/lock"])
def test_unknown_options_are_refused(fresh: Path, script: str) -> None:
    done = run(fresh, script, "--unknown")
    assert done.returncode == 2
    assert f"{script}: unknown option --unknown" in done.stdout


@pytest.mark.parametrize(
    "script",
    ["scripts/serve", "scripts/pull-models", "scripts/test", "scripts/check", ".ci/run"],
)
def test_nothing_runs_if_the_set_up_fails(fresh: Path, script: str) -> None:
    setup = fresh / "scripts" / "setup"
    setup.write_text("#!/bin/sh\necho 'Error: no compiler' >&2\nexit 3\n")
    done = run(fresh, script)
    assert (done.returncode, done.stdout) == (3, "Error: no compiler\n")


@pytest.mark.parametrize(
    ("script", "options", "handed"),
    [
        ("serve", ["--port", "9000"], "serve --port 9000"),
        ("pull-models", ["--all"], "pull --mirror --all"),
        ("pull-models", [], "pull --mirror"),
    ],
)
def test_a_script_hands_its_options_and_itself_over(
    fresh: Path, script: str, options: list[str], handed: str
) -> None:
    (fresh / "scripts" / "setup").write_text("#!/bin/sh\n")
    holdfast = fresh / ".venv" / "bin" / "holdfast"
    holdfast.parent.mkdir(parents=True)
    holdfast.write_text('#!/bin/sh\necho "$$" "$@"\n')
    holdfast.chmod(0o755)
    process = subprocess.Popen(
        [fresh / "scripts" / script, *options], stdout=subprocess.PIPE, text=True
    )
    shown, _ = process.communicate(timeout=60)
    # The same process: a signal sent to the script reaches Holdfast.
    assert shown == f"{process.pid} {handed}\n"


def test_check_runs_every_gate_and_names_those_that_failed(fresh: Path) -> None:
    (fresh / "scripts" / "setup").write_text("#!/bin/sh\n")
    tools = fresh / ".venv-dev" / "bin"
    tools.mkdir(parents=True)
    for tool, status in (("ruff", 1), ("mypy", 0), ("pytest", 1)):
        (tools / tool).write_text(f"#!/bin/sh\necho {tool} ran\nexit {status}\n")
        (tools / tool).chmod(0o755)
    done = run(fresh, "scripts/check")
    assert done.returncode == 1
    assert done.stdout.count("ruff ran") == 2
    assert "mypy ran" in done.stdout
    assert "pytest ran" in done.stdout
    told = done.stdout.partition("Failed:\n")[2]
    assert [line.split(":")[0].strip() for line in told.splitlines()] == [
        "format",
        "style",
        "architecture",
    ]
    assert "scripts/check --fix" in told
