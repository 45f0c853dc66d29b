"""Pulls from the fake hub over real sockets: what is fetched, what becomes visible, and when."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from server.catalogue import File, Store
from server.errors import HubError, StoreError
from server.settings import Settings
from server.store.digest import sha256_of
from server.store.hub import Hub
from server.store.modelscope import ModelScope
from server.store.pull import run as pulling
from server.store.pull.events import Event, Failed, Linked, Published, Unchanged, Waiting
from server.store.pull.order import Order
from server.store.pull.run import Outcome, Task
from server.store.pull.sources import Sources, sources
from server.store.pull.staging import Means
from server.store.pull.window import Window
from server.store.receipt import Receipt, read_receipt
from server.store.shelf import Shelf
from server.store.transfer import FileDone, FileStarted, Progress
from tests.fakes.hub_running import FakeHub, running_hub

pytestmark = pytest.mark.integration

HOLDFAST = Path(sys.executable).with_name("holdfast")
SHARD = 1_500_000  # bytes
NAME = "org/model"


def safetensors(seed: int, size: int = SHARD) -> bytes:
    tensor = {f"t{seed}": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    header = json.dumps(tensor).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(seed).randbytes(size)


def write_model(folder: Path, *, config: str = '{"model_type": "qwen3_5"}', seed: int = 1) -> None:
    """A repository of two shards with their index, a tokenizer that LFS keeps, and small files."""
    folder.mkdir(parents=True)
    shards = {f"model-0000{n}-of-00002.safetensors": seed + n for n in (1, 2)}
    for name, number in shards.items():
        (folder / name).write_bytes(safetensors(number))
    weight_map = {f"t{number}": name for name, number in shards.items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(config)
    (folder / "tokenizer.json").write_text("[" + "1," * 600_000 + "1]")
    (folder / "sub").mkdir()
    (folder / "sub" / "notes.md").write_text("# Notes\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")


@dataclass
class Site:
    """A hub, and a home that pulls from it."""

    hub: FakeHub
    root: Path
    home: Path
    events: list[Event] = field(default_factory=list)

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.home / "models")

    def task(self, *orders: Order, store: Store | None = None, **changes: Any) -> Task:
        store = store or Store(reserve=0)
        settings = Settings(
            self.home, (), hub_endpoint=self.hub.url, modelscope_endpoint=self.hub.url
        )
        means = Means(sources(settings, store, attempts=1), store.jobs, store.limit_rate)
        task = Task(
            orders or (Order(NAME, licence="apache-2.0"),),
            self.shelf,
            settings.state,
            means,
            store.reserve,
        )
        return replace(task, **changes)

    def pull(self, *orders: Order, **changes: Any) -> Outcome:
        self.events.clear()
        return pulling.pull(self.task(*orders, **changes), self.events.append)

    def receipt(self, repository: str = NAME) -> Receipt:
        (volume,) = self.shelf.volumes(repository)
        assert volume.receipt is not None
        return volume.receipt

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeHub, Path]]:
    root = tmp_path_factory.mktemp("hub")
    with running_hub(root) as hub:
        yield hub, root


@pytest.fixture
def site(running: tuple[FakeHub, Path], tmp_path: Path) -> Iterator[Site]:
    hub, root = running
    write_model(root / NAME)
    yield Site(hub, root, tmp_path / "home")
    hub.mend()
    hub.log(clear=True)
    subprocess.run(["rm", "-rf", root / "org"], check=True)


# ---- What becomes of it ----


def test_a_revision_is_whole_read_only_and_checked_by_ordinary_tools(site: Site) -> None:
    assert site.pull().held == [NAME]
    receipt = site.receipt()
    folder = site.shelf.folder(NAME, receipt.revision)
    assert (receipt.source, receipt.licence) == (site.hub.url, "apache-2.0")
    assert {held.path for held in receipt.files} == {
        "LICENSE",  # added: the model is under it, and the repository has none
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "sub/notes.md",
        "tokenizer.json",
    }
    for held in receipt.files:
        path = folder / held.path
        assert (path.stat().st_size, sha256_of(path)) == (held.bytes, held.sha256)
        assert path.stat().st_mode & 0o777 == 0o444
    lfs = {held.path for held in receipt.files if held.lfs}
    assert lfs == {"tokenizer.json", *(p.path for p in receipt.files if "-of-" in p.path)}
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    assert not list((site.home / "models" / ".incoming").glob("**/*.part"))


def test_what_is_held_is_not_fetched_again(site: Site) -> None:
    site.pull()
    site.hub.log(clear=True)
    assert site.pull().held == [NAME]
    assert [one["path"].split("?")[0] for one in site.hub.log()] == [
        f"/api/models/{NAME}/revision/{site.receipt().revision}"
    ]
    assert site.of(Unchanged)


def test_the_same_files_of_two_revisions_are_stored_once(site: Site) -> None:
    site.pull()
    first = site.receipt()
    subprocess.run(["rm", "-rf", site.root / NAME], check=True)
    write_model(site.root / NAME)
    (site.root / NAME / "config.json").write_text('{"model_type": "qwen3_5", "new": 1}')
    site.hub.log(clear=True)
    site.pull(Order(NAME, "main"))
    second = next(v for v in site.shelf.volumes(NAME) if v.revision != first.revision)
    linked = {event.path: event.how for event in site.of(Linked)}
    assert set(linked) == {
        "tokenizer.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    }
    assert site.hub.sent("safetensors?") == 0
    for path, how in linked.items():
        old = (site.shelf.folder(NAME, first.revision) / path).stat()
        new = (second.folder / path).stat()
        assert how == "reflink" or old.st_ino == new.st_ino
    # Without a revision it stays with the newest that is held.
    assert second.receipt is not None
    site.pull()
    assert (
        site.of(Unchanged)[0].revision
        == max((v.receipt.fetched, v.revision) for v in site.shelf.volumes(NAME) if v.receipt)[1]
    )


def test_a_damaged_file_is_not_linked_but_fetched(site: Site) -> None:
    site.pull()
    folder = site.shelf.folder(NAME, site.receipt().revision)
    rotten = folder / "model-00001-of-00002.safetensors"
    rotten.chmod(0o644)
    with rotten.open("r+b") as file:
        file.seek(1000)
        file.write(b"rotten")
    (site.root / NAME / "config.json").write_text('{"other": true}')
    site.pull(Order(NAME, "main"))
    other = next(v for v in site.shelf.volumes(NAME) if v.folder != folder)
    assert other.receipt is not None
    for held in other.receipt.files:
        assert sha256_of(other.folder / held.path) == held.sha256


def test_files_put_there_by_hand_are_taken_once_they_are_checked(site: Site) -> None:
    listing = sources(Settings(site.home, (), hub_endpoint=site.hub.url), Store()).listing(
        Order(NAME), None
    )
    folder = site.shelf.folder(NAME, listing.listing.revision)
    folder.mkdir(parents=True)
    for shard in (1, 2):
        name = f"model-0000{shard}-of-00002.safetensors"
        data = bytearray((site.root / NAME / name).read_bytes())
        data[500_000] ^= shard - 1  # the second one is damaged
        (folder / name).write_bytes(data)
    site.hub.log(clear=True)
    site.pull()
    assert site.hub.sent("00001-of") == 0
    assert site.hub.sent("00002-of") >= SHARD
    for held in site.receipt().files:
        assert sha256_of(folder / held.path) == held.sha256
    aside = list((site.home / "models" / ".damaged").rglob("model-*"))
    assert [path.name.partition(".safetensors")[0] for path in aside] == ["model-00002-of-00002"]


def test_files_put_there_by_hand_stay_where_the_revision_is_refused(site: Site) -> None:
    one, two = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    (site.root / NAME / two).unlink()
    told = sources(Settings(site.home, (), hub_endpoint=site.hub.url), Store()).listing(
        Order(NAME), None
    )
    folder = site.shelf.folder(NAME, told.listing.revision)
    folder.mkdir(parents=True)
    (folder / one).write_bytes((site.root / NAME / one).read_bytes())
    (failure,) = site.pull().failures
    assert "is not whole" in failure.sentence
    assert [event.path for event in site.of(Linked)] == [one]
    assert (folder / one).read_bytes() == (site.root / NAME / one).read_bytes()
    assert read_receipt(folder) is None


def test_a_second_build_of_a_repository_joins_the_first(site: Site) -> None:
    one, two = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    (site.root / NAME / one).rename(site.root / NAME / "a.safetensors")
    (site.root / NAME / two).rename(site.root / NAME / "b.safetensors")
    (site.root / NAME / "model.safetensors.index.json").unlink()
    site.pull(Order(NAME, weights=("a.safetensors",)))
    assert site.receipt().file("b.safetensors") is None
    site.pull(Order(NAME, weights=("b.safetensors",)))
    held = site.receipt()
    assert held.file("a.safetensors")
    assert held.file("b.safetensors")


# ---- What is refused ----


def test_code_in_the_configuration_is_refused_before_the_weights_come(site: Site) -> None:
    (site.root / NAME / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    (failure,) = site.pull().failures
    assert "auto_map" in failure.sentence
    assert site.hub.sent("-of-") == 0
    assert site.shelf.volumes() == ()


def test_pickles_and_programs_are_left_out_and_named(site: Site) -> None:
    (site.root / NAME / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (site.root / NAME / "modeling.py").write_text("import os\n")
    site.pull()
    paths = {held.path for held in site.receipt().files}
    assert not paths & {"pytorch_model.bin", "modeling.py"}
    assert site.hub.sent("pytorch_model.bin") == 0


def test_an_index_whose_shard_is_not_there_is_refused(site: Site) -> None:
    (site.root / NAME / "model-00002-of-00002.safetensors").unlink()
    (failure,) = site.pull().failures
    assert "is not whole" in failure.sentence
    assert site.shelf.volumes() == ()


def test_other_bytes_under_a_pinned_revision_are_refused(site: Site) -> None:
    name = "model-00001-of-00002.safetensors"
    commit = sources(Settings(site.home, (), hub_endpoint=site.hub.url), Store()).listing(
        Order(NAME), None
    )
    order = Order(NAME, commit.listing.revision, known=(File(name, SHARD, "ab" * 32),))
    (failure,) = site.pull(order).failures
    assert isinstance(failure, StoreError)
    assert "changed upstream under the same revision" in failure.what
    assert site.hub.sent("resolve") == 0


def test_what_one_repository_fails_for_does_not_keep_the_others(site: Site) -> None:
    outcome = site.pull(Order("org/gone"), Order(NAME))
    assert outcome.held == [NAME]
    (failure,) = outcome.failures
    assert isinstance(failure, HubError)
    assert [event.repository for event in site.of(Failed)] == ["org/gone"]


def test_too_small_a_disk_is_told_before_anything_is_fetched(site: Site) -> None:
    with pytest.raises(StoreError, match="too little free space"):
        site.pull(reserve=10**18)
    assert site.hub.sent("resolve") == 0


# ---- Sources ----


def pinned(site: Site) -> Order:
    """The repository as a catalogue that knows its weights would order it."""
    told = sources(Settings(site.home, (), hub_endpoint=site.hub.url), Store()).listing(
        Order(NAME), None
    )
    known = tuple(
        File(file.path, file.bytes, file.sha256) for file in told.listing.files if file.sha256
    )
    return Order(NAME, told.listing.revision, known=known, modelscope=NAME)


def test_modelscope_stands_in_for_a_hub_that_lost_the_repository(site: Site) -> None:
    order = pinned(site)
    site.hub.log(clear=True)
    site.hub.faults({"match": r"^/api/models/", "kind": "gone", "times": None})
    assert site.pull(order).held == [NAME]
    receipt = site.receipt()
    assert receipt.revision == order.revision
    assert all(held.git_oid for held in receipt.files)
    paths = [one["path"] for one in site.hub.log() if one["status"] == 200]
    assert any(path.startswith("/api/v1/models/") for path in paths)


def test_modelscope_does_not_stand_in_where_nothing_proves_its_bytes(site: Site) -> None:
    order = pinned(site)
    site.hub.faults({"match": r"^/api/models/", "kind": "gone", "times": None})
    (failure,) = site.pull(replace(order, known=())).failures
    assert "nothing proves" in failure.sentence
    (failure,) = site.pull(replace(order, revision=None)).failures
    assert "no revision" in failure.sentence


def test_wrong_bytes_from_the_hub_are_replaced_by_modelscopes(site: Site) -> None:
    shard = "model-00001-of-00002.safetensors"
    site.hub.faults({"match": shard, "kind": "wrong-bytes", "where": "cdn", "times": None})
    site.pull()
    for held in site.receipt().files:
        folder = site.shelf.folder(NAME, site.receipt().revision)
        assert sha256_of(folder / held.path) == held.sha256
    assert site.hub.sent(f"/models/{NAME}/resolve/master/{shard}") >= SHARD


def test_wrong_bytes_are_told_even_if_it_is_another_source_that_gives_up_last(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    shard = "model-00001-of-00002.safetensors"
    site.hub.faults({"match": shard, "kind": "wrong-bytes", "where": "cdn", "times": None})
    with running_hub(tmp_path / "empty") as scope:
        hubs = Sources([Hub(site.hub.url), ModelScope(scope.url)])
        (failure,) = site.pull(means=Means(hubs, 4, None)).failures
    assert f"{site.hub.url} sends wrong bytes of {shard}" in failure.why
    assert scope.url in failure.why


# ---- Interruptions ----


class Enough(Exception):  # noqa: N818 - what ends a pull here
    pass


def test_a_pull_that_ends_in_the_middle_shows_nothing_and_goes_on(site: Site) -> None:
    done: set[str] = set()

    def until_some(event: Event) -> None:
        if isinstance(event, FileDone):
            done.add(event.path)
        if isinstance(event, Progress) and "-of-" in event.path and "config.json" in done:
            raise Enough

    site.hub.faults({"match": "-of-", "kind": "slow", "rate": 100_000, "times": None})
    with pytest.raises(Enough):
        pulling.pull(site.task(), until_some)
    assert site.shelf.volumes() == ()
    site.hub.mend()
    # Meanwhile main moved; what was begun is finished.
    (begun,) = (site.home / "models" / ".incoming" / NAME).iterdir()
    (site.root / NAME / "README.md").write_text("moved")
    moved = site.root / NAME
    commit = begun.name
    (moved / "README.md").unlink()
    site.pull()
    assert site.receipt().revision == commit
    again = {event.path for event in site.of(FileStarted) if event.resumed_bytes < event.bytes}
    assert again
    assert not again & done


def test_it_pauses_when_the_window_closes_and_keeps_what_it_has(site: Site) -> None:
    now = time.localtime()
    seconds = now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec
    window = Window((seconds - 60) % 86_400, (seconds + 6) % 86_400)

    def until_waiting(event: Event) -> None:
        site.events.append(event)
        if isinstance(event, Waiting):
            raise Enough

    site.hub.faults({"match": "-of-", "kind": "slow", "rate": 100_000, "times": None})
    with pytest.raises(Enough):
        pulling.pull(site.task(window=window), until_waiting)
    assert site.of(Progress)
    assert not site.of(Failed)
    assert site.shelf.volumes() == ()
    site.hub.mend()
    site.pull()
    assert site.of(Published)


# ---- The command ----


def holdfast(
    site: Site, *arguments: str, stderr: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[str]:
    clean = {key: text for key, text in os.environ.items() if not key.startswith(("HF_", "HOLD"))}
    return subprocess.Popen(
        [HOLDFAST, arguments[0], "--home", site.home, *arguments[1:]],
        env=clean
        | {"HF_ENDPOINT": site.hub.url, "MODELSCOPE_ENDPOINT": site.hub.url, "HF_HOME": "/none"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_the_command_fetches_and_says_so(site: Site) -> None:
    code, out, err = finished(holdfast(site, "pull", NAME))
    assert (code, out) == (0, "")
    assert "is whole: 6 files" in err
    assert "config.json: fetched and verified" in err


def test_on_a_terminal_it_draws_bars(site: Site) -> None:
    site.hub.faults({"match": "-of-", "kind": "slow", "rate": 3_000_000, "times": None})
    ours, theirs = os.openpty()
    process = holdfast(site, "pull", NAME, stderr=theirs, TERM="xterm", COLUMNS="120")
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while data := os.read(ours, 65536):
            drawn += data
    os.close(ours)
    assert process.wait(60) == 0
    text = drawn.decode()
    assert "in all" in text
    assert "model-00001-of-00002.safetensors" in text
    assert "MB/s" in text or "kB/s" in text
    assert "Fetched" in text.splitlines()[-1]


def test_its_events_are_json_lines(site: Site) -> None:
    code, out, err = finished(holdfast(site, "pull", NAME, "org/gone", "--json"))
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 6
    assert "org/gone" in err
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["failed", "surveyed"]
    assert kinds[-1] == "published"
    assert {"planned", "file_started", "file_done"} <= set(kinds)


def test_a_dry_run_touches_nothing(site: Site) -> None:
    code, out, _ = finished(holdfast(site, "pull", NAME, "--dry-run"))
    assert code == 0
    assert "model-00001-of-00002.safetensors" in out
    assert site.hub.sent("resolve") == 0
    assert not site.home.exists()
    code, out, _ = finished(holdfast(site, "pull", NAME, "--dry-run", "--json"))
    document = json.loads(out)
    assert document["bytes_to_fetch"] == document["bytes"] > 2 * SHARD
    assert document["destination"] == str(site.home / "models")


def test_offline_it_asks_nobody_and_tells_what_the_catalogue_knows(site: Site) -> None:
    arguments = ("pull", "--mirror", "--all")
    code, out, _ = finished(holdfast(site, *arguments, "--dry-run", HF_HUB_OFFLINE="1"))
    assert code == 0
    assert "1,219,356,936,888 bytes, 1.22 TB" in out
    code, _, err = finished(holdfast(site, *arguments, HF_HUB_OFFLINE="1"))
    assert code == 6
    assert "HF_HUB_OFFLINE" in err
    assert site.hub.log() == []


def test_what_fits_this_machine_is_found(site: Site) -> None:
    code, out, err = finished(holdfast(site, "pull", "--fits", "--dry-run", HF_HUB_OFFLINE="1"))
    assert code == 0, err
    assert "unsloth/Qwen3.5-0.8B-GGUF" in out
    assert "397B" not in out


def test_a_busy_hub_is_waited_for_and_said_to_be(site: Site) -> None:
    site.hub.faults({"match": "^/api/models/", "kind": "429", "seconds": 1})
    code, _, err = finished(holdfast(site, "pull", NAME))
    assert code == 0
    assert "asks for a pause; it is asked again in" in err


def test_the_token_goes_to_the_hub_alone(site: Site) -> None:
    token = "hf_" + "s" * 34
    with running_hub(site.root, token=token) as private:
        code, _, err = finished(holdfast(site, "pull", NAME, HF_ENDPOINT=private.url))
        assert code == 6
        assert "HF_TOKEN" in err
        again = holdfast(site, "pull", NAME, "--json", HF_ENDPOINT=private.url, HF_TOKEN=token)
        code, out, err = finished(again)
        assert code == 0, err
        assert token not in out + err
        cdn = [one for one in private.log() if one["where"] == "cdn"]
        assert cdn
        assert all("authorization" not in one["headers"] for one in cdn)
    assert token not in json.dumps(site.hub.log())
    for path in site.home.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_how_to_go_on(site: Site, number: signal.Signals) -> None:
    site.hub.faults({"match": "-of-", "kind": "slow", "rate": 200_000, "times": None})
    process = holdfast(site, "pull", NAME)
    parts = site.home / "models" / ".incoming"
    wait_for(lambda: any(parts.rglob("*.safetensors.part")), process)
    process.send_signal(number)
    code, _, err = finished(process)
    assert code == 130
    assert "Run the same command again to go on" in err
    assert "Traceback" not in err


def test_a_second_writer_names_the_first(site: Site) -> None:
    site.hub.faults({"match": "-of-", "kind": "slow", "rate": 200_000, "times": None})
    first = holdfast(site, "pull", NAME)
    wait_for(lambda: any((site.home / "models").rglob("*.safetensors.part")), first)
    code, _, err = finished(holdfast(site, "pull", NAME))
    assert code == 4
    assert f"process {first.pid} (holdfast pull" in err
    first.send_signal(signal.SIGINT)
    finished(first)


def test_killed_it_goes_on_without_fetching_again_what_it_had(site: Site) -> None:
    site.hub.faults({"match": "-of-", "kind": "slow", "rate": 2_000_000, "times": None})
    process = holdfast(site, "pull", NAME, "--jobs", "1", "--json")
    assert process.stdout is not None
    done = None
    while done is None:
        event = json.loads(process.stdout.readline())
        if event["event"] == "file_done" and "-of-" in event["path"]:
            done = event["path"]
    process.kill()
    finished(process)
    assert site.shelf.volumes() == ()
    site.hub.mend()
    code, out, err = finished(holdfast(site, "pull", NAME, "--json"))
    assert code == 0, err
    # The first shard was whole: its bytes were read from the disk.
    events = [json.loads(line) for line in out.splitlines()]
    started = {one["path"]: one for one in events if one["event"] == "file_started"}
    assert started[done]["resumed_bytes"] == started[done]["bytes"]
    receipt = read_receipt(site.shelf.volumes(NAME)[0].folder)
    assert receipt is not None
    assert len(receipt.files) == 6


def test_killed_after_any_event_nothing_wrong_is_ever_visible(site: Site) -> None:
    """In one home, so that each pull goes on from what a killed one left."""
    killed = 0
    for events in [*range(1, 60, 4)] * 5:
        process = holdfast(site, "pull", NAME, "--json")
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(events)]
        process.kill()
        finished(process)
        killed += process.returncode == -signal.SIGKILL
        for volume in site.shelf.volumes():
            assert volume.receipt is not None
            assert len(volume.receipt.files) == 6
            for held in volume.receipt.files:
                assert sha256_of(volume.folder / held.path) == held.sha256
        if any('"unchanged"' in line for line in lines):
            if killed > 2:
                break
            # It was faster than we could kill it: from the beginning.
            shutil.rmtree(site.home / "models")
    assert killed > 2
    code, _, err = finished(holdfast(site, "pull", NAME))
    assert code == 0, err
    assert len(site.receipt().files) == 6
    assert not list((site.home / "models" / ".incoming").rglob("*.part"))


def test_a_gated_repository_says_what_to_do(site: Site) -> None:
    (site.root / NAME / ".hub.json").write_text('{"gated": true}')
    only_hub = site.root / "only-hub.toml"
    only_hub.write_text('[store]\nsources = ["huggingface"]\n')
    code, _, err = finished(holdfast(site, "pull", NAME, "--config", str(only_hub)))
    assert code == 6
    assert "HF_TOKEN" in err
    assert "Traceback" not in err
    assert site.shelf.volumes() == ()


def test_the_hub_is_asked_through_the_proxy_of_the_environment(site: Site) -> None:
    """The proxy is the fake hub: asked for a URL of another host, it answers as if it were it."""
    process = holdfast(
        site, "pull", NAME, "--dry-run",
        HF_ENDPOINT="http://hub.invalid", HTTP_PROXY=site.hub.url, NO_PROXY="",
    )  # fmt: skip
    code, out, err = finished(process)
    assert code == 0, err
    assert "model-00001-of-00002.safetensors" in out
    assert [one["path"].partition("?")[0] for one in site.hub.log()] == [
        f"http://hub.invalid/api/models/{NAME}"
    ]


def test_nobody_but_the_configured_hub_is_asked(site: Site) -> None:
    own = site.root / "own-hub.toml"
    own.write_text(f'[store]\nhub = "{site.hub.url}"\n')
    with socket.create_server(("127.0.0.1", 0)) as everyone_else:
        proxy = f"http://127.0.0.1:{everyone_else.getsockname()[1]}"
        for transport in ("http", "xet"):
            home = ("--home", str(site.home / transport))
            options = ("--config", str(own), "--transport", transport, *home)
            process = holdfast(
                site, "pull", NAME, *options,
                HF_ENDPOINT="", HTTPS_PROXY=proxy, NO_PROXY="127.0.0.1",
            )  # fmt: skip
            code, _, err = finished(process)
            assert code == 0, err
        everyone_else.setblocking(False)
        with pytest.raises(BlockingIOError):
            everyone_else.accept()


def test_outside_its_window_it_waits(site: Site) -> None:
    now = time.localtime(time.time() + 7200)
    later = time.localtime(time.time() + 10800)
    window = f"{now.tm_hour:02d}:{now.tm_min:02d}-{later.tm_hour:02d}:{later.tm_min:02d}"
    process = holdfast(site, "pull", NAME, "--window", window)
    assert process.stderr is not None
    assert "Waiting" in process.stderr.readline()
    # It holds no lock meanwhile.
    code, _, err = finished(holdfast(site, "pull", NAME))
    assert code == 0, err
    process.send_signal(signal.SIGINT)
    finished(process)


def test_by_xet_it_is_checked_as_well(site: Site) -> None:
    code, _, err = finished(holdfast(site, "pull", NAME, "--transport", "xet"))
    assert code == 0, err
    folder = site.shelf.volumes(NAME)[0].folder
    for held in site.receipt().files:
        assert sha256_of(folder / held.path) == held.sha256
    assert not list((site.home / "models" / ".incoming").rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--limit-rate", "fast"], "--limit-rate"),
        (["--limit-rate", "5"], "too little"),
        (["--window", "1-6"], "--window"),
        (["5B"], "there is no model"),
        (["--transport", "xet", "--limit-rate", "1MB"], "knows no limit of rate"),
    ],
)
def test_a_mistake_is_told_in_a_line(site: Site, arguments: list[str], told: str) -> None:
    code, _, err = finished(holdfast(site, "pull", NAME, *arguments))
    assert code == 2
    assert told in err
    assert "Traceback" not in err
