"""The whole of `python -m server.engines.build`, as a process.

The compiler's work, minutes of it, is replaced at one place: a program stands where uv does, and
"installs" a pip that prints what a real build prints and makes a wheel in a moment.
"""

from __future__ import annotations

import shutil
import signal
import zipfile
from pathlib import Path

import pytest

from tests.engines.build.workshop import Workshop
from tests.waiting import alive, wait_for

pytestmark = pytest.mark.integration

TOOLS = ("sh", "cp", "mkdir", "cat", "sleep", "echo", "seq", "env")
SUCCEED = r"""
for step in $(seq 1 40); do echo "  [$step/40] /usr/bin/g++ -c x.cpp"; done
echo "  *** Making wheel..."
mkdir -p "$last" && cp "$HERE/made.whl" "$last/llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl"
"""


class Build(Workshop):
    """A workshop of its own, in which the build can be run again and again."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.prefix = folder / "cache", folder / "environment"
        options = ("--into", self.prefix, "--cache", self.cache)
        super().__init__(folder, "server.engines.build", options)
        for tool in (*TOOLS, "cc", "c++"):
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        with zipfile.ZipFile(folder / "made.whl", "w") as wheel:
            wheel.writestr("bin/llama-server", "#!/bin/sh\necho 'version: 8000 (made)'\n")
            wheel.writestr("lib/libllama.so.0", "")
        self.pip(SUCCEED)
        self.program(
            "uv",
            'for last in "$@"; do :; done',
            f'if [ "$1" = venv ]; then mkdir -p "$last/bin"; cp \'{folder}/pip\' '
            '"$last/bin/python"; fi',
        )

    def pip(self, what: str) -> None:
        """What the pip does that the build runs."""
        path = self.folder / "pip"
        path.write_text(
            f"#!/bin/sh\nHERE='{self.folder}'\necho run >>\"$HERE/runs\"\n"
            f'echo "$@" >"$HERE/arguments"; env >"$HERE/env"\nfor last in "$@"; do :; done\n{what}'
        )
        path.chmod(0o755)

    @property
    def runs(self) -> int:
        file = self.folder / "runs"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def left_over(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.suffix in {".work", ".whl"}]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path)


def test_it_builds_once_and_keeps_the_wheel(build: Build) -> None:
    status, output = build("--jobs", "3")
    assert status == 0, output
    program = build.prefix / "llama.cpp" / "bin" / "llama-server"
    assert "with 3 jobs" in output
    assert "compiling, 50 %: 20 of 40" in output
    assert output.count("compiling, ") == 10  # a line for each tenth, not for each step
    assert f"llama-server 8000 (made): {program}, built in" in output
    assert build.runs == 1

    assert build()[1].rstrip().endswith("already there")
    shutil.rmtree(build.prefix)
    assert "from the cache in" in build()[1]
    assert build.runs == 1
    assert [path.suffix for path in build.left_over()] == [".whl"]


def test_what_the_compiler_is_told(build: Build) -> None:
    assert build("--jobs", "2")[0] == 0
    arguments = (build.folder / "arguments").read_text()
    environment = dict(
        line.split("=", 1) for line in (build.folder / "env").read_text().splitlines()
    )
    for option in ("--require-hashes", "--no-cache-dir", "--no-build-isolation", "--no-binary"):
        assert option in arguments
    assert environment["CMAKE_BUILD_PARALLEL_LEVEL"] == "2"
    assert "-DLLAMA_BUILD_SERVER=ON" in environment["CMAKE_ARGS"]
    assert "$ORIGIN/../lib" in environment["CMAKE_ARGS"]
    assert Path(environment["TMPDIR"]).parent == build.cache  # /tmp may be small


def test_a_damaged_wheel_is_made_anew(build: Build) -> None:
    assert build()[0] == 0
    [wheel] = build.left_over()
    wheel.write_bytes(wheel.read_bytes()[:100])
    shutil.rmtree(build.prefix)
    status, output = build()
    assert status == 0, output
    assert "is damaged; building it anew" in output
    assert build.runs == 2


def test_one_that_is_named_or_on_path_is_used_and_nothing_built(build: Build) -> None:
    own = build.program("own", "echo 'version: 8001 (own)'")
    build.program("llama-server", "echo 'version: 8002 (path)'")
    assert f"8002 (path): {build.bin / 'llama-server'}" in build()[1]
    build.variables["HOLDFAST_LLAMA_SERVER"] = str(own)
    assert f"8001 (own): {own}" in build()[1]
    assert build.runs == 0


def test_one_on_path_that_is_too_old_is_passed_over_aloud(build: Build) -> None:
    old = build.program("llama-server", "echo 'version: 6000 (old)'")
    status, output = build()
    assert status == 0, output
    assert f"passing over {old}: too old for Qwen3.5: found version 6000 (old)" in output
    assert "llama-server 8000 (made)" in output


def test_one_that_is_named_and_unusable_is_an_error(build: Build) -> None:
    build.variables["HOLDFAST_LLAMA_SERVER"] = "/nowhere/llama-server"
    status, output = build()
    assert status == 3
    assert output.startswith("Error: the llama-server named in the settings, /nowhere/")
    assert "there is no such file" in output
    assert "Traceback" not in output


def test_without_a_compiler_it_says_how_to_get_one(build: Build) -> None:
    (build.bin / "c++").unlink()
    status, output = build()
    assert status == 3
    assert "no C++ compiler" in output
    assert "apt-get install g++" in output
    assert build.runs == 0


def test_a_failure_shows_the_last_lines_and_keeps_the_log(build: Build) -> None:
    build.pip(
        "echo '[7/268] /usr/bin/g++ -c x.cpp'\n"
        "echo 'c++: fatal error: Killed signal terminated program cc1plus'\nexit 1\n"
    )
    status, output = build()
    assert status == 3
    assert "    c++: fatal error: Killed signal terminated program cc1plus" in output
    assert "ran out of memory. Run scripts/setup --jobs 1" in output
    [kept] = build.cache.rglob("build.log")
    assert f"all of it stands in {kept}" in output
    assert "[7/268]" in kept.read_text()
    assert build.left_over() == []

    build.pip(SUCCEED)
    assert build()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(build: Build, number: signal.Signals) -> None:
    build.pip('sleep 60 & echo $! >"$HERE/pid"; wait\n')
    process = build.start()
    pid = build.folder / "pid"
    wait_for(lambda: pid.exists() and pid.read_text())
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Interrupted; scripts/setup starts the build again" in output
    wait_for(lambda: not alive(int(pid.read_text())))  # the compiler
    assert build.left_over() == []


def test_what_a_killed_build_left_is_removed(build: Build) -> None:
    stale = build.cache / "tmpabc.work"
    stale.mkdir(parents=True)
    (stale / "object.o").write_text("half")
    assert build()[0] == 0
    assert not stale.exists()


def test_of_two_at_once_one_builds_and_the_other_takes_it(build: Build) -> None:
    build.pip(f"sleep 0.5\n{SUCCEED}")
    both = [build.start(), build.start("--into", str(build.folder / "other"))]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert build.runs == 1
