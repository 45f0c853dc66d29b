"""What `holdfast serve` runs, over stores and machines that are made up; the plans are real."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from server import catalogue, settings
from server.catalogue import Build, Serve, ServedModel
from server.engines.binary import Binary
from server.engines.inventory import Inventory
from server.engines.launching import Programs
from server.engines.served import Served, replanning, served
from server.errors import DoesNotFit, EngineMissing, HoldfastError, ModelNotFound, StoreError
from server.hardware.imagined import imagined
from server.planning.rig import rig
from server.planning.weights import from_catalogue
from server.store.layout import Installed, Missing

KNOWN = catalogue.load(
    settings.load(os.environ, home=Path("/nonexistent"), system_config=Path("/nonexistent/x"))
)
LLAMA_SERVER = Programs(Binary(Path("/bin/llama-server"), "1", "PATH"))
SMALL, MIDDLE, LARGE = "qwen3.5-0.8b:q4_k_m", "qwen3.5-4b:q4_k_m", "qwen3.5-9b:q4_k_m"
HUGE = "qwen3.5-27b:q4_k_m"


def store(held: Collection[str], hardware: str, programs: Programs = LLAMA_SERVER) -> Inventory:
    """A machine whose store holds these builds, and the demo."""

    def looked(build: Build) -> Installed | Missing:
        if build.name not in held and build.model != "demo":
            return Missing(build, Path("/models"), ("it does not exist",))
        size = build.bytes or 7_000_000
        file = Path("/models") / f"{build.id}.gguf"
        return Installed(build, (file,), file, None, size, 0)

    builds = {b.name: looked(b) for model in KNOWN.models.values() for b in model.builds}
    weights = {b.name: from_catalogue(KNOWN.models["demo"], b) for b in KNOWN.models["demo"].builds}
    absent = {} if programs.llama_server else {"llama-server": EngineMissing("no llama-server")}
    return Inventory(
        rig(imagined(hardware)),
        programs,
        True,
        builds,
        weights,
        absent=absent,  # type: ignore[arg-type]
    )


def choose(
    held: Collection[str], hardware: str, serve: Serve | None = None, *, demo: bool = False
) -> Served:
    return served(replace(KNOWN, serve=serve or Serve()), store(held, hardware), demo=demo)


def residents(chosen: Served) -> set[str]:
    return {berth.name for berth in chosen.berths if berth.residency == "resident"}


@pytest.mark.parametrize(
    ("held", "hardware", "names", "reason"),
    [
        ([], "cpu+64G", {"demo:f16"}, "holds no weights"),
        ([SMALL], "cpu+64G", {SMALL}, "the best of what the store holds"),
        ([SMALL, LARGE], "1x4090+64G", {SMALL, LARGE}, "the best of what"),
        ([LARGE], "cpu+2G", {"demo:f16"}, f"none of the builds in the store fits: {LARGE}"),
        # Too slow to read along with, and still what somebody pulled.
        ([HUGE], "cpu+64G", {HUGE}, "the best of what"),
        (["qwen3.5-9b:bf16"], "cpu+64G", {"demo:f16"}, "none of the builds"),  # it needs vLLM
    ],
)
def test_without_a_wish_the_best_of_what_is_held_is_served(
    held: list[str], hardware: str, names: set[str], reason: str
) -> None:
    chosen = choose(held, hardware)
    assert residents(chosen) == names
    assert reason in chosen.reason
    assert (chosen.plan is None) == (names == {"demo:f16"})


def test_the_demo_is_served_when_asked_for_whatever_is_there() -> None:
    by_flag = choose([LARGE], "1x4090+64G", demo=True)
    by_name = choose([LARGE], "1x4090+64G", Serve(models=("demo",)))
    for chosen in (by_flag, by_name):
        (berth,) = chosen.berths
        assert berth.name == "demo:f16"
        assert berth.deployment.gpus == ("GPU-0",)
        assert (berth.deployment.context, berth.deployment.slots) == (4096, 4)
    tiny = choose([], "cpu+512M", demo=True)  # it is not asked whether it fits
    assert tiny.capacity["ram"] >= sum(tiny.berths[0].needs.values())
    sized = choose([], "cpu+64G", Serve(context=512, slots=2), demo=True)
    assert (sized.berths[0].deployment.context, sized.berths[0].deployment.slots) == (512, 2)


def test_tables_say_what_makes_embeddings() -> None:
    tables = (ServedModel("qwen3.5-9b", embeddings=True), ServedModel("qwen3.5-4b"))
    chosen = choose([SMALL, MIDDLE, LARGE], "1x4090+64G", Serve(model=tables))
    assert {b.name: b.deployment.embeddings for b in chosen.berths} == {LARGE: True, MIDDLE: False}
    demo = choose([], "cpu+64G", Serve(model=(ServedModel("demo", embeddings=True),)), demo=True)
    assert demo.berths[0].deployment.embeddings


def test_what_is_asked_for_is_served_with_the_context_and_slots_of_the_configuration() -> None:
    serve = Serve(models=(LARGE, "qwen3.5-0.8b"), context=8192, slots=2, preload=(LARGE,))
    chosen = choose([SMALL, MIDDLE, LARGE], "1x4090+64G", serve)
    assert {berth.name for berth in chosen.berths} == {LARGE, SMALL}
    assert {(b.deployment.context, b.deployment.slots) for b in chosen.berths} == {(8192, 2)}
    assert {berth.name for berth in chosen.berths if berth.preload} == {LARGE}
    assert chosen.reason == "asked for by name"


def test_tables_say_what_stays() -> None:
    tables = (ServedModel("qwen3.5-9b", pin=True), ServedModel("qwen3.5-4b", ttl=60.0))
    chosen = choose([SMALL, MIDDLE, LARGE], "1x4090+64G", Serve(model=tables))
    kept = {berth.name: (berth.pin, berth.ttl) for berth in chosen.berths}
    assert kept == {LARGE: (True, None), MIDDLE: (False, 60.0)}


@pytest.mark.parametrize(
    ("models", "hardware", "kind", "told"),
    [
        (("qwen9",), "cpu+64G", ModelNotFound, "qwen9"),
        ((MIDDLE,), "cpu+64G", StoreError, f"the weights of {MIDDLE} are not in the store"),
        (("qwen3.5-4b",), "cpu+64G", StoreError, "`holdfast pull qwen3.5-4b` fetches one"),
        ((LARGE,), "cpu+4G", DoesNotFit, "GiB"),
        (("qwen3.5-9b:bf16",), "cpu+64G", EngineMissing, "cannot be served by this machine"),
    ],
)
def test_what_cannot_be_served_is_an_error_that_says_why(
    models: tuple[str, ...], hardware: str, kind: type[HoldfastError], told: str
) -> None:
    with pytest.raises(kind, match=told) as raised:
        choose([LARGE, "qwen3.5-9b:bf16"], hardware, Serve(models=models))
    assert raised.value.next_step


def test_without_a_program_the_reason_is_told() -> None:
    found = store([SMALL], "cpu+64G", Programs())
    for demo in (True, False):
        with pytest.raises(EngineMissing, match="no llama-server"):
            served(replace(KNOWN, serve=Serve()), found, demo=demo)


def test_when_a_gpu_is_lost_what_runs_elsewhere_stays() -> None:
    known = replace(KNOWN, serve=Serve(models=(LARGE, SMALL), context=8192, slots=2))
    found = store([LARGE, SMALL], "2x4090+64G")
    before = {berth.name: berth.deployment for berth in served(known, found).berths}
    lost = {gpu for d in before.values() for gpu in d.gpus[:1]} - set(before[SMALL].gpus)
    left = replace(found.rig, gpus=tuple(gpu for gpu in found.rig.gpus if gpu.id not in lost))
    after = {b.name: b for b in replanning(known, found)(left, tuple(before.values()))}
    assert after.keys() == before.keys()
    assert not lost & {gpu for berth in after.values() for gpu in berth.deployment.gpus}
    assert after[SMALL].deployment == before[SMALL]
