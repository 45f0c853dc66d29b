"""The built-in models.toml against facts that were typed in here a second time."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pytest

import server
from server.catalogue import BENCHMARKS, Build, Catalogue, Model, Serve, load
from server.catalogue.capability import capability
from server.catalogue.cloud import Rate
from server.catalogue.router import Alias, Router
from server.chat.usage import Usage
from server.ledger.cost import cost
from server.settings import Settings
from server.units import USD

SIZES = ("0.8b", "2b", "4b", "9b", "27b", "35b-a3b", "122b-a10b", "397b-a17b")

CHECKPOINTS = {
    "0.8b": ("2fc06364715b967f1860aea9cf38778875588b17", 1, 1_746_942_600, None),
    "2b": ("15852e8c16360a2fea060d615a32b45270f8a8fc", 1, 4_548_221_488, None),
    "4b": ("851bf6e806efd8d0a36b00ddf55e13ccb7b8cd0a", 2, 9_319_828_096, None),
    "9b": ("c202236235762e1c871ad0ccb60c8ee5ba337b9a", 4, 19_306_310_880, None),
    "27b": ("fc05daec18b0a78c049392ed2e771dde82bdf654", 11, None, 55_562_872_800),
    "35b-a3b": (
        "59d61f3ce65a6d9863b86d2e96597125219dc754",
        14,
        71_903_878_016,
        71_903_655_008,
    ),
    "122b-a10b": ("dc4d348443bc740c68e2d77492492c11606384d5", 39, None, 250_173_007_840),
    "397b-a17b": ("8472618112abcbd45acbcdc58436aff4233c23f7", 94, None, 806_795_875_168),
}
"""Commit, shards, the files' bytes and those that the index counts, of each BF16 checkpoint."""

ALL_CHECKPOINTS = 1_219_356_936_888
"""The column's sum: of the files where their bytes are known, else of the tensors."""

SCORES = {
    "mmlu_pro": (42.3, 66.5, 79.1, 82.5, 86.1, 85.3, 86.7, 87.8),
    "mmlu_redux": (59.5, 79.6, 88.8, 91.1, 93.2, 93.3, 94.0, 94.9),
    "gpqa": (11.9, 51.6, 76.2, 81.7, 85.5, 84.2, 86.6, 88.4),
    "supergpqa": (21.3, 37.5, 52.9, 58.2, 65.6, 63.4, 67.1, 70.4),
    "ifeval": (44.0, 78.6, 89.8, 91.5, 95.0, 91.9, 93.4, 92.6),
    "aa_lcr": (4.7, 25.6, 57.0, 63.0, 66.1, 58.5, 66.9, 68.7),
    "bfcl_v4": (25.3, 43.6, 50.3, 66.1, 68.5, 67.3, 72.2, 72.9),
    "tau2": (11.6, 48.8, 79.9, 79.1, 79.0, 81.2, 79.5, 86.7),
    "mmmlu": (44.3, 63.1, 76.1, 81.2, 85.9, 85.2, 86.7, 88.5),
}

GGUF = {
    "0.8b:iq4_xs": (
        492_605_696,
        "619917ae92f61eb6515a7070e944a0a7c2b198a2cf6536386f475485188a36ff",
    ),
    "0.8b:q4_k_m": (532_517_120, None),
    "2b:iq4_xs": (
        1_172_996_352,
        "3639f34b5ca22aa1c51f3616566eae8c355111554f6924ad97ee2652ed11c1cd",
    ),
    "2b:ud-q4_k_xl": (
        1_339_752_704,
        "0af96165ea615bea39a04118d63f0b6d35908aea850ee4a51aa6151d851b8b35",
    ),
    "4b:iq4_xs": (
        2_477_053_088,
        "658a9e7e406deb06d0179755e3c14f6a82915a4be4962a2f92a64d948d2e572f",
    ),
    "4b:ud-q4_k_xl": (
        2_912_109_728,
        "b252c5610a42ca82d20fe2a12813e9d069eed89292907e26c783eeb0bc961bc7",
    ),
    "9b:iq4_xs": (
        5_168_653_536,
        "7e918aeca06c52bcb528ea6b04b4ec957e75ee8c0a73138854c0dfcf371ea429",
    ),
    "9b:q4_k_m": (
        5_680_522_464,
        "03b74727a860a56338e042c4420bb3f04b2fec5734175f4cb9fa853daf52b7e8",
    ),
    "9b:ud-q4_k_xl": (
        5_966_095_584,
        "6f5d30666c2d8ae16a306e616d95341dcf3cc46810df84d7e6f5a7d1e4c1b293",
    ),
    "9b:q8_0": (9_527_502_048, "809626574d0cb43d4becfa56169980da2bb448f2299270f7be443cb89d0a6ae4"),
    "9b:q4_k_m-lmstudio": (
        5_627_044_256,
        "cd76ec205963b3b33350093e6904d9de16c4e666fd104e1f632d25c7f15f2a13",
    ),
    "27b:iq4_xs": (
        14_977_484_704,
        "fb829c84491b30cda875b7366e29ce3e4cede19b40daf5b824003936bfc4dbbb",
    ),
    "27b:bf16-gguf": (53_808_281_472, None),
    "35b-a3b:q4_k_m": (22_016_023_168, None),
    "35b-a3b:q4_k_m-lmstudio": (
        21_169_116_992,
        "f25d609171b8f80950a60f38696597f74025de4070682d2fb1eeffe306ca7d5d",
    ),
    "35b-a3b:bf16-gguf": (69_376_637_824, None),
    "122b-a10b:q8_0": (129_871_935_104, None),
    "122b-a10b:ud-q4_k_xl-mtp": (78_646_479_904, None),
    "397b-a17b:ud-iq1_m": (106_819_877_056, None),
}
"""Bytes of all files, and the sha256 of a single one."""

MMPROJ = {
    "0.8b": (204_987_232, "56e4c6cfe73b0c82e3e82bc518d7591997e61d81f723fc41a586f4fa69ea2453"),
    "2b": (668_227_264, "7035e9cb8d7c6a9681d07eef9a364783e86ea4cd73faab2eabb4f43a101830c7"),
    "4b": (672_423_616, "cd88edcf8d031894960bb0c9c5b9b7e1fea6ebee02b9f7ce925a00d12891f864"),
    "9b": (918_166_080, "f70dc3509053962b0d0d3ee8a7eacebf5d60aa560cad78254ae8698516ae029f"),
    "27b": (927_607_040, "458bc46d8f275866fde5d88c9c554d9d462a6e8e3a028090d9850e17ab6a1217"),
    "35b-a3b": (899_283_648, None),
    "122b-a10b": (912_263_904, "c4f22a6b5101ac85930029e0eec321bfaa4c0b16851f569759d3bac3fa31c744"),
    "397b-a17b": (None, None),
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return load(Settings(home=tmp_path_factory.mktemp("home"), configs=()))


def _model(catalogue: Catalogue, size: str) -> Model:
    return catalogue.models[f"qwen3.5-{size}"]


def _build(catalogue: Catalogue, size: str, build_id: str) -> Build:
    build = _model(catalogue, size).build(build_id)
    assert build is not None
    return build


def test_the_family_is_whole(catalogue: Catalogue) -> None:
    assert tuple(catalogue.models) == (*(f"qwen3.5-{size}" for size in SIZES), "demo")


@pytest.mark.parametrize("size", SIZES)
def test_what_every_size_has(catalogue: Catalogue, size: str) -> None:
    model = _model(catalogue, size)
    assert (model.context, model.licence) == (262_144, "apache-2.0")
    assert model.thinking_default is (size not in ("0.8b", "2b"))
    assert model.scores == {name: SCORES[name][SIZES.index(size)] for name in BENCHMARKS}
    assert model.released is not None
    assert datetime.date(2026, 2, 16) <= model.released <= datetime.date(2026, 3, 2)
    engines = {build.engine for build in model.builds}
    assert engines == {"vllm", "llama-server"}


@pytest.mark.parametrize("size", SIZES)
def test_checkpoints(catalogue: Catalogue, size: str) -> None:
    revision, shards, size_on_disk, tensor_bytes = CHECKPOINTS[size]
    build = _build(catalogue, size, "bf16")
    assert build.repository is not None
    assert build.repository.lower() == f"qwen/qwen3.5-{size}"
    assert (build.revision, len(build.files)) == (revision, shards)
    assert (build.bytes, build.tensor_bytes) == (size_on_disk, tensor_bytes)
    assert build.modelscope == build.repository
    assert {file.path for file in build.files} == {
        f"model.safetensors-{part:05}-of-{shards:05}.safetensors" for part in range(1, shards + 1)
    }
    assert build.complete is (size in ("0.8b", "2b", "4b", "9b"))


def test_one_copy_of_all_checkpoints(catalogue: Catalogue) -> None:
    sizes = [_build(catalogue, size, "bf16").weights_bytes for size in SIZES]
    assert sum(size for size in sizes if size) == ALL_CHECKPOINTS


@pytest.mark.parametrize("name", GGUF)
def test_gguf_files(catalogue: Catalogue, name: str) -> None:
    build = catalogue.resolve(f"qwen3.5-{name}")[1]
    assert build is not None
    size, sha256 = GGUF[name]
    assert build.bytes == size
    if sha256 is not None:
        assert [file.sha256 for file in build.files] == [sha256]


@pytest.mark.parametrize("size", SIZES)
def test_image_encoders(catalogue: Catalogue, size: str) -> None:
    build = next(
        build
        for build in _model(catalogue, size).builds
        if build.repository and build.repository.endswith("-GGUF") and build.mmproj
    )
    assert build.mmproj is not None
    assert (build.mmproj.bytes, build.mmproj.sha256) == MMPROJ[size]


def test_what_is_not_known_is_absent(catalogue: Catalogue) -> None:
    for model in catalogue.models.values():
        for build in model.builds:
            if build.quant in ("FP8", "GPTQ-Int4", "AWQ", "NVFP4"):
                assert build.bytes is None
    assert _build(catalogue, "122b-a10b", "fp8").revision is None
    assert _build(catalogue, "397b-a17b", "ud-q4_k_xl").bytes is None
    assert len(_build(catalogue, "397b-a17b", "ud-q4_k_xl").files) == 6


def test_the_licence_text_is_missing_at_27b_only(catalogue: Catalogue) -> None:
    held = {size: _build(catalogue, size, "bf16").licence_file for size in SIZES}
    assert [size for size in SIZES if held[size] is False] == ["27b"]
    assert [size for size in SIZES if held[size] is None] == ["122b-a10b", "397b-a17b"]


def test_the_serve_table_shows_the_defaults(catalogue: Catalogue) -> None:
    assert catalogue.serve == Serve()


def test_the_router_table_shows_the_defaults(catalogue: Catalogue) -> None:
    router = catalogue.router
    assert replace(router, aliases={}, tasks={}, routes=(), teams={}) == Router()
    assert (router.routes, router.teams) == ((), {})


def test_aliases_everybody_expects(catalogue: Catalogue) -> None:
    aliases = catalogue.router.aliases
    capable = ("anthropic/claude-sonnet-5-5", "openai/gpt-6.2-sol")
    assert aliases["auto"] == Alias("auto", (*capable, "*"))
    assert aliases["local"] == Alias("local", ("local",), "local-only")
    assert aliases["fast"].policy == "fastest"
    assert aliases["frontier"].policy == "most-capable"
    assert aliases["coding"].task == "coding"


def test_floors_leave_out_the_smallest_and_keep_the_middle(catalogue: Catalogue) -> None:
    """Every task can be done here by 4B and up, none but conversation and labels by 0.8B."""
    for task in catalogue.router.tasks.values():
        known = {size: capability(_model(catalogue, size).scores, task) for size in SIZES}
        scores = {size: score for size, score in known.items() if score is not None}
        assert scores == known, task.name
        assert all(scores[size] >= task.floor for size in SIZES[2:]), task.name
        easy = task.name in ("chat", "classification")
        assert (scores["0.8b"] >= task.floor) is easy, task.name


CLOUD_PRICES = {
    "openai/gpt-6.2-sol": (2.0, 10.0, 0.10, 2.50, ()),
    "openai/gpt-6-luna": (0.10, 0.50, 0.01, 0.125, ((272_000, 0.20, 0.75, 0.02, 0.25),)),
    "openai/gpt-5.2": (1.75, 14.0, 0.175, None, ()),
    "openai/text-embedding-3-small": (0.02, 0.0, None, None, ()),
    "openai/text-embedding-3-large": (0.13, 0.0, None, None, ()),
    "anthropic/claude-opus-5-5": (4.0, 20.0, 0.20, 5.0, ()),
    "anthropic/claude-sonnet-5-5": (2.0, 10.0, 0.10, 2.50, ()),
    "anthropic/claude-haiku-5-5": (
        0.10, 0.50, 0.01, 0.125, ((100_000, 0.50, 2.50, 0.05, 0.625),)
    ),
    "gemini/gemini-3.1-pro-preview": (2.0, 12.0, 0.20, None, ((200_000, 4.0, 18.0, 0.40, None),)),
    "gemini/gemini-3.5-flash": (1.50, 9.0, 0.15, None, ()),
    "gemini/gemini-3.5-flash-lite": (0.30, 2.50, 0.03, None, ()),
    "gemini/gemini-embedding-2": (0.20, 0.0, None, None, ()),
}  # fmt: skip
"""USD for a million tokens: input, output, cached input, cache write, and those beyond a prompt."""


def test_prices_of_clouds(catalogue: Catalogue) -> None:
    def usd(rate: Rate) -> tuple[float | None, ...]:
        amounts = (rate.input, rate.output, rate.cached_input, rate.cache_write)
        return tuple(None if amount is None else amount / USD for amount in amounts)

    assert {
        name: (
            *usd(model.price.rate),
            tuple((tier.above, *usd(tier.rate)) for tier in model.price.tiers),
        )
        for name, model in catalogue.clouds.items()
    } == CLOUD_PRICES


def test_what_is_cached_of_a_long_prompt_is_cheaper_as_well(catalogue: Catalogue) -> None:
    price = catalogue.clouds["gemini/gemini-3.1-pro-preview"].price
    assert cost(price, Usage(300_000, 0, cached_tokens=280_000)) == 192_000_000


def test_clouds_can_be_reached_with_a_key_and_over_tls_only(catalogue: Catalogue) -> None:
    assert {name: provider.kind for name, provider in catalogue.providers.items()} == {
        "openai": "openai-responses",
        "anthropic": "anthropic",
        "gemini": "gemini",
    }
    for provider in catalogue.providers.values():
        assert provider.url.startswith("https://")
        assert provider.key is not None
        assert provider.key.env == f"{provider.id.upper()}_API_KEY"
        assert not provider.zero_retention  # nothing is agreed until somebody says so
    for model in catalogue.clouds.values():
        assert bool(model.efforts) is not model.embeddings, "each that answers thinks"
        assert not model.retired(datetime.date(2026, 11, 21))


def test_sampling_of_the_cards(catalogue: Catalogue) -> None:
    def settings(size: str, mode: str) -> tuple[float, float, int, float]:
        sampling = _model(catalogue, size).sampling[mode]
        assert (sampling.min_p, sampling.repetition_penalty) == (0.0, 1.0)
        return sampling.temperature, sampling.top_p, sampling.top_k, sampling.presence_penalty

    for size in SIZES:
        assert settings(size, "thinking") == (1.0, 0.95, 20, 1.5)
        assert settings(size, "thinking_coding") == (0.6, 0.95, 20, 0.0)
    for size in ("0.8b", "2b"):
        assert settings(size, "non_thinking") == (1.0, 1.0, 20, 2.0)
        assert settings(size, "non_thinking_vision") == (0.7, 0.8, 20, 1.5)
        assert settings(size, "thinking_vision") == (0.6, 0.95, 20, 0.0)
    for size in SIZES[2:]:
        assert settings(size, "non_thinking") == (0.7, 0.8, 20, 1.5)
        assert settings(size, "non_thinking_reasoning") == (1.0, 0.95, 20, 1.5)


def test_small_files(catalogue: Catalogue) -> None:
    for size in SIZES:
        files = {file.path: file for file in _model(catalogue, size).small_files}
        tokenizer = files["tokenizer.json"]
        assert tokenizer.bytes == 12_807_982
        assert tokenizer.sha256 is not None
        assert tokenizer.sha256.startswith("5f9e4d4901a92b99")
        template = files.get("chat_template.jinja")
        expected = 7_755 if size in ("0.8b", "2b") else 7_756
        assert (template is None) is (size == "122b-a10b")
        assert template is None or template.bytes == expected


def test_no_revision_or_digest_is_used_for_two_things(catalogue: Catalogue) -> None:
    """A digest that stands twice was pasted wrongly; so was a commit in two repositories."""
    digests: dict[str, str] = {}
    commits: dict[str, str] = {}
    for model in catalogue.models.values():
        for build in model.builds:
            if build.revision is not None:
                assert (
                    commits.setdefault(build.revision, build.repository or "") == build.repository
                )
            for file in build.files:
                if file.sha256 is not None:
                    place = f"{build.repository}/{file.path}"
                    assert digests.setdefault(file.sha256, place) == place


def test_the_demo_is_what_its_checkpoint_says(catalogue: Catalogue) -> None:
    demo = catalogue.models["demo"]
    folder = Path(server.__file__).parent / "demo"
    config = json.loads((folder / "safetensors" / "config.json").read_text())
    a = demo.architecture
    assert config["model_type"] == "qwen3_5_text"
    assert {
        "num_hidden_layers": a.layers,
        "hidden_size": a.hidden,
        "intermediate_size": a.ffn,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim,
        "linear_num_key_heads": a.linear_key_heads,
        "linear_key_head_dim": a.linear_key_head_dim,
        "linear_num_value_heads": a.linear_value_heads,
        "linear_value_head_dim": a.linear_value_head_dim,
        "linear_conv_kernel_dim": a.conv_kernel,
        "vocab_size": a.vocab,
        "tie_word_embeddings": a.tied,
        "max_position_embeddings": demo.context,
    }.items() <= config.items()
    kinds = ["linear_attention"] * (a.full_attention_interval - 1) + ["full_attention"]
    assert config["layer_types"] == kinds * a.full_layers
    assert all(sampling.temperature == 0 for sampling in demo.sampling.values())
    for build in demo.builds:
        assert build.path is not None
        assert build.path.exists()
