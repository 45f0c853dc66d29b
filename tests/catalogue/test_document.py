"""One file: everything that can be wrong with it is told with file, key and value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from server.catalogue.document import read
from server.catalogue.tree import Leaf

Problems = Callable[..., list[str]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[serve]\nport = ", "0.toml:2:8: Invalid value"),
        ("[serve]\nport = 1\nport = 2", "0.toml:3:9: Cannot overwrite a value"),
        ("[serve", "0.toml:1:7: Expected ']' at the end of a table declaration"),
        ("a = " + "1" * 5000, "0.toml: Exceeds the limit (4300 digits)"),
        ("a = " + "[" * 100_000, "0.toml: is nested too deeply"),
        ("serve = 3", "0.toml: serve = 3: expected a table"),
        ("model = 3", "0.toml: model = 3: expected an array of tables, [[model]]"),
        ("model = [3]", "0.toml: model[0] = 3: expected a table"),
        ("family = []", "0.toml: family = []: expected a table"),
        ("family.a = 1", "0.toml: family.a = 1: expected a table"),
        ("[serve]\nprot = 1", '0.toml: serve.prot is not a known key. Did you mean "port"?'),
        ('["sérve"]', '0.toml: "sérve" is not a known key. Did you mean "serve" or "store"?'),
        ("[zzz]", "0.toml: zzz is not a known key. Keys: family, model, repository, build, serve"),
        ("[family.UPPER]", "0.toml: family.UPPER is not a known key: expected lower-case letters"),
        ("[serve]\nport = true", "0.toml: serve.port = true: expected a whole number from 0 to"),
        ('[serve]\nport = "x"', '0.toml: serve.port = "x": expected a whole number from 0 to'),
        ("[serve]\nport = 1979-05-27", "0.toml: serve.port = 1979-05-27: expected a whole number"),
        ('[serve]\nmax_body = "1XB"', '0.toml: serve.max_body = "1XB": expected bytes or a text'),
        ("[serve]\nmodels = [1]", "0.toml: serve.models = [1]: expected a text of one line"),
        ("[[model]]\ntitle = 'x'", "0.toml: model[0] has no id"),
        ("[[build]]\nquant = 'x'", "0.toml: build[0] has no model, id"),
        ("[[model]]\nid = 'a'\n[[model]]\nid = 'a'", "0.toml: model[a] stands twice"),
        (
            "[[build]]\nmodel = 'a'\nid = 'b'\n[[build]]\nmodel = 'a'\nid = 'b'",
            "0.toml: build[a:b] stands twice",
        ),
        (
            "[[build]]\nmodel = 'a'\nid = 'b'\n[[repository]]\nid = 'x/y'\nmodel = 'a'\n"
            "builds = [{ id = 'b' }]",
            "0.toml: build[a:b] stands twice",
        ),
        (
            "[[build]]\nmodel = 'a'\nid = 'b'\nfiles = [{ path = 'x', sha256 = '0' }]",
            '0.toml: build[a:b].files[0].sha256 = "0": expected a sha256 of 64',
        ),
        (
            "[[build]]\nmodel = 'a'\nid = 'b'\nfiles = [{ path = 'x-#####' }]",
            "0.toml: build[a:b].files[0] = {",
        ),
        (
            "[[build]]\nmodel = 'a'\nid = 'b'\nmmproj = { bytes = 1 }",
            "0.toml: build[a:b].mmproj has no path",
        ),
        (
            "[[repository]]\nid = 'x/y'\nmodel = 'a'\nbuilds = [{ id = 'b', byts = 1 }]",
            '0.toml: repository[x/y].builds[b].byts is not a known key. Did you mean "bytes"?',
        ),
        (
            "[[model]]\nid = 'a'\nscores = { mmlu = 1.0 }",
            "0.toml: model[a].scores.mmlu is not a known key: expected one of mmlu_pro, ",
        ),
        (
            "[[model]]\nid = 'a'\nscores = { mmlu_pro = 101 }",
            "0.toml: model[a].scores.mmlu_pro = 101: expected a number from 0 to 100",
        ),
        (
            "[[model]]\nid = 'a'\nsampling.thinking.top_p = 0",
            "0.toml: model[a].sampling.thinking.top_p = 0: expected a number above 0 and at most 1",
        ),
    ],
)
def test_problems(problems_of: Problems, line: str, expected: str) -> None:
    assert [problem for problem in problems_of(line) if problem.startswith(expected)], problems_of(
        line
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    assert read(absent).problems == [f"{absent}: cannot be read: No such file or directory"]
    assert read(tmp_path).problems == [f"{tmp_path}: cannot be read: Is a directory"]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    assert read(latin).problems == [f"{latin}: is not UTF-8 text (byte 5)"]


def test_long_values_are_cut(problems_of: Problems) -> None:
    (problem,) = problems_of(f"[serve]\nhost = {json.dumps('é ' * 5000)}")
    assert len(problem) < 200


def test_leaves_remember_where_they_stood(tmp_path: Path) -> None:
    source = tmp_path / "a.toml"
    source.write_text("[serve]\nport = 1")
    serve = read(source).tree["serve"]
    assert isinstance(serve, dict)
    assert serve["port"] == Leaf(1, source, "serve.port")
    assert serve["port"].where == f"{source}: serve.port"
