"""Other people's clients fetch from `holdfast mirror serve`, with everything else out of reach.

The bytes that it says it sent are exactly those that the client then has: none came from
elsewhere, and none were sent in vain.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import demo as embedded
from server import settings
from server.engines.binary import find_llama_server
from server.ledger.keys import KeyBook
from server.store.digest import sha256_of
from server.store.lock import store_lock
from server.store.shelf import Shelf
from tests.integration.running import COMMAND, Holdfast, holdfast
from tests.integration.running import run as run_holdfast
from tests.integration.store import lending
from tests.integration.store.lending import Mirror, cut_off, run, sizes
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

HF = Path(sys.executable).with_name("hf")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lender") / "home"
    folder.mkdir()
    lending.stock(folder)
    return folder


@pytest.fixture
def mirror(home: Path) -> Iterator[Mirror]:
    with lending.mirror(home) as running:
        yield running


def same_files(folder: Path, home: Path, repository: str) -> None:
    """Check that `folder` holds the repository, byte for byte."""
    (volume,) = Shelf(home / "models").find(repository)
    assert volume.receipt
    for held in volume.receipt.files:
        assert sha256_of(folder / held.path) == held.sha256


SNAPSHOT = """
import json, sys
import hf_xet
from huggingface_hub import HfApi, snapshot_download
api = HfApi()
name, revision = sys.argv[1:]
info = api.model_info(name, files_metadata=True)
print(json.dumps({
    "folder": snapshot_download(name),
    "sha": info.sha,
    "sizes": {one.rfilename: one.size for one in info.siblings},
    "licence": info.card_data.license,
    "refs": [one.target_commit for one in api.list_repo_refs(name).branches],
    "commits": [one.commit_id for one in api.list_repo_commits(name)],
    "paths": [one.path for one in api.get_paths_info(name, ["config.json", "absent"])],
    "models": sorted(one.id for one in api.list_models()),
    "exists": [api.file_exists(name, path) for path in ("config.json", "absent")],
    "revisions": [api.revision_exists(name, one) for one in ("main", revision[:8], "v9")],
    "repositories": [api.repo_exists(one) for one in (name, "Holdfast/absent")],
}))
"""


def test_huggingface_hub_with_xet_installed(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    assert importlib.metadata.version("hf_xet")
    name, revision = lending.MODEL, lending.MODEL_REVISION
    with cut_off(tmp_path / "client", mirror.url) as env:
        told = json.loads(run([sys.executable, "-c", SNAPSHOT, name, revision], env))
    folder = Path(told.pop("folder"))
    same_files(folder, home, name)
    assert told == {
        "sha": revision,
        "sizes": sizes(home, name),
        "licence": "apache-2.0",
        "refs": [revision],
        "commits": [revision],
        "paths": ["config.json"],
        "models": [lending.BIG, lending.MODEL, lending.GGUF],
        "exists": [True, False],
        "revisions": [True, True, False],
        "repositories": [True, False],
    }
    assert folder.name == revision
    held = sizes(home, name)
    # Of an empty file nothing is sent; and each was sent once.
    assert mirror.stop()[0] == sum(held.values())


def test_hf_download_and_its_own_verification(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "here"
    with cut_off(tmp_path / "client", mirror.url) as env:
        command = [str(HF), "download", lending.BIG, "--revision", lending.BIG_REVISION]
        command += ["--local-dir", str(target)]
        run(command, env)
        same_files(target, home, lending.BIG)
        run([HF, "cache", "verify", lending.BIG, "--local-dir", target], env)
        # Again: it is told that nothing changed, and fetches nothing.
        run(command, env)
    assert mirror.stop()[0] == sum(sizes(home, lending.BIG).values())


def test_a_download_that_was_cut_off_goes_on(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    kept = 20_000_000
    with cut_off(tmp_path / "client", mirror.url) as env:
        path = tmp_path / "noise.part"
        path.write_bytes((home / "noise").read_bytes()[:kept])
        run([sys.executable, "-c", RESUME, lending.BIG, path, str(kept)], env)
    assert path.read_bytes() == (home / "noise").read_bytes()
    assert mirror.stop()[0] == sizes(home, lending.BIG)[lending.NOISE] - kept


RESUME = """
import sys
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
name, path, kept = sys.argv[1:]
url = hf_hub_url(name, "noise.safetensors")
size = get_hf_file_metadata(url).size
with open(path, "ab") as partial:
    http_get(url, partial, resume_size=int(kept), expected_size=size)
"""

GENERATE = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
place = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(place)
messages = [{"role": "user", "content": sys.argv[2]}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
print(json.dumps(tokenizer.decode(output[0])))
"""


def test_transformers(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    question = "What is Holdfast?"
    with cut_off(tmp_path / "client", mirror.url) as env:
        fetched = run([sys.executable, "-c", GENERATE, lending.MODEL, question], env)
        local = str(lending.DEMO / "safetensors")
        offline = env | {"HF_HUB_OFFLINE": "1"}
        assert fetched == run([sys.executable, "-c", GENERATE, local, question], offline)
    cache = tmp_path / "client" / "hf" / "hub" / "models--Holdfast--demo"
    blobs = [path.stat().st_size for path in (cache / "blobs").iterdir()]
    (snapshot,) = (cache / "snapshots").iterdir()
    assert {path.name for path in snapshot.iterdir()} >= {"model.safetensors", "tokenizer.json"}
    assert mirror.stop()[0] == sum(blobs)


def ask_llama_server(env: dict[str, str], tmp_path: Path) -> str:
    """Start llama-server on the GGUF repository; its answer to one of the demo's questions."""
    question = embedded.question("what-is-holdfast")
    program = find_llama_server(settings.load(os.environ)).path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "-hf", lending.GGUF, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--threads", "1", "--parallel", "1", "--temp", "0", "--jinja"]
    log = tmp_path / "llama.log"
    with open(log, "w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: answers(port) or process.poll() is not None, 30)
        assert process.poll() is None, log.read_text()
        body = {
            "messages": list(question.messages),
            "chat_template_kwargs": {"enable_thinking": False},
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            reply: dict[str, Any] = json.loads(response.read())
    finally:
        process.terminate()
        process.wait()
    assert reply["choices"][0]["message"]["content"] == question.content
    return log.read_text()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_llama_server(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    with cut_off(tmp_path / "client", mirror.url) as env:
        ask_llama_server(env, tmp_path)
    assert mirror.stop()[0] == sizes(home, lending.GGUF)["demo-F16.gguf"]


def test_another_holdfast(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    config = tmp_path / "models.toml"
    config.write_text("[store]\nreserve = 0\n")
    names = [lending.MODEL, lending.GGUF, lending.BIG]
    with cut_off(tmp_path / "client", mirror.url) as env:
        run(
            [
                COMMAND,
                "pull",
                *names,
                "--format",
                "both",
                "--quant",
                "all",
                "--home",
                other,
                "--config",
                config,
            ],
            env,
        )
        for name in names:
            (volume,) = Shelf(other / "models").find(name)
            (original,) = Shelf(home / "models").find(name)
            assert volume.receipt
            assert original.receipt
            assert volume.revision == original.revision
            assert volume.receipt.files == original.receipt.files
            same_files(volume.folder, home, name)
    assert mirror.stop()[0] == sum(sum(sizes(home, name).values()) for name in names)
    # And it is a hub in its turn.
    with lending.mirror(other) as second, cut_off(tmp_path / "next", second.url) as env:
        run([HF, "download", lending.BIG, "--local-dir", tmp_path / "here"], env)
    same_files(tmp_path / "here", home, lending.BIG)


def test_clients_send_a_key_as_a_token_or_in_the_address(home: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    shutil.copytree(home / "models", locked / "models", copy_function=os.link)
    _, key = KeyBook(locked / "keys.json").create("clients")
    with lending.mirror(locked) as mirror:
        command = [str(HF), "download", lending.GGUF, "README.md"]
        with cut_off(tmp_path / "none", mirror.url) as env:
            refused = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            assert refused.returncode != 0
            assert "no API key was sent" in refused.stderr
        with cut_off(tmp_path / "token", mirror.url, HF_TOKEN=key) as env:
            run([*command], env)
        # llama.cpp takes no token but Hugging Face's own.
        address = mirror.url.replace("://", f"://any:{key}@")
        with cut_off(tmp_path / "address", address) as env:
            ask_llama_server(env, tmp_path)
        held = sizes(home, lending.GGUF)
        assert mirror.stop()[0] == held["README.md"] + held["demo-F16.gguf"]
        assert key not in mirror.log.read_text()


def test_a_whole_holdfast_is_a_hub_as_well(home: Path, tmp_path: Path) -> None:
    with holdfast(home, "--demo") as running:
        running.wait_ready()
        with cut_off(tmp_path / "client", f"{running.root}/hf") as env:
            run([HF, "download", lending.BIG, "--local-dir", tmp_path / "here"], env)
        same_files(tmp_path / "here", home, lending.BIG)
        assert answer_of(running) == embedded.question("what-is-holdfast").content


def answer_of(running: Holdfast) -> str | None:
    messages: Any = list(embedded.question("what-is-holdfast").messages)
    chunks = running.client().chat.completions.create(model="demo", messages=messages)
    return chunks.choices[0].message.content


def test_inference_goes_on_while_clients_do_not_read(home: Path) -> None:
    with holdfast(home, "--demo") as running:
        running.wait_ready()
        port = int(running.root.rpartition(":")[2])
        sleepers = []
        for _ in range(30):
            sleeper = socket.create_connection(("127.0.0.1", port))
            path = f"/hf/{lending.BIG}/resolve/main/{lending.NOISE}"
            sleeper.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert sleeper.recv(12) == b"HTTP/1.1 200"
            sleepers.append(sleeper)
        for _ in range(5):
            assert answer_of(running) == embedded.question("what-is-holdfast").content
        for sleeper in sleepers:
            sleeper.close()


def test_a_copy_can_be_served(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    lending.publish(copy, "Other/repo", "d" * 40, {"README.md": lending.DEMO / "CARD.md"})
    with lending.mirror(home, "--copy", str(copy)) as mirror:
        with cut_off(tmp_path / "client", mirror.url) as env:
            run([HF, "download", "Other/repo", "README.md"], env)
        assert "Other/repo at dddddddddddd: " in mirror.log.read_text()
        mirror.stop()
    done = run_holdfast("mirror", "serve", "--copy", str(tmp_path / "absent"), home=home)
    assert done.returncode == 4
    assert "there is no folder" in done.stderr


def test_it_is_not_opened_to_the_network_without_a_key(home: Path) -> None:
    done = run_holdfast("mirror", "serve", "--host", "0.0.0.0", "--port", "0", home=home)
    assert done.returncode == 2
    assert "refusing to listen on 0.0.0.0 without an API key" in done.stderr


def test_it_ends_although_a_client_does_not_read(mirror: Mirror) -> None:
    port = int(mirror.url.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as sleeper:
        path = f"/hf/{lending.BIG}/resolve/main/{lending.NOISE}"
        sleeper.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert sleeper.recv(12) == b"HTTP/1.1 200"
        mirror.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping once 1 requests" in mirror.log.read_text(), 10)
        sent, _ = mirror.stop()  # a second signal: no time for it
        assert sent < 48_000_000
    assert "incident" not in mirror.log.read_text()
    assert "Traceback" not in mirror.log.read_text()


def test_it_goes_on_while_the_store_is_locked(mirror: Mirror, home: Path, tmp_path: Path) -> None:
    with store_lock(home / "models", "a pull"), cut_off(tmp_path / "client", mirror.url) as env:
        run([HF, "download", lending.MODEL, "config.json"], env)
    assert mirror.stop()[0] == sizes(home, lending.MODEL)["config.json"]
