"""What is seen of the hub: every combination of answers, then a hub that really runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from server.cli.store.watch import exit_code
from server.errors import HubError, NotOnHub
from server.store.hub import Hub, Listing, Remote
from server.store.receipt import Receipt
from server.store.watch import Sighting, State, sighted, watch
from tests.fakes.hub_running import running_hub
from tests.store.volumes import REVISION, held_of, make_volume

NEWER = "cd" * 20
FILES = {"model.gguf": b"weights", "config.json": b"{}", "LICENSE": b"added by Holdfast"}
HELD = tuple(held_of(path, data) for path, data in sorted(FILES.items()))


def _receipt(tmp_path: Path) -> Receipt:
    receipt = make_volume(tmp_path, FILES).receipt
    assert receipt is not None
    return receipt


def _listing(revision: str = REVISION, **changed: bytes | None) -> Listing:
    files = {path: data for path, data in FILES.items() if path != "LICENSE"}
    names = {"weights": "model.gguf", "config": "config.json", "readme": "README.md"}
    for name, data in changed.items():
        files.pop(names[name], None)
        if data is not None:
            files[names[name]] = data
    held = (held_of(path, data) for path, data in sorted(files.items()))
    remotes = tuple(
        Remote(one.path, one.bytes, one.sha256 if one.lfs else None, one.git_oid) for one in held
    )
    return Listing("acme/tiny", revision, remotes)


GONE = NotOnHub("it is not there")
DOWN = HubError("it is out of reach")


@pytest.mark.parametrize(
    ("main", "pinned", "holds_main", "state", "why"),
    [
        (_listing(), _listing(), True, "same", "it is what main is"),
        (_listing(readme=b"new"), _listing(readme=b"new"), True, "same", "it is what main is"),
        (_listing(NEWER), _listing(), True, "same", "which is held too"),
        (_listing(NEWER), _listing(), False, "moved", "the files that are held are the same"),
        (_listing(NEWER, config=b"[]"), _listing(), False, "moved", "the weights are the same"),
        (_listing(NEWER, weights=b"2"), _listing(), False, "moved", "model.gguf is another one"),
        (_listing(NEWER, weights=None), _listing(), False, "moved", "model.gguf is gone"),
        (_listing(), _listing(weights=b"other"), True, "changed", "model.gguf is another one"),
        (_listing(NEWER), _listing(config=b"[]"), False, "changed", "config.json is another one"),
        (_listing(), _listing(config=None), True, "changed", "config.json is gone"),
        (_listing(NEWER), GONE, False, "gone", "the revision no more"),
        (GONE, GONE, False, "gone", "the repository no more"),
        (DOWN, DOWN, False, "unreachable", "out of reach"),
        (_listing(NEWER), DOWN, False, "unreachable", "out of reach"),
        (DOWN, _listing(), False, "same", "still there"),
    ],
)
def test_what_the_answers_mean(
    main: Listing | HubError,
    pinned: Listing | HubError,
    holds_main: bool,
    state: State,
    why: str,
    tmp_path: Path,
) -> None:
    seen = sighted(_receipt(tmp_path), main, pinned, holds_main=holds_main)
    assert (seen.state, why in seen.why) == (state, True), seen.why
    assert seen.main == (main.revision if isinstance(main, Listing) else None)


def test_a_long_list_of_changes_is_cut(tmp_path: Path) -> None:
    files = {f"{number}.gguf": b"x" for number in range(12)}
    receipt = make_volume(tmp_path, files).receipt
    assert receipt is not None
    none = replace(_listing(), files=())
    assert sighted(receipt, none, none, holds_main=True).why.endswith("; and 7 more")


@pytest.mark.parametrize(
    ("states", "moved_ok", "code"),
    [
        ((), False, 0),
        (("same",), False, 0),
        (("same", "moved"), False, 7),
        (("same", "moved"), True, 0),
        (("changed", "moved"), True, 7),
        (("gone",), True, 7),
        (("unreachable", "same"), False, 6),
        (("unreachable", "gone"), False, 7),
        (("unreachable", "moved"), True, 6),
    ],
)
def test_exit_codes(states: tuple[State, ...], moved_ok: bool, code: int) -> None:
    sightings = [Sighting("acme/tiny", REVISION, state, "") for state in states]
    assert exit_code(sightings, moved_ok) == code


def test_a_hub_that_moves_changes_and_forgets(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    receipt = _receipt(tmp_path)
    for revision in (REVISION, NEWER):
        folder = root / "acme" / "tiny" / revision
        folder.mkdir(parents=True)
        for path, data in FILES.items():
            (folder / path).write_bytes(data)
    main = root / "acme" / "tiny" / "main"
    main.write_text(REVISION)
    with running_hub(root) as fake:
        hub = Hub(fake.url, attempts=1)

        def seen(*receipts: Receipt) -> list[State]:
            return [one.state for one in watch(receipts or (receipt,), hub)]

        assert seen() == ["same"]
        main.write_text(NEWER)
        assert seen() == ["moved"]
        newer = replace(receipt, revision=NEWER)
        assert seen(receipt, newer) == ["same", "same"]
        (root / "acme" / "tiny" / REVISION / "model.gguf").write_bytes(b"another")
        assert seen(receipt, newer) == ["changed", "same"]
        shutil.rmtree(root / "acme" / "tiny" / REVISION)
        assert seen(receipt, newer) == ["gone", "same"]
        fake.faults({"match": "tiny", "kind": "gone", "times": None})
        assert seen() == ["gone"]
        fake.mend()
        fake.faults({"match": "tiny", "kind": "500", "times": None})
        assert seen() == ["unreachable"]
    assert seen() == ["unreachable"]
