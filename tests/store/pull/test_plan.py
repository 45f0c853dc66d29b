"""What would be done, file by file."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from server.catalogue import File
from server.errors import StoreError
from server.store.listing import Listing, Remote
from server.store.pull.order import Order
from server.store.pull.plan import Plan, plan, plan_unasked, require_disk
from server.store.receipt import Held, Receipt
from server.units import GIB

COMMIT = "c" * 40
FOLDER = Path("/store/org/model") / COMMIT
A, B = "aa" * 32, "bb" * 32
WEIGHTS = Remote("w.gguf", 100, A, "1" * 40)
CONFIG = Remote("config.json", 7, None, "2" * 40)
NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


def receipt(*files: Held) -> Receipt:
    return Receipt("org/model", COMMIT, "http://hub", NOW, files, None)


def planned(*files: Remote, order: Order | None = None, **more: Any) -> Plan:
    given = {"receipt": None, "elsewhere": {}, "present": {}} | more
    listing = Listing("org/model", COMMIT, files, "mit")
    return plan(
        order or Order("org/model"),
        listing,
        FOLDER,
        given["receipt"],
        given["elsewhere"],
        source="http://hub",
        present=given["present"],
    )


def actions(made: Plan) -> dict[str, str]:
    return {item.path: item.action for item in made.items}


def test_what_is_not_there_is_fetched() -> None:
    made = planned(CONFIG, WEIGHTS)
    assert actions(made) == {"config.json": "fetch", "w.gguf": "fetch"}
    assert (made.bytes, made.bytes_to_fetch, made.revision) == (107, 107, COMMIT)
    assert (made.licence, made.unknown, made.refused) == ("mit", (), ())


HELD = Held("w.gguf", 100, A, "1" * 40, lfs=True)
HELD_CONFIG = Held("config.json", 7, B, "2" * 40)


@pytest.mark.parametrize(
    ("held", "present", "action"),
    [
        (HELD, {"w.gguf": 100}, "keep"),
        (HELD, {"w.gguf": 99}, "fetch"),  # truncated since
        (HELD, {}, "fetch"),  # removed since
        (None, {"w.gguf": 100}, "link"),  # put there by hand: checked, then taken
        (None, {"w.gguf": 99}, "fetch"),
    ],
)
def test_what_is_held_is_kept_if_it_is_the_same(
    held: Held | None, present: dict[str, int], action: str
) -> None:
    made = planned(WEIGHTS, receipt=receipt(*[held] if held else []), present=present)
    assert actions(made) == {"w.gguf": action}
    assert made.bytes_to_fetch == (100 if action == "fetch" else 0)


def test_small_files_are_compared_by_their_git_id() -> None:
    here = {"config.json": 7, "w.gguf": 100}
    made = planned(CONFIG, WEIGHTS, receipt=receipt(HELD, HELD_CONFIG), present=here)
    assert actions(made) == {"config.json": "keep", "w.gguf": "keep"}


@pytest.mark.parametrize(
    "told",
    [
        Remote("w.gguf", 100, B, "1" * 40),
        Remote("w.gguf", 101, A, "1" * 40),
        Remote("config.json", 7, None, "3" * 40),
    ],
)
def test_other_bytes_than_those_held_of_the_revision_are_refused(told: Remote) -> None:
    here = {"config.json": 7, "w.gguf": 100}
    with pytest.raises(StoreError, match="changed upstream under the same revision") as caught:
        planned(told, receipt=receipt(HELD, HELD_CONFIG), present=here)
    assert f"{told.path} is not what is held" in caught.value.why


def test_the_same_content_elsewhere_is_linked() -> None:
    made = planned(WEIGHTS, elsewhere={A: Path("/store/other/w.gguf")})
    assert made.items[0].source == Path("/store/other/w.gguf")
    assert actions(made) == {"w.gguf": "link"}


def test_only_what_is_wanted_is_planned() -> None:
    order = Order("org/model", weights=("w.gguf",))
    other = Remote("other.gguf", 5, B, None)
    assert actions(planned(CONFIG, other, WEIGHTS, order=order)).keys() == {"config.json", "w.gguf"}


def test_what_can_run_code_is_refused_and_named() -> None:
    bad = Remote("pytorch_model.bin", 5, B, None)
    code = Remote("modeling.py", 5, None, "4" * 40)
    hidden = Remote(".gitattributes", 5, None, "5" * 40)
    made = planned(hidden, code, bad, WEIGHTS)
    assert actions(made) == {"w.gguf": "fetch"}
    assert [one.path for one in made.refused] == ["modeling.py", "pytorch_model.bin"]
    assert "pickle" in made.refused[1].why


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (File("w.gguf", 99), "has 100 bytes there, and 99 here"),
        (File("w.gguf", 100, B), f"is {A} there, and {B} here"),
        (File("x.gguf", 100), "x.gguf is not there"),
    ],
)
def test_the_catalogue_beats_the_hub(file: File, what: str) -> None:
    order = Order("org/model", COMMIT, known=(file,))
    with pytest.raises(StoreError, match="changed upstream under the same revision") as caught:
        planned(WEIGHTS, order=order)
    assert what in caught.value.why
    unpinned = Order("org/model", known=(file,))
    with pytest.raises(StoreError, match="replaced upstream") as caught:
        planned(WEIGHTS, order=unpinned)
    assert f"org/model@{COMMIT}" in caught.value.next_step


def test_a_digest_that_only_the_catalogue_knows_is_used() -> None:
    order = Order("org/model", COMMIT, known=(File("config.json", 7, B), File("merges.txt", 9)))
    made = planned(CONFIG, WEIGHTS, order=order)
    assert {item.path: item.sha256 for item in made.items} == {"config.json": B, "w.gguf": A}


@pytest.mark.parametrize(
    "paths",
    [("Config.json", "config.json"), ("e\u0301.json", "\u00e9.json"), ("a", "a/b")],
)
def test_names_that_collide_are_refused(paths: tuple[str, str]) -> None:
    files = [Remote(path, 5, None, "6" * 40) for path in paths]
    with pytest.raises(StoreError, match="cannot lie in one folder"):
        planned(*files, WEIGHTS)


def test_a_name_that_collides_with_what_is_held_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot lie in one folder"):
        planned(Remote("CONFIG.json", 7, None, "2" * 40), WEIGHTS, receipt=receipt(HELD_CONFIG))


def test_a_repository_without_weights_is_refused() -> None:
    pickle = Remote("pytorch_model.bin", 5, B, None)
    with pytest.raises(StoreError, match="no weights of the kind") as caught:
        planned(CONFIG, pickle)
    assert "1 are refused" in caught.value.why


def test_without_the_hub_the_catalogue_tells_what_it_knows() -> None:
    known = (File("w-1.gguf", None, A), File("w-2.gguf", None), File("config.json", 7))
    order = Order("org/model", COMMIT, known=known, weights_bytes=1000)
    made = plan_unasked(order, COMMIT, FOLDER, None, "offline")
    assert (made.bytes, made.bytes_to_fetch) == (1007, 1007)
    assert made.unknown == ("file sizes", "sha256")
    held = receipt(Held("w-1.gguf", 600, A), HELD_CONFIG)
    made = plan_unasked(order, COMMIT, FOLDER, held, "offline")
    assert (made.bytes, made.bytes_to_fetch) == (1007, 400)
    nothing = plan_unasked(Order("org/other"), None, None, None, "offline")
    assert nothing.unknown == ("revision", "files")


@pytest.mark.parametrize(
    ("needed", "free", "enough"),
    [
        (5 * GIB, 15 * GIB, True),
        (5 * GIB + 1, 15 * GIB, False),
        (0, 0, True),  # nothing to fetch: a full disk is no obstacle
        (1, 5 * GIB, False),
    ],
)
def test_the_reserve_stays_free(needed: int, free: int, enough: bool) -> None:
    if enough:
        require_disk(needed, free, 10 * GIB, FOLDER)
        return
    with pytest.raises(StoreError, match="too little free space") as caught:
        require_disk(needed, free, 10 * GIB, FOLDER)
    assert "10.0 GiB stay free" in caught.value.why
