"""Names and flags -> repositories, with the true catalogue."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server import catalogue, settings
from server.catalogue import Build, Model
from server.errors import ConfigError, HoldfastError, ModelNotFound
from server.store.pull.order import Order
from server.store.pull.selection import Asked, select
from server.units import GIB

KNOWN = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)
FAMILY = [name for name in KNOWN.models if name != "demo"]


def always(_model: Model, _build: Build) -> bool:
    return True


def orders(*names: str, **flags: object) -> tuple[Order, ...]:
    return select(KNOWN, Asked(names, **flags), always).orders  # type: ignore[arg-type]


def builds(*names: str, **flags: object) -> list[str]:
    return [build for order in orders(*names, **flags) for build in order.builds]


@pytest.mark.parametrize(
    ("names", "flags", "expected"),
    [
        (["0.8B"], {}, ["qwen3.5-0.8b:ud-q4_k_xl"]),
        (["qwen3.5-9b"], {}, ["qwen3.5-9b:ud-q4_k_xl"]),
        (["9B", "9b"], {}, ["qwen3.5-9b:ud-q4_k_xl"]),
        (["27B"], {"mirror": True}, ["qwen3.5-27b:bf16"]),
        (["35B"], {"mirror": True}, ["qwen3.5-35b-a3b:bf16"]),
        (["35b-a3b"], {"mirror": True}, ["qwen3.5-35b-a3b:bf16"]),
        (["4B"], {"format": "both"}, ["qwen3.5-4b:bf16", "qwen3.5-4b:ud-q4_k_xl"]),
        (["4B"], {"format": "safetensors"}, ["qwen3.5-4b:bf16"]),
        (["4B"], {"mirror": True, "format": "gguf"}, ["qwen3.5-4b:ud-q4_k_xl"]),
        (["9B"], {"quants": ("q8_0",)}, ["qwen3.5-9b:q8_0"]),
        (["9B"], {"mirror": True, "quants": ("Q8_0",)}, ["qwen3.5-9b:q8_0"]),
        (["27B"], {"quants": ("fp8",)}, ["qwen3.5-27b:fp8"]),
        (["9B"], {"quants": ("BF16",), "format": "gguf"}, ["qwen3.5-9b:bf16-gguf"]),
        (["qwen3.5-9b:q4_k_m"], {"mirror": True}, ["qwen3.5-9b:q4_k_m"]),
        (["9b:q4_k_m"], {}, ["qwen3.5-9b:q4_k_m"]),
        (["2B"], {"fits": True, "mirror": True}, ["qwen3.5-2b:ud-q4_k_xl"]),
    ],
)
def test_what_a_name_stands_for(
    names: list[str], flags: dict[str, object], expected: list[str]
) -> None:
    assert builds(*names, **flags) == expected


def test_the_whole_family_unquantized() -> None:
    found = orders(everything=True, mirror=True)
    assert [order.builds for order in found] == [(f"{name}:bf16",) for name in FAMILY]
    assert all(order.revision and order.weights is None for order in found)
    # The sum that the published sizes come to, of files where known and else of tensors.
    assert sum(order.weights_bytes or 0 for order in found) == 1_219_356_936_888


def test_every_model_has_a_build_to_serve() -> None:
    assert [name.partition(":")[0] for name in builds(everything=True)] == FAMILY


def test_all_quants_of_a_repository_are_fetched_together() -> None:
    (order, other) = orders("9B", quants=("all",), format="gguf")
    assert len(order.builds) == 18
    assert other.repository == "lmstudio-community/Qwen3.5-9B-GGUF"
    assert len(orders("9B", quants=("Q8_0", "Q4_K_S"))) == 1


def test_models_that_have_no_such_build_are_passed_over_and_named() -> None:
    found = select(KNOWN, Asked(everything=True, quants=("FP8",)), always)
    assert [order.repository for order in found.orders] == [
        f"Qwen/Qwen3.5-{size}-FP8" for size in ("27B", "35B-A3B", "122B-A10B", "397B-A17B")
    ]
    assert found.passed == tuple(f"qwen3.5-{size}" for size in ("0.8b", "2b", "4b", "9b"))


def test_what_fits_is_one_build_of_each_model_that_has_one() -> None:
    def small(_model: Model, build: Build) -> bool:
        return build.bytes is not None and build.bytes < 3 * GIB

    found = select(KNOWN, Asked(fits=True), small)
    assert [build for order in found.orders for build in order.builds] == [
        "qwen3.5-0.8b:ud-q4_k_xl",
        "qwen3.5-2b:ud-q4_k_xl",
        "qwen3.5-4b:ud-q4_k_xl",
    ]
    assert "qwen3.5-9b" in found.passed
    with pytest.raises(ConfigError, match="fits this machine"):
        select(KNOWN, Asked(("397B",), fits=True), small)


def test_the_checkpoints_before_post_training_come_when_asked_for() -> None:
    found = orders("9B", "27B", mirror=True, base=True)
    assert [order.repository for order in found] == [
        "Qwen/Qwen3.5-9B",
        "Qwen/Qwen3.5-27B",
        "Qwen/Qwen3.5-9B-Base",
    ]
    assert found[2].revision == "68c46c4b3498877f3ef123c856ecfde50c39f404"
    asked = Asked(("9B", "27B"), mirror=True, base=True)
    assert select(KNOWN, asked, always).baseless == ("qwen3.5-27b",)


# ---- What is wanted of a repository ----


def test_of_a_gguf_repository_the_build_the_image_encoder_and_all_that_is_small() -> None:
    (order,) = orders("9b:q4_k_m")
    assert order.weights == ("Qwen3.5-9B-Q4_K_M.gguf", "mmproj-F16.gguf")
    assert order.weights_bytes == 5_680_522_464 + 918_166_080
    assert order.exact
    for path in (*order.weights, "README.md", "config.json", "imatrix.dat"):
        assert order.wants(path)
    for path in ("Qwen3.5-9B-Q8_0.gguf", "mmproj-BF16.gguf", "sub/Qwen3.5-9B-Q4_K_M.gguf"):
        assert not order.wants(path)


def test_of_a_checkpoint_everything() -> None:
    (order,) = orders("9B", mirror=True)
    assert order.wants("model.safetensors-00001-of-00004.safetensors")
    assert order.wants("model.safetensors.index.json")
    known = {file.path: file for file in order.known}
    assert known["tokenizer.json"].bytes == 12_807_982
    assert order.modelscope == "Qwen/Qwen3.5-9B"


def test_a_repository_of_the_catalogue_by_its_own_name_is_pinned_and_whole() -> None:
    (order,) = orders("qwen/qwen3.5-9b")
    assert (order.repository, order.revision) == (
        "Qwen/Qwen3.5-9B",
        "c202236235762e1c871ad0ccb60c8ee5ba337b9a",
    )
    (order,) = orders("unsloth/Qwen3.5-9B-GGUF")
    assert order.wants("Qwen3.5-9B-Q8_0.gguf")
    assert order.wants("mmproj-F32.gguf")
    assert len(order.known) == 19
    (order,) = orders("unsloth/Qwen3.5-9B-GGUF", quants=("q8_0",))
    assert order.weights == ("Qwen3.5-9B-Q8_0.gguf", "mmproj-F16.gguf")


def test_at_another_revision_the_catalogue_knows_nothing_of_it() -> None:
    (order,) = orders(f"Qwen/Qwen3.5-9B@{'a' * 40}")
    assert (order.revision, order.known, order.weights) == ("a" * 40, (), None)


def test_a_repository_that_is_not_in_the_catalogue() -> None:
    assert orders("some/where@main") == (Order("some/where", "main"),)
    (order,) = orders("bartowski/Q-GGUF", quants=("Q4_K_M",))
    wanted = {
        "Q-Q4_K_M.gguf": True,
        "q-q4_k_m.gguf": True,
        "Q4_K_M/Q-00001-of-00002.gguf": True,
        "mmproj-Q-f16.gguf": True,
        "mmproj-Q-bf16.gguf": False,
        "Q-Q4_K_M_L.gguf": False,
        "Q-IQ4_K_M.gguf": False,
        "Q-Q8_0.gguf": False,
        "README.md": True,
    }
    assert {path: order.wants(path) for path in wanted} == wanted


# ---- Mistakes ----


@pytest.mark.parametrize(
    ("asked", "kind", "what"),
    [
        (Asked(), ConfigError, "nothing was named to pull"),
        (Asked(("9B",), everything=True), ConfigError, "contradict"),
        (Asked(("9B",), quants=("Q9_X",)), ConfigError, "no build of qwen3.5-9b is what was"),
        (Asked(("9B",), quants=("../x",)), ConfigError, "is no quantization"),
        (Asked(("5B",)), ModelNotFound, 'there is no model "5b"'),
        (Asked(("9b:q9",)), ModelNotFound, 'qwen3.5-9b has no build "q9"'),
        (Asked(("demo:gguf",)), HoldfastError, "demo"),
        (Asked(("demo",)), ConfigError, "no build of demo is what was"),
        (Asked(("a/b/c",)), ConfigError, "neither a model nor a repository"),
        (Asked(("a/b@",)), ConfigError, "neither a model nor a repository"),
        (Asked(("a/b@x?y",)), ConfigError, "neither a model nor a repository"),
        (Asked(("Qwen/Qwen3.5-9B",), quants=("Q4_K_M",)), ConfigError, "no such --quant"),
        (Asked(everything=True, quants=("Q9_X",)), ConfigError, "is what was asked for"),
    ],
)
def test_a_mistake_is_told(asked: Asked, kind: type[HoldfastError], what: str) -> None:
    with pytest.raises(kind, match=what) as caught:
        select(KNOWN, asked, always)
    assert caught.value.next_step


def test_a_size_that_two_models_have_is_asked_back(tmp_path: Path) -> None:
    overlay = tmp_path / "more.toml"
    overlay.write_text(
        '[[model]]\nid = "other-9b"\nlike = "qwen3.5-9b"\ntitle = "Other"\n', encoding="utf-8"
    )
    more = catalogue.load(settings.load({}, home=tmp_path, configs=[overlay]))
    with pytest.raises(ConfigError, match=r'"9B" can be qwen3.5-9b or other-9b'):
        select(more, Asked(("9B",)), always)
