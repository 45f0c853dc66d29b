"""The lines are those of real builds, cut to what matters."""

from __future__ import annotations

import pytest

from server.engines.build.log import Progress, diagnose, read_progress, telling


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  Downloading llama_cpp_python-0.3.36.tar.gz (76.6 MB)", "fetching the sources"),
        ("  *** Configuring CMake...", "configuring"),
        ("  [12/268] /usr/bin/g++ -DGGML_BUILD -o x.o", Progress("compiling", 12, 268)),
        ("[268/268] : && /usr/bin/g++ -O3", Progress("compiling", 268, 268)),
        ("  *** Making wheel...", "packing"),
        ("Resolved 147 packages in 644ms", "fetching what is not in the cache"),
        ("Downloading numpy (16.1MiB)", "fetching numpy, 16.1 MiB"),
        ("Installed 1 package in 13ms", "importing it once, to see that it works"),
        ("  -- The C compiler identification is GNU 12.2.0", None),
        ("  warning: x[3/4] is unused", None),
        ("  Downloading scikit_build_core-1.1.2-py3-none-any.whl (295 kB)", None),
        (" Downloaded numpy", None),
        ("", None),
    ],
)
def test_progress(line: str, expected: Progress | str | None) -> None:
    assert read_progress(line) == (Progress(expected) if isinstance(expected, str) else expected)


@pytest.mark.parametrize(
    ("line", "why", "next_step"),
    [
        ("c++: fatal error: Killed signal terminated program cc1plus", "memory", "--jobs 1"),
        ("cc1plus: out of memory allocating 65536 bytes", "memory", "--jobs 1"),
        ("fatal error: error writing to x.s: No space left on device", "disk", "XDG_CACHE_HOME"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "not the one", "mirror"),
        ("ERROR: No matching distribution found for llama-cpp-python", "registry", "pip config"),
        ("error: Hash mismatch for `six==1.17.0`", "not the one", "mirror"),
        ("error: No solution found when resolving dependencies", "registry", "pip config"),
        ("error: Failed to fetch: http://127.0.0.1:9/simple/six/", "registry", "network"),
        ("  cause: No space left on device (os error 28)", "disk", "XDG_CACHE_HOME"),
        ("Temporary failure in name resolution", "registry", "network"),
        ("-- The CXX compiler identification is unknown", "compiler", "apt-get install g++"),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_120'", "CUDA", "CUDACXX"),
        ("#error -- unsupported GNU version! gcc versions later than 13", "CUDA", "CUDACXX"),
    ],
)
def test_known_causes(line: str, why: str, next_step: str) -> None:
    diagnosis = diagnose(["-- Configuring done\n", f"  {line}\n", "ninja: build stopped.\n"])
    assert diagnosis is not None
    assert why in diagnosis.why
    assert next_step in diagnosis.next_step


def test_an_unknown_cause_is_not_guessed() -> None:
    assert diagnose(["error: expected ';' before '}' token", "ninja: build stopped."]) is None


def test_the_last_lines_are_kept_short() -> None:
    lines = telling(["one\n", "\n", "x" * 5000 + "\n", "error: no\n"], limit=2)
    assert lines == ("x" * 157 + "...", "error: no")
