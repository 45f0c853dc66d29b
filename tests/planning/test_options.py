from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from server.catalogue import Build, EngineName, Serve
from server.errors import ConfigError
from server.hardware.imagined import imagined
from server.planning.demand import Demand, demand
from server.planning.deployment import Deployment
from server.planning.options import options
from server.planning.plan import Option, Rejection
from server.planning.rig import Rig, rig
from server.store.layout import Installed, Missing
from server.units import GIB
from tests.planning.machines import KNOWN

BOTH: tuple[EngineName, ...] = ("llama-server", "vllm")
LLAMA: tuple[EngineName, ...] = ("llama-server",)
SMALL = rig(imagined("3060-12G+32G"))


def weighed(
    *models: str,
    at: Rig = SMALL,
    held: Collection[str] = (),
    held_only: bool = False,
    engines: Collection[EngineName] = BOTH,
    cuda: bool = True,
    running: tuple[Deployment, ...] = (),
    wanted: Demand | None = None,
) -> tuple[tuple[Option, ...], dict[str, Rejection]]:
    """The options where the builds named in `held` are on disk, and the rejections by name."""
    known = replace(KNOWN, serve=Serve(models=models))

    def look(build: Build) -> Installed | Missing:
        if build.name not in held:
            return Missing(build, None, ("it does not exist",))
        file = Path("/models") / f"{build.id}.gguf"
        return Installed(build, (file,), file, None, build.bytes or GIB, 0)

    found, rejections = options(
        known, wanted or demand(known), at, look,
        held_only=held_only, engines=engines, cuda=cuda, running=running,
    )  # fmt: skip
    return found, {rejection.name: rejection for rejection in rejections}


def test_for_serving_only_what_is_held_counts_and_the_rest_says_how_to_get_it() -> None:
    held = {"qwen3.5-4b:q4_k_m"}
    found, rejected = weighed("qwen3.5-4b", held=held, held_only=True)
    assert {o.deployment.build for o in found} == held
    assert all(o.held for o in found)
    reason = rejected["qwen3.5-4b:q8_0"].reason
    assert reason == (
        "it is not in the store: `holdfast pull qwen3.5-4b:q8_0` fetches it (4.2 GiB)"
    )


def test_what_an_absent_engine_runs_says_what_installs_it() -> None:
    found, rejected = weighed("qwen3.5-9b", engines=LLAMA)
    assert {o.deployment.engine for o in found} == {"llama-server"}
    rejection = rejected["qwen3.5-9b:bf16"]
    reason = rejection.reason
    assert (rejection.kind, rejection.engine) == ("not installed", "vllm")
    assert reason == "vllm is not installed: `scripts/setup --vllm` installs it"


def test_without_cuda_nothing_of_llama_server_is_on_a_gpu() -> None:
    found, _ = weighed("qwen3.5-4b", engines=LLAMA, cuda=False)
    assert {o.deployment.gpus for o in found} == {()}


def test_what_does_not_fit_says_how_much_is_missing_and_where() -> None:
    at = rig(imagined("cpu+8G"))
    found, rejected = weighed("qwen3.5-9b:q8_0", at=at)
    assert found == ()
    rejection = rejected["qwen3.5-9b:q8_0"]
    assert rejection.reason.startswith("too large: with 1 x 4096 tokens of context it needs 1")
    assert "more than are free" in rejection.reason
    assert rejection.kind == "large"
    missing = rejection.short["ram"]
    more = replace(at, ram=replace(at.ram, free=at.ram.free + missing))
    assert weighed("qwen3.5-9b:q8_0", at=more)[0]


def test_what_is_too_slow_says_how_fast_it_would_be() -> None:
    known = replace(KNOWN, serve=Serve(models=("qwen3.5-27b:q4_k_m",)))
    fast = replace(demand(known).wishes[0], speed=40.0)
    found, rejected = weighed(at=rig(imagined("cpu+64G")), wanted=Demand((fast,), auto=False))
    assert found == ()
    reason = rejected["qwen3.5-27b:q4_k_m"].reason
    assert rejected["qwen3.5-27b:q4_k_m"].kind == "slow"
    assert reason.startswith("too slow: ")
    assert "on the CPU, and 40 are asked for" in reason


def test_under_auto_two_bits_of_a_large_model_are_beaten_by_a_smaller_one() -> None:
    found, rejected = weighed(at=rig(imagined("1x4090+128G")))
    assert "qwen3.5-397b-a17b:ud-iq1_m" not in {o.deployment.build for o in found}
    assert "is as capable (" in rejected["qwen3.5-397b-a17b:ud-iq1_m"].reason
    named, _ = weighed("qwen3.5-397b-a17b:ud-iq1_m", at=rig(imagined("1x4090+128G")))
    assert named


def test_a_build_that_another_beats_in_bytes_and_quality_is_not_weighed() -> None:
    _, rejected = weighed("qwen3.5-9b")
    assert rejected["qwen3.5-9b:q4_1"].reason.startswith("qwen3.5-9b:")
    assert "keeps as much of the model" in rejected["qwen3.5-9b:q4_1"].reason


def test_a_size_that_nobody_told_is_estimated_and_marked() -> None:
    found, _ = weighed("qwen3.5-397b-a17b:fp8", at=rig(imagined("8xH100-80G+2T")))
    assert found
    assert all(o.estimated for o in found)
    assert 390 * GIB > found[0].weights_bytes > 360 * GIB  # 403e9 parameters at 8 bits
    known, _ = weighed("qwen3.5-4b:q4_k_m")
    assert not any(o.estimated for o in known)


def test_what_runs_stays_an_option_even_if_nobody_would_choose_it_now() -> None:
    odd = Deployment("qwen3.5-4b", "qwen3.5-4b:q4_k_m", "llama-server", (), 5120, 3)
    found, _ = weighed("qwen3.5-4b", running=(odd,))
    assert odd in {o.deployment for o in found}
    gone = replace(odd, gpus=("GPU-that-is-gone",))
    found, _ = weighed("qwen3.5-4b", running=(gone,))
    assert gone not in {o.deployment for o in found}


@pytest.mark.parametrize("free", [0.5, 0.75])
def test_more_memory_only_adds_options(free: float) -> None:
    gpus = tuple(replace(gpu, free=int(gpu.free * free)) for gpu in SMALL.gpus)
    ram = replace(SMALL.ram, free=int(SMALL.ram.free * free))
    fewer, _ = weighed("qwen3.5-4b", at=replace(SMALL, gpus=gpus, ram=ram))
    more, _ = weighed("qwen3.5-4b")
    assert fewer
    assert {o.deployment for o in fewer} < {o.deployment for o in more}


def test_every_option_fits_alone_and_is_as_wished() -> None:
    found, _ = weighed(at=rig(imagined("2x4090+64G")))
    for o in found:
        assert o.speed.decode > 0
        assert o.load_seconds > 0
        assert o.deployment.context >= 4096
        assert (o.asleep is not None) == (o.deployment.engine == "vllm")


def long_demand(model: str = "qwen3.5-27b:q4_k_m", *, auto: bool) -> Demand:
    (one,) = demand(replace(KNOWN, serve=Serve(models=(model,)))).wishes
    return Demand((replace(one, context=131_072),), auto=auto)


def test_what_must_be_served_may_have_its_cache_in_fewer_bits_at_the_least_size_only() -> None:
    at = rig(imagined("1x4090+64G"))
    found, _ = weighed(at=at, wanted=long_demand(auto=False))
    quantized = [o for o in found if o.deployment.quantized_cache]
    assert quantized
    assert {o.deployment.kv_type for o in quantized} == {"q8_0"}
    assert {(o.deployment.context, o.deployment.slots) for o in quantized} == {(131_072, 1)}
    whole = weighed(at=rig(imagined("5090+64G")), wanted=long_demand(auto=False))[0]
    kept = next(o.retention for o in whole if not o.deployment.quantized_cache)
    assert all(0.999 * kept < o.retention < kept for o in quantized)


def test_where_nothing_must_be_served_no_cache_is_in_fewer_bits() -> None:
    found, _ = weighed(at=rig(imagined("1x4090+64G")), wanted=long_demand(auto=True))
    assert not any(o.deployment.quantized_cache for o in found)


def test_vllm_keeps_fp8_where_the_gpu_computes_with_it() -> None:
    def types(hardware: str) -> set[str]:
        long = long_demand("qwen3.5-9b:bf16", auto=False)
        found, _ = weighed(at=rig(imagined(hardware)), wanted=long)
        return {o.deployment.kv_type for o in found}

    assert types("L40S+64G") == {"f16", "fp8"}
    assert types("A100-80G+256G") == {"f16"}


def test_drafts_are_options_where_the_build_can_and_they_help() -> None:
    def drafted(name: str, hardware: str) -> set[int]:
        found, _ = weighed(name, at=rig(imagined(hardware)))
        return {o.deployment.draft_tokens for o in found}

    assert drafted("qwen3.5-9b:bf16", "1x4090+64G") == {0, 2}
    assert drafted("qwen3.5-9b:bf16", "cpu+64G") == {0}
    assert drafted("qwen3.5-9b:q8_0", "1x4090+64G") == {0}  # the file has no such block
    assert drafted("qwen3.5-122b-a10b:ud-q4_k_xl-mtp", "2x4090+256G") >= {0}


def test_what_makes_embeddings_drafts_nothing_and_takes_more() -> None:
    known = replace(KNOWN, serve=Serve(models=("qwen3.5-122b-a10b:ud-q4_k_xl-mtp",)))
    plain = demand(known).wishes[0]
    embeds = replace(plain, embeddings=True)
    at = rig(imagined("2x4090+256G"))
    without, _ = weighed(wanted=Demand((plain,), auto=False), at=at)
    found, _ = weighed(wanted=Demand((embeds,), auto=False), at=at)
    assert found
    assert all(o.deployment.embeddings and not o.deployment.draft_tokens for o in found)
    of = {o.deployment: o for o in without}
    pairs = [(o, of.get(replace(o.deployment, embeddings=False))) for o in found]
    more = [o.footprint.total - plain.footprint.total for o, plain in pairs if plain is not None]
    logits = 512 * 248_320 * 4
    assert min(more) >= 0
    assert max(more) > 0.8 * logits


def test_drafting_makes_one_answer_faster_and_takes_memory() -> None:
    found, _ = weighed("qwen3.5-9b:bf16", at=rig(imagined("1x4090+64G")))
    by_size: dict[tuple[int, int, bool], dict[int, Option]] = {}
    for o in found:
        d = o.deployment
        by_size.setdefault((d.context, d.slots, d.vision), {})[d.draft_tokens] = o
    pairs = [each for each in by_size.values() if {0, 2} <= set(each)]
    assert pairs
    for each in pairs:
        assert each[2].speed.decode > 1.1 * each[0].speed.decode
        assert each[2].footprint.total > each[0].footprint.total


def test_contradictions_are_found_before_anything_is_weighed() -> None:
    known = replace(KNOWN, serve=Serve(models=("qwen3.5-9b",)))
    wide = replace(demand(known).wishes[0], context=1_000_000)
    with pytest.raises(ConfigError, match="contradicts itself"):
        weighed(wanted=Demand((wide,), auto=False))
