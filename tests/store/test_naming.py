"""Which names of a hub are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import StoreError
from server.store.naming import checked, collisions, refusal


@pytest.mark.parametrize(
    "path",
    [
        "config.json",
        "BF16/Qwen3.5-27B-BF16-00001-of-00002.gguf",
        "model.safetensors-00001-of-00004.safetensors",
        "a/b/c d/ü.txt",
        "x" * 255,
        "...",
        "~root",
        "-rf",
    ],
)
def test_sound(path: str) -> None:
    assert checked(path).as_posix() == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("//a", "absolute"),
        ("..", '".."'),
        ("a/../b", '".."'),
        ("./a", '"."'),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("a\\..\\b", "backslash"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\x1b[2J", "control"),
        ("a\x7f", "control"),
        ("exe\u202egnp.py", "control or invisible"),
        ("a\u200bb", "control or invisible"),
        ("a\u2028b", "control or invisible"),
        ("\ud800", "control or invisible"),
        ("x" * 256, "longer than 255"),
        ("ü" * 128, "longer than 255"),
        ("/".join(["x" * 200] * 6), "longer than 1024"),
    ],
)
def test_refused_as_a_path(path: str, why: str) -> None:
    with pytest.raises(StoreError) as caught:
        checked(path)
    assert why in caught.value.why
    assert caught.value.sentence.isascii()
    assert caught.value.sentence.isprintable()


@given(st.text(min_size=1, max_size=60) | st.text(alphabet="./\\a~\0", max_size=12))
def test_whatever_is_taken_stays_in_its_folder(path: str) -> None:
    try:
        taken = checked(path)
    except StoreError:
        return
    root = Path("/srv/store")
    joined = Path(__import__("os").path.normpath(root / taken))
    assert root in joined.parents
    assert joined == root / path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("pytorch_model.bin", "pickle"),
        ("PyTorch_Model.BIN", "pickle"),
        ("a/b.pt", "pickle"),
        ("a.pth", "pickle"),
        ("a.pkl", "pickle"),
        ("a.ckpt", "pickle"),
        ("tf_model.h5", "pickle"),
        ("flax_model.msgpack", "pickle"),
        ("modeling_qwen.py", "code"),
        ("lib/x.so", "code"),
        ("SHA256SUMS", "of its own"),
        ("sha256sums.sig", "of its own"),
        ("holdfast.json", "of its own"),
        ("Holdfast.JSON", "of its own"),
        (".gitattributes", "hidden"),
        (".cache/x.json", "hidden"),
        ("a/.git/config", "hidden"),
    ],
)
def test_refused_for_what_it_is(path: str, why: str) -> None:
    assert why in (refusal(path) or "")


@pytest.mark.parametrize(
    "path",
    [
        "model.safetensors",
        "a/b.gguf",
        "config.json",
        "README.md",
        "chat_template.jinja",
        "vocab.txt",
        "LICENSE",
        "binary",
        "assets/SHA256SUMS",
        "happy",
    ],
)
def test_wanted(path: str) -> None:
    assert refusal(path) is None


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a", "b", "a/b".replace("/", "_")], ()),
        (["README.md", "readme.md"], (("README.md", "readme.md"),)),
        (["\u00e9", "e\u0301"], (("e\u0301", "\u00e9"),)),
        (["Straße", "STRASSE"], (("STRASSE", "Straße"),)),
        (["a", "a/b"], (("a", "a/b"),)),
        (["a/b", "A"], (("A", "a/b"),)),
        (["x/y/z", "X/Y"], (("X/Y", "x/y/z"),)),
        (["BF16/a", "BF16/b", "bf16/c"], ()),
        (["a", "a"], ()),
    ],
)
def test_collisions(paths: list[str], found: tuple[tuple[str, str], ...]) -> None:
    assert collisions(paths) == collisions(reversed(paths)) == found
