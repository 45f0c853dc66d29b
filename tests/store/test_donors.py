"""Who is asked for a lost file, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server import catalogue, settings
from server.store.donors import places, upstream
from server.store.hub import Hub
from server.store.modelscope import ModelScope
from server.store.verify import Claim, inspect
from tests.store.volumes import make_volume


def _load(tmp_path: Path, text: str, **environment: str) -> tuple[settings.Settings, Path]:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(text)
    loaded = settings.load(
        {"HOME": os.fspath(tmp_path), **environment}, home=tmp_path / "home", configs=[overlay]
    )
    return loaded, overlay


def test_the_folder_itself_then_the_store_then_the_copies_each_once(tmp_path: Path) -> None:
    copies = ("/mnt/a", "/mnt/a", os.fspath(tmp_path / "copy"))
    loaded, _ = _load(tmp_path, "")
    loaded.models.mkdir(parents=True)
    of_the_store = [name for name, _ in places(loaded, copies, loaded.models)]
    assert of_the_store == ["the same folder", "the copy /mnt/a", f"the copy {tmp_path}/copy"]
    of_a_copy = [name for name, _ in places(loaded, copies, tmp_path / "copy")]
    assert of_a_copy == ["the same folder", "the store", "the copy /mnt/a"]


def test_a_place_out_of_reach_says_so_and_offers_nothing(tmp_path: Path) -> None:
    loaded, _ = _load(tmp_path, "")
    volume = make_volume(tmp_path / "copy", {"a.gguf": b"a"})
    (reading,) = inspect([volume]).readings
    (claim,) = reading.claims
    asked = places(loaded, ["/not/mounted"], tmp_path / "copy")
    assert list(asked.offers(claim, {claim.key})) == []
    assert list(asked.silent) == ["the copy /not/mounted"]
    assert "cannot be reached" in asked.silent["the copy /not/mounted"]


def test_what_is_known_to_be_bad_is_offered_by_the_others_only(tmp_path: Path) -> None:
    loaded, _ = _load(tmp_path, "")
    for root in ("here", "there"):
        volume = make_volume(tmp_path / root, {"a.gguf": b"a", "b.gguf": b"a"})
    claims = [one for reading in inspect([volume]).readings for one in reading.claims]
    claim: Claim = min(claims, key=lambda one: one.key)
    asked = places(loaded, [os.fspath(tmp_path / "there")], tmp_path / "here")
    folder = claim.key.rpartition("/")[0]
    assert [offer.giver for offer in asked.offers(claim, {claim.key})] == [
        f"the same folder ({folder}/b.gguf)",
        f"the copy {tmp_path}/there",
        f"the copy {tmp_path}/there ({folder}/b.gguf)",
    ]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {}, ["https://modelscope.cn", "https://huggingface.co"]),
        ('[store]\nsources = ["huggingface"]', {}, ["https://huggingface.co"]),
        ('[store]\nhub = "http://box:8000/hf"', {}, [
            "https://modelscope.cn", "http://box:8000/hf"
        ]),
        ("", {"HF_ENDPOINT": "http://mine", "MODELSCOPE_ENDPOINT": "http://other"}, [
            "http://other", "http://mine"
        ]),
        ("", {"HF_HUB_OFFLINE": "1"}, None),
    ],
)  # fmt: skip
def test_the_hubs(
    text: str, environment: dict[str, str], expected: list[str] | None, tmp_path: Path
) -> None:
    loaded, _ = _load(tmp_path, text, **environment)
    asked = upstream(loaded, catalogue.load(loaded))
    found = None if asked is None else [one.endpoint for one in asked.sources]
    assert found == expected
    if asked is not None:
        assert all(isinstance(one, (Hub, ModelScope)) for one in asked.sources)


def test_the_token_goes_to_the_hub_alone(tmp_path: Path) -> None:
    loaded, _ = _load(tmp_path, "", HF_TOKEN="hf_secret")
    asked = upstream(loaded, catalogue.load(loaded))
    assert asked is not None
    scope, hub = asked.sources
    assert isinstance(hub, Hub)
    assert isinstance(scope, ModelScope)
    assert hub.token == "hf_secret"
    assert scope.url("a/b", "c").headers == {}
    assert "hf_secret" not in repr(asked.sources)
