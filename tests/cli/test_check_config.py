"""`holdfast check-config`, run as a program."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from server.catalogue import Build, File, load
from server.cli.check_config import report, row
from server.settings import Settings

HOLDFAST = [sys.executable, "-c", "from server.cli import main; main()", "check-config"]


def _run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return subprocess.run(
        [*HOLDFAST, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )


@pytest.mark.integration
def test_plain_text(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].endswith("models.toml")
    (row_of_9b,) = [line.split() for line in lines if line.startswith("qwen3.5-9b:q4_k_m ")]
    assert row_of_9b == [
        *("qwen3.5-9b:q4_k_m", "llama-server", "gguf", "5.3", "GiB", "3885219b6810", "-"),
        "unsloth/Qwen3.5-9B-GGUF",
    ]
    assert "serve.port = 8000" in lines
    assert "store.reserve = 10.0 GiB" in lines
    assert "store.copies = none" in lines
    assert "\x1b" not in done.stdout


@pytest.mark.integration
def test_json(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(
        '[serve]\nport = 9000\nqueue_timeout = "5s"\n'
        '[store]\ncopies = ["/mnt/nas"]\nreserve = "1GB"\n'
    )
    done = _run(tmp_path, "--json", "--config", str(overlay))
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"], answer["problems"]) == (0, True, [])
    catalogue = answer["catalogue"]
    assert catalogue["sources"][-1] == str(overlay)
    assert (catalogue["serve"]["port"], catalogue["serve"]["queue_timeout"]) == (9000, 5.0)
    assert (catalogue["store"]["copies"], catalogue["store"]["reserve"]) == (["/mnt/nas"], 10**9)
    builds = {build["id"]: build for build in catalogue["models"]["qwen3.5-9b"]["builds"]}
    assert builds["q4_k_m"]["bytes"] == 5_680_522_464
    assert catalogue["models"]["qwen3.5-9b"]["sampling"]["thinking"]["top_k"] == 20


@pytest.mark.integration
def test_routing_clouds_and_what_they_cost(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(
        '[router]\nlimits = { day = "5 USD" }\n'
        '[[route]]\nid = "night"\nwhen = { hours = "22:00-06:00", tasks = ["coding"] }\n'
        'candidates = ["local", "openai/*"]\n'
        '[[team]]\nid = "research"\nlimits = { month = "0.05 USD" }\n'
    )
    lines = _run(tmp_path, "--config", str(overlay)).stdout.splitlines()
    (luna,) = [index for index, line in enumerate(lines) if line.startswith("openai/gpt-6-luna ")]
    assert lines[luna].split() == [
        *("openai/gpt-6-luna", "1,050,000", "128,000", "$0.10", "$0.01", "$0.125", "$0.50"),
        *("to", "272,000", "images,", "PDFs"),
    ]
    assert lines[luna + 1].split() == ["$0.20", "$0.02", "$0.25", "$0.75", "over", "272,000"]
    assert "router.limits = $5.00 a day" in lines
    assert "alias[local] = local; local-only" in lines
    assert "route[night] = task coding; 22:00 to 06:00 -> local, openai/*" in lines
    assert "team[research] = $0.05 a month" in lines
    assert (
        "provider[openai] = openai-responses at https://api.openai.com/v1; not asked: "
        "OPENAI_API_KEY is not set; the credential openai.key is not passed by systemd"
    ) in lines
    assert lines[-1].startswith("note: The providers openai, anthropic and gemini have no key.")
    answer = json.loads(_run(tmp_path, "--config", str(overlay), "--json").stdout)
    assert answer["notes"][0]["severity"] == "note"
    assert set(answer["without_key"]) == {"openai", "anthropic", "gemini"}
    catalogue = answer["catalogue"]
    assert catalogue["clouds"]["openai/gpt-6-luna"]["price"]["rate"]["input"] == 100_000_000
    assert "tools" in catalogue["clouds"]["openai/gpt-6-luna"]["features"]
    assert catalogue["router"]["routes"][0]["when"]["hours"] == ["22:00:00", "06:00:00"]


@pytest.mark.integration
def test_problems_stand_one_a_line_and_it_exits_2(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text('[serve]\nprot = 1\nmodels = ["qwen3.5-9c"]\n')
    done = _run(tmp_path, "--config", str(overlay))
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        f'{overlay}: serve.prot is not a known key. Did you mean "port"?',
        f'{overlay}: serve.models = "qwen3.5-9c": no such model. '
        'Did you mean "qwen3.5-9b" or "qwen3.5-4b" or "qwen3.5-2b"?',
    ]
    assert done.stderr == "holdfast: the configuration has 2 problems.\n"
    answer = _run(tmp_path, "--config", str(overlay), "--json")
    assert (answer.returncode, answer.stderr) == (2, "")
    assert json.loads(answer.stdout)["problems"] == done.stdout.splitlines()


@pytest.mark.integration
def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = _run(tmp_path, "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "none.toml does not exist" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_a_terminal_gets_tables(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TERM": "xterm-256color",
        "COLUMNS": "180",
    }
    with subprocess.Popen(HOLDFAST, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = io.BytesIO()
        try:
            while chunk := os.read(leader, 65536):
                shown.write(chunk)
        except OSError:  # EIO: the program has closed its end
            pass
        finally:
            os.close(leader)
    text = shown.getvalue().decode()
    assert process.returncode == 0
    assert "\x1b[1m" in text
    assert "Qwen3.5 397B-A17B" in text
    assert "qwen3.5-9b:q4_k_m" in text


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            Build("m", "a", "vllm", "safetensors", "FP8", repository="o/n"),
            ("m:a", "vllm", "safetensors", "-", "-", "revision, files", "o/n"),
        ),
        (
            Build(
                *("m", "a", "llama-server", "gguf", "Q4"),
                repository="o/n",
                revision="f" * 40,
                files=(File("a.gguf", 2048, "0" * 64),),
                bytes=2048,
            ),
            ("m:a", "llama-server", "gguf", "2.0 KiB", "f" * 12, "-", "o/n"),
        ),
        (
            Build("m", "a", "llama-server", "gguf", "Q4", path=Path("/nowhere/a.gguf")),
            ("m:a", "llama-server", "gguf", "-", "-", "file is absent", "/nowhere/a.gguf"),
        ),
    ],
)
def test_rows(build: Build, expected: tuple[str, ...]) -> None:
    assert row(build) == expected


def test_the_size_of_a_local_file_is_read(tmp_path: Path) -> None:
    weights = tmp_path / "a.gguf"
    weights.write_bytes(b"x" * 1024)
    assert row(Build("m", "a", "llama-server", "gguf", "Q4", path=weights))[3] == "1.0 KiB"


def test_columns_are_aligned(tmp_path: Path) -> None:
    lines = list(report(load(Settings(home=tmp_path, configs=()))))
    heading = next(line for line in lines if line.startswith("BUILD"))
    builds = [line for line in lines if line.startswith("qwen3.5-")]
    assert len(builds) > 100
    assert all(line[heading.index("ENGINE") - 1] == " " for line in builds)
    assert all(line[heading.index("FROM") - 1] == " " for line in builds)
