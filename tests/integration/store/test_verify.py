"""`holdfast verify`, `store sign` and `store watch` as people and timers run them."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.store.naming import RECEIPT, SUMS
from server.store.receipt import Held, Receipt, now, write_receipt
from tests.fakes.hub_running import FakeHub, running_hub
from tests.store.volumes import REVISION, flip, make_volume

pytestmark = pytest.mark.integration

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
NOWHERE = "http://127.0.0.1:9"
FILES = {
    "model-00001-of-00002.safetensors": bytes(range(256)) * 8000,
    "model-00002-of-00002.safetensors": bytes(reversed(range(256))) * 8000,
    "config.json": b'{"model_type": "qwen3_5"}',
}
FIRST, SECOND, _ = FILES


def _environment(home: Path, hub: str = NOWHERE) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HOLDFAST_HOME": str(home),
        "HF_ENDPOINT": hub,
        "MODELSCOPE_ENDPOINT": hub,
    }


def _run(
    home: Path, *arguments: str, hub: str = NOWHERE, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [HOLDFAST, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=_environment(home, hub),
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def _json(home: Path, *arguments: str, hub: str = NOWHERE, code: int = 0) -> Any:
    return json.loads(_run(home, *arguments, "--json", hub=hub, code=code).stdout)


def _copied(home: Path, copy: Path) -> Path:
    """A configuration that names the copy."""
    config = home / "mine.toml"
    config.write_text(f'[store]\ncopies = ["{copy}"]\n')
    return config


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_volume(tmp_path / "home" / "models", FILES)
    return tmp_path / "home"


def _folder(home: Path) -> Path:
    return home / "models" / "acme" / "tiny" / REVISION


# ---- Finding and repairing ----


def test_a_thousand_flipped_bits_are_all_found_and_all_repaired(tmp_path: Path) -> None:
    """In weights, receipts and SHA256SUMS alike, one in each of a thousand files."""
    chance = random.Random(20261121)
    home, copy = tmp_path / "home", tmp_path / "copy"
    for number in range(15):
        files = {f"part-{n}.gguf": chance.randbytes(chance.randrange(1, 3000)) for n in range(80)}
        for root in (home / "models", copy):
            make_volume(root, files, "acme/many", f"{number:040x}")
    models = home / "models"
    paths = sorted(path.relative_to(models) for path in models.rglob("*") if path.is_file())
    flipped = chance.sample(paths, 1000)
    for path in flipped:
        flip(models / path, chance.randrange(8 * (models / path).stat().st_size))
    answer = _json(home, "verify", code=4)
    found = {f"{one['repository']}/{one['revision']}/{one['path']}" for one in answer["findings"]}
    # Where both are damaged, it is the two that disagree, and the receipt that is named.
    torn = {path.rpartition("/")[0] for path in found if path.endswith(RECEIPT)}
    masked = {f"{folder}/{SUMS}" for folder in torn}
    assert {path.as_posix() for path in flipped} <= found | masked
    answer = _json(home, "verify", "--repair", "--config", str(_copied(home, copy)))
    assert answer["ok"]
    assert [one for one in answer["findings"] if not one["repaired"]] == []
    assert _json(home, "verify")["findings"] == []
    for path in paths:
        assert (models / path).read_bytes() == (copy / path).read_bytes()
    assert _json(home, "verify", "--copy", str(copy))["ok"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    for path, data in FILES.items():
        at = tmp_path / "hub" / "acme" / "tiny" / REVISION / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
    with running_hub(tmp_path / "hub") as running:
        yield running


def test_only_what_is_damaged_is_fetched_from_the_hub(home: Path, hub: FakeHub) -> None:
    flip(_folder(home) / FIRST, 4711)
    damaged = (_folder(home) / FIRST).read_bytes()
    _run(home, "verify", code=4)
    assert hub.log() == []  # without --repair no network
    done = _run(home, "verify", "--repair", hub=hub.url)
    assert f"repaired      acme/tiny@{REVISION[:12]}/{FIRST}: from " in done.stdout
    assert done.stdout.endswith("1 repaired, all is well.\n")
    assert hub.sent(FIRST) == len(FILES[FIRST])
    assert hub.sent(SECOND) == 0
    (aside,) = (home / "models" / ".damaged").rglob(f"{FIRST}.*")
    assert aside.read_bytes() == damaged
    assert (_folder(home) / FIRST).read_bytes() == FILES[FIRST]
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=_folder(home), check=True)


def test_killed_anywhere_a_repair_is_gone_on_with(home: Path, tmp_path: Path) -> None:
    """What is visible is the damaged file or the good one, or for an instant none."""
    make_volume(tmp_path / "copy", FILES)
    config = str(_copied(home, tmp_path / "copy"))
    chance = random.Random(3)
    for _ in range(12):
        for path in (FIRST, SECOND):
            if (_folder(home) / path).exists():
                flip(_folder(home) / path, 99)
        damaged = {path: (_folder(home) / path) for path in (FIRST, SECOND)}
        seen = {path: at.read_bytes() for path, at in damaged.items() if at.exists()}
        command = [HOLDFAST, "verify", "--repair", "--config", config]
        process = subprocess.Popen(
            command,
            env=_environment(home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.4, 1.2))
        process.kill()
        process.wait()
        for path, at in damaged.items():
            if at.exists():
                assert at.read_bytes() in (seen.get(path), FILES[path])
        if chance.random() < 0.5:
            _run(home, "verify", "--repair", "--config", config)
            assert all((_folder(home) / path).read_bytes() == FILES[path] for path in FILES)
    _run(home, "verify", "--repair", "--config", config)
    assert _json(home, "verify")["findings"] == []
    assert not (home / "models" / ".incoming").exists()


def test_a_repair_that_is_interrupted_says_so_and_is_gone_on_with(home: Path, hub: FakeHub) -> None:
    flip(_folder(home) / FIRST, 4711)
    before = (_folder(home) / FIRST).read_bytes()
    hub.faults({"match": FIRST, "kind": "slow", "rate": 50_000, "times": None, "where": "cdn"})
    with subprocess.Popen(
        [HOLDFAST, "verify", "--repair"],
        env=_environment(home, hub.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list((home / "models" / ".incoming").rglob("*.part")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "damage in 1 place stays" in said
    assert "The same command goes on with what is left" in complaint
    assert "Traceback" not in complaint
    assert (_folder(home) / FIRST).read_bytes() == before
    hub.mend()
    _run(home, "verify", "--repair", hub=hub.url)
    assert (_folder(home) / FIRST).read_bytes() == FILES[FIRST]


def test_a_copy_is_repaired_from_the_store(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    folder = make_volume(copy, FILES).folder
    flip(folder / SECOND, 1)
    answer = _json(home, "verify", "--copy", str(copy), "--repair")
    (finding,) = answer["findings"]
    assert (finding["path"], finding["source"]) == (SECOND, "the store")
    assert (folder / SECOND).read_bytes() == FILES[SECOND]
    _run(home, "mirror", "sync", "--init", "--to", str(copy))
    verified = "2020-01-01T00:00:00+00:00"
    marker = copy / "holdfast-copy.json"
    told = json.loads(marker.read_bytes())
    marker.chmod(0o644)
    marker.write_text(json.dumps({**told, "verified": {f"acme/tiny@{REVISION}": verified}}))
    _run(home, "verify", "--copy", str(copy))
    assert json.loads(marker.read_bytes())["verified"][f"acme/tiny@{REVISION}"] > verified
    absent = _run(home, "verify", "--copy", str(tmp_path / "none"), code=4)
    assert "there is no copy at" in absent.stderr


def test_an_empty_store_is_no_failure(tmp_path: Path) -> None:
    assert "There is nothing to verify" in _run(tmp_path, "verify").stdout


def test_what_nobody_has_stays_and_says_why(home: Path) -> None:
    flip(_folder(home) / FIRST, 1)
    done = _run(home, "verify", "--repair", code=4)
    assert "not repaired" in done.stdout
    assert "127.0.0.1:9 cannot be reached" in done.stdout
    answer = _json(home, "verify", code=4)
    assert [(one["path"], one["kind"]) for one in answer["findings"]] == [(FIRST, "damaged")]


# ---- Budget, memory, interruption ----


def test_runs_with_a_budget_come_round_to_everything(home: Path) -> None:
    read = [_json(home, "verify", "--budget", "2000K")["files"] for _ in range(3)]
    assert read == [1, 1, 1]
    state = json.loads((home / "state" / "scrub.json").read_bytes())
    (times,) = state["stores"].values()
    assert {key.rpartition("/")[2] for key in times} == set(FILES)


def test_interrupted_it_says_so_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Of sparse files, which take no space and a second to read."""
    size, count = 280_000_000, 8
    folder = tmp_path / "models" / "acme" / "tiny" / REVISION
    folder.mkdir(parents=True)
    names = [f"part-{number}.gguf" for number in range(count)]
    for name in names:
        with (folder / name).open("wb") as file:
            file.truncate(size)
    done = subprocess.run(
        ["sha256sum", names[0]], cwd=folder, capture_output=True, text=True, check=True
    )
    held = tuple(Held(name, size, done.stdout.split()[0]) for name in names)
    write_receipt(folder, Receipt("acme/tiny", REVISION, "a test", now(), held))
    memory = tmp_path / "state" / "scrub.json"
    with subprocess.Popen(
        [HOLDFAST, "verify", "--jobs", "1", "--json"],
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not memory.exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on with what is left" in complaint
    answer = json.loads(said)
    assert (answer["interrupted"], answer["findings"]) == (True, [])
    assert 1 <= answer["files"] < count
    (times,) = json.loads(memory.read_bytes())["stores"].values()
    assert len(times) == answer["files"]
    left = count - answer["files"]
    assert _json(tmp_path, "verify", "--budget", f"{left * size}B")["files"] == left
    (times,) = json.loads(memory.read_bytes())["stores"].values()
    assert len(times) == count


# ---- Who may do what ----


def test_a_store_that_may_only_be_read_is_verified() -> None:
    """As nobody, where the tests run as root: for root there is no folder without permission."""
    with tempfile.TemporaryDirectory(prefix="holdfast-test-") as name:
        home = Path(name)
        make_volume(home / "models", FILES)
        for path in (home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = _as_nobody(home)
        for hidden in (_folder(home), _folder(home) / FIRST, _folder(home) / RECEIPT):
            hidden.chmod(0)
            refused = _as_nobody(home)
            hidden.chmod(0o555)
            assert (refused.returncode, "Traceback" in refused.stderr) == (4, False)
            assert "unreadable" in refused.stdout
        for path in (home, *home.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "all is well" in done.stdout
    assert "what was verified cannot be remembered" in done.stderr


def _as_nobody(home: Path) -> subprocess.CompletedProcess[str]:
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    prefix = nobody if os.geteuid() == 0 else []
    command = [*prefix, HOLDFAST, "verify"]
    environment = _environment(home)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_a_writer_keeps_repairs_out_and_readers_go_on(home: Path) -> None:
    with (home / "models" / ".lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4242\nelsewhere\nholdfast pull\n")
        lock.flush()
        done = _run(home, "verify", "--repair", code=4)
        assert "process 4242 on elsewhere (holdfast pull) is writing" in done.stderr
        _run(home, "verify")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("verify", "--budget", "5"), 2, "--budget '5' is not a budget"),
        (("verify", "acme/tinny"), 4, 'Did you mean "acme/tiny"?'),
        (("verify", "--signature"), 2, "--signature needs --allowed-signers"),
        (("store", "sign", "--key", "/none"), 2, "there is no key /none"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: tuple[str, ...], code: int, says: str, home: Path
) -> None:
    assert says in _run(home, *arguments, code=code).stderr


# ---- Signatures, and the hub watched ----


def test_signed_verified_and_tampered_with(home: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"me@example.org {key.with_suffix('.pub').read_text()}")
    trust = ("verify", "--signature", "--allowed-signers", str(allowed))
    assert "bad signature" in _run(home, *trust, code=4).stdout
    assert "Signed acme/tiny@" in _run(home, "store", "sign", "--key", str(key)).stdout
    signers = _json(home, *trust)["signers"]
    assert "me@example.org" in signers[f"acme/tiny@{REVISION}"]
    # All of it forged, so that it agrees with itself: the signature does not.
    shutil.copy(_folder(home) / "SHA256SUMS.sig", tmp_path / "sig")
    make_volume(home / "models", {**FILES, "config.json": b"forged"}, revision="9" * 40)
    forged = home / "models" / "acme" / "tiny" / ("9" * 40)
    shutil.copy(tmp_path / "sig", forged / "SHA256SUMS.sig")
    answer = _json(home, *trust, code=4)
    assert [(one["revision"], one["kind"]) for one in answer["findings"]] == [
        ("9" * 40, "bad signature")
    ]


def test_the_hub_is_watched(home: Path, hub: FakeHub) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert _run(home, "store", "watch", hub=hub.url).stdout.startswith("same ")
    hub.faults({"match": "acme/tiny", "kind": "gone", "times": None})
    (seen,) = _json(home, "store", "watch", hub=hub.url, code=7)
    assert (seen["repository"], seen["state"]) == ("acme/tiny", "gone")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_hub_out_of_reach_is_no_news(home: Path) -> None:
    environment = {**_environment(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [HOLDFAST, "store", "watch"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout[:12]) == (6, "unreachable ")
