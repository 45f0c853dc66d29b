from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.web.mirror_path import Ask, parse


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("api/whoami-v2", Ask("whoami")),
        ("api/models", Ask("models")),
        ("api/models/o/n", Ask("info", "o/n")),
        ("api/models/o/n/revision/main", Ask("info", "o/n", "main")),
        ("api/models/o/n/revision/refs%2Fpr%2F1", Ask("info", "o/n", "refs/pr/1")),
        ("api/models/o/n/refs", Ask("refs", "o/n")),
        ("api/models/o/n/commits/abcd", Ask("commits", "o/n", "abcd")),
        ("api/models/o/n/tree/main", Ask("tree", "o/n", "main")),
        ("api/models/o/n/tree/main/", Ask("tree", "o/n", "main")),
        ("api/models/o/n/tree/main/a/b", Ask("tree", "o/n", "main", "a/b")),
        ("api/models/o/n/paths-info/main", Ask("paths-info", "o/n", "main")),
        ("o/n/resolve/main/a/b%20c.txt", Ask("file", "o/n", "main", "a/b c.txt")),
        ("o/n/resolve/main/../../../x", Ask("file", "o/n", "main", "../../../x")),
        ("o/n/resolve/main/%2E%2E/x", Ask("file", "o/n", "main", "../x")),
        ("v2/o/n/manifests/Q4_0", Ask("manifest", "o/n", path="Q4_0")),
        ("", None),
        ("o", None),
        ("o/n", None),
        ("o/n/resolve/main", None),
        ("o/n/raw/main/x", None),
        ("api/models/gpt2", None),
        ("api/datasets/o/n", None),
        ("api/models/o/n/xet-read-token/main", None),
        ("%FF/%00/resolve/main/x", Ask("file", "\ufffd/\0", "main", "x")),
    ],
)
def test_what_a_path_means(path: str, found: Ask | None) -> None:
    assert parse(f"/hf/{path}".encode()) == found


@pytest.mark.parametrize("path", [b"/%68f/api/models", b"/hf%2Fapi/models", b"/HF/api/models"])
def test_only_the_plain_prefix_counts(path: bytes) -> None:
    assert parse(path) is None


@given(st.binary(max_size=60) | st.text("/%2fhapimodels.", max_size=60).map(str.encode))
def test_any_path_can_be_parsed(path: bytes) -> None:
    for sent in (path, b"/hf/" + path, b"/hf/o/n/resolve/" + path):
        found = parse(sent)
        assert found is None or (sent.startswith(b"/hf/") and found.what)
