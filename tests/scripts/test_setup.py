"""scripts/setup in a copy of the checkout, with its own cache and, where it matters, its own PATH.

The packages come from uv's cache, which the set-up of this very environment has filled; nothing is
fetched. A script stands for llama-server, so nothing is built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pyproject.toml", "README.md", "LICENSE", "models.toml", "requirements", "server")
TOOLS = """
awk bash cat cut date df dirname env flock grep head ln mkdir mktemp mv rm sed sha256sum sort tail
uname wc
"""


def write_program(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o755)
    return path


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.root.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.root / name, ignore=ignored)
            else:
                shutil.copy(source, self.root / name)
        (self.root / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "setup", self.root / "scripts" / "setup")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS.split():
            found = shutil.which(tool)
            assert found, f"{tool} is on every Linux"
            (self.bin / tool).symlink_to(found)
        llama_server = write_program(folder / "llama-server", "echo 'version: 8000 (stand-in)'")
        self.variables = {
            "XDG_CACHE_HOME": str(folder / "cache"),
            "HOLDFAST_HOME": str(folder / "home"),
            "HOLDFAST_LLAMA_SERVER": str(llama_server),
            "UV_OFFLINE": "1",
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(user_cache() / "uv"),
            "PATH": os.pathsep.join((str(Path(uv_program()).parent), os.environ["PATH"])),
        }

    def setup(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "scripts" / "setup", *options],
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def bare(self, *options: str) -> subprocess.CompletedProcess[str]:
        """With nothing on PATH but the usual tools, and what the test puts beside them."""
        return self.setup(*options, PATH=str(self.bin))


def uv_program() -> str:
    """The uv that set this environment up: one on PATH, or set-up's own."""
    own = sorted(user_cache().glob("holdfast/tools/uv-*/bin/uv"))
    found = shutil.which("uv") or (str(own[-1]) if own else None)
    assert found, "this environment was not made by scripts/setup --dev"
    return found


def user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout that was set up once; each test breaks and repairs it."""
    made = Checkout(tmp_path_factory.mktemp("ready"))
    done = made.setup()
    assert done.returncode == 0, done.stdout
    assert "packages, hashes checked" in done.stdout
    assert "llama-server 8000 (stand-in)" in done.stdout
    assert "Ready in" in done.stdout
    yield made
    shutil.rmtree(made.root)


# ---- What is wrong with a machine is told, with the command that mends it ----


def test_help_has_examples(checkout: Checkout) -> None:
    done = checkout.bare("--help")
    assert done.returncode == 0
    assert "Examples:\n  scripts/setup" in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--unknown"], "unknown option --unknown"),
        (["--jobs"], "--jobs needs a number"),
        (["--jobs", "many"], "--jobs needs a number"),
        (["--jobs", "0"], "--jobs needs a number"),
    ],
)
def test_a_wrong_option_is_refused(checkout: Checkout, options: list[str], told: str) -> None:
    done = checkout.bare(*options)
    assert done.returncode == 2
    assert done.stdout.startswith(f"scripts/setup: {told}")


def test_no_python(checkout: Checkout) -> None:
    done = checkout.bare()
    assert done.returncode == 3
    assert "Error: no usable Python: Holdfast needs Python 3.11 or newer." in done.stdout
    assert "apt-get install python3" in done.stdout


def test_a_python_that_is_too_old_is_passed_over(checkout: Checkout) -> None:
    write_program(checkout.bin / "python3", "exit 1")  # as 3.9 answers whether it is 3.11
    assert "no usable Python" in checkout.bare().stdout
    (checkout.bin / "python3.12").symlink_to(sys.executable)
    write_program(checkout.bin / "uv", "echo uv 99.0.0")
    assert f": {checkout.bin / 'python3.12'}" in checkout.bare().stdout


@pytest.mark.parametrize("uv", [None, "echo uv 0.4.1", "exit 127"])
def test_neither_a_usable_uv_nor_pip(checkout: Checkout, uv: str | None) -> None:
    write_program(
        checkout.bin / "python3",
        'case "$*" in',
        "*version_info*) exit 0 ;;",
        '*sys.executable*) echo "$0" ;;',
        "*python_version*) echo 3.12.0 ;;",
        "*) exit 1 ;;",
        "esac",
    )
    if uv:
        write_program(checkout.bin / "uv", uv)
    done = checkout.bare()
    assert done.returncode == 3
    assert "Error: uv cannot be installed: this Python has no pip." in done.stdout
    assert "As root: apt-get install python3-venv" in done.stdout
    assert "Set-up is not complete" in done.stdout


@pytest.mark.parametrize(("node", "here"), [(None, "none"), ("echo v18.20.4", "v18.20.4")])
def test_what_the_tests_need_without_node(checkout: Checkout, node: str | None, here: str) -> None:
    if node:
        write_program(checkout.bin / "node", node)
    done = checkout.bare("--dev")
    assert done.returncode == 3
    assert f"with Node 20 or newer and npm; node here is {here}." in done.stdout
    assert "then run scripts/setup --dev again" in done.stdout
    assert not (checkout.root / ".venv").exists()


def test_a_full_disk(checkout: Checkout) -> None:
    (checkout.bin / "python3").symlink_to(sys.executable)
    (checkout.bin / "df").unlink()
    write_program(checkout.bin / "df", "echo Filesystem; echo /dev/vda 1000 990 10 99% /")
    done = checkout.bare()
    assert done.returncode == 3
    assert f"set-up needs 500 MiB in {checkout.root}, which has 10 MiB" in done.stdout


def test_packages_that_cannot_be_had(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.setup(UV_CACHE_DIR=str(tmp_path / "empty"))
    assert done.returncode == 3
    assert "Error: .venv cannot be made" in done.stdout
    assert "Check the network and pip's settings" in done.stdout
    assert not (checkout.root / ".venv" / "set-up").exists()


def test_a_file_that_is_not_the_locked_one_is_refused(checkout: Checkout) -> None:
    lock = checkout.root / "requirements" / "holdfast.txt"
    lines = [
        f"    --hash=sha256:{'0' * 64}" + (" \\" if line.endswith("\\") else "")
        if "--hash" in line
        else line
        for line in lock.read_text().splitlines()
    ]
    lock.write_text("\n".join(lines) + "\n")
    done = checkout.setup()
    assert done.returncode == 3
    assert "Error: .venv cannot be made" in done.stdout
    assert not (checkout.root / ".venv" / "bin" / "uvicorn").exists()


# ---- A set-up that is there is left alone, one that is not whole is repaired ----


@pytest.mark.integration
def test_the_environment_works(ready: Checkout) -> None:
    python = ready.root / ".venv" / "bin" / "python"
    code = "import aiohttp, server; print(server.__file__)"
    shown = subprocess.check_output([python, "-c", code], cwd="/", text=True)
    assert shown.strip() == str(ready.root / "server" / "__init__.py")
    assert subprocess.run([python, "-c", "import pytest"], capture_output=True).returncode


@pytest.mark.integration
def test_the_second_time_does_nothing_at_once(ready: Checkout) -> None:
    nothing_is_done_at_once(ready)


def nothing_is_done_at_once(ready: Checkout, *flags: str) -> None:
    """In a second of work at most, however long others have the processor."""
    before = os.times()
    done = ready.setup(*flags)
    after = os.times()
    assert (done.returncode, done.stdout) == (0, "")
    own = after.children_user - before.children_user
    assert own + after.children_system - before.children_system < 1


@pytest.mark.integration
@pytest.mark.parametrize(
    "damage", ["program", "interpreter", "environment", "interruption", "lock"]
)
def test_damage_is_repaired(ready: Checkout, damage: str) -> None:
    environment = ready.root / ".venv"
    match damage:
        case "program":
            (environment / "bin" / "holdfast").unlink()
        case "interpreter":
            (environment / "bin" / "python").unlink()
            (environment / "bin" / "python").symlink_to("/nowhere/python3")
        case "environment":
            shutil.rmtree(environment)
        case "interruption":  # as after an interruption
            (environment / "set-up").unlink()
            shutil.rmtree(next(environment.glob("lib/python*/site-packages/aiohttp")))
        case "lock":
            with (ready.root / "requirements" / "holdfast.txt").open("a") as lock:
                lock.write("# changed\n")
    done = ready.setup()
    assert done.returncode == 0, done.stdout
    assert "Ready in" in done.stdout
    python = environment / "bin" / "python"
    subprocess.run([python, "-c", "import aiohttp"], check=True)
    assert (environment / "bin" / "holdfast").exists()
    assert ready.setup().stdout == ""


@pytest.mark.integration
def test_vllm_has_an_environment_of_its_own(ready: Checkout) -> None:
    """The real one, of two gigabytes, out of uv's cache."""
    done = ready.setup("--vllm")
    assert done.returncode == 0, done.stdout
    own = ready.root / ".venv-vllm" / "bin" / "python"
    assert f": {own} (" in done.stdout
    names = ("server", "torch", "torchvision", "vllm")
    code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    for python, held in ((own, list(names[1:])), (ready.root / ".venv/bin/python", ["server"])):
        shown = subprocess.check_output([python, "-I", "-c", code], text=True, cwd="/")
        assert shown.strip() == str(held)

    nothing_is_done_at_once(ready, "--vllm")
    shutil.rmtree(own.parent.parent)
    assert ready.setup().stdout == ""  # who does not ask for it is not kept waiting for it


@pytest.mark.integration
def test_extras_stay(ready: Checkout) -> None:
    def has(*modules: str) -> bool:
        python = str(ready.root / ".venv" / "bin" / "python")
        program = [python, "-c", f"import {', '.join(modules)}"]
        done = subprocess.run(program, check=False, stderr=subprocess.DEVNULL)
        return done.returncode == 0

    assert not has("s3fs")
    assert not has("opentelemetry.sdk")
    for options in (["--s3"], ["--otel"], []):
        done = ready.setup(*options)
        assert done.returncode == 0, done.stdout
        assert has("s3fs")
    assert has("s3fs", "opentelemetry.sdk")
    with (ready.root / "pyproject.toml").open("a") as file:
        file.write("# changed, so that set-up works again\n")
    done = ready.setup()
    assert done.returncode == 0, done.stdout
    assert has("s3fs", "opentelemetry.sdk")


@pytest.mark.integration
def test_a_checkout_that_was_moved_is_set_up_anew(ready: Checkout) -> None:
    old = ready.root
    ready.root = old.with_name("moved")
    old.rename(ready.root)
    done = ready.setup()
    assert done.returncode == 0, done.stdout
    first_line = (ready.root / ".venv" / "bin" / "uvicorn").read_text().splitlines()[0]
    assert str(ready.root) in first_line
    assert ready.setup().stdout == ""


@pytest.mark.integration
def test_an_unusable_llama_server_leaves_the_set_up_unfinished(ready: Checkout) -> None:
    done = ready.setup(HOLDFAST_LLAMA_SERVER="/nowhere/llama-server")
    assert done.returncode == 3
    assert "Error: the llama-server named in the settings, /nowhere/llama-server" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Ready in" in ready.setup().stdout
