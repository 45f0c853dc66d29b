"""The fake hub speaks the protocol: Hugging Face's own client and command get along with it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.fakes.hub_running import running_hub
from tests.integration.store.transfer.fetching import (
    LARGE,
    NAME,
    SMALL,
    TOKEN,
    Repository,
    write_repository,
)

pytestmark = pytest.mark.integration


def test_what_the_client_learns(repository: Repository) -> None:
    api = HfApi(endpoint=repository.hub.url, token=TOKEN)
    info = api.model_info(NAME, files_metadata=True)
    assert info.sha == repository.commit
    large = repository.files[LARGE]
    siblings = {one.rfilename: one for one in info.siblings or ()}
    assert siblings.keys() == repository.files.keys()
    pointer = siblings[LARGE].lfs
    assert pointer is not None
    assert pointer.sha256 == large.sha256
    assert siblings[SMALL].blob_id == repository.files[SMALL].git_oid
    tree = {one.path: one for one in api.list_repo_tree(NAME, recursive=True)}
    assert tree.keys() == {*repository.files, "folder"}
    [asked] = api.get_paths_info(NAME, ["folder/with space.txt"])
    assert asked.path == "folder/with space.txt"
    assert [one.target_commit for one in api.list_repo_refs(NAME).branches] == [repository.commit]
    assert api.list_repo_commits(NAME)[0].commit_id == repository.commit


def test_what_the_client_is_refused(repository: Repository, tmp_path: Path) -> None:
    api = HfApi(endpoint=repository.hub.url, token=False)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(NAME, revision="none")
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(NAME, "none", local_dir=tmp_path)
    write_repository(tmp_path)
    (tmp_path / NAME / ".hub.json").write_text('{"gated": true}')
    with running_hub(tmp_path) as hub, pytest.raises(GatedRepoError):
        HfApi(endpoint=hub.url, token=TOKEN).hf_hub_download(NAME, SMALL, local_dir=tmp_path / "x")


def test_its_own_command_downloads(repository: Repository, tmp_path: Path) -> None:
    target = tmp_path / "local"
    done = subprocess.run(
        [Path(sys.executable).with_name("hf"), "download", NAME, "--local-dir", target],
        env={
            **os.environ,
            "HF_ENDPOINT": repository.hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path, file in repository.files.items():
        assert (target / path).read_bytes() == file.location.read_bytes()


def test_modelscope_tells_every_sha256(repository: Repository) -> None:
    url = f"{repository.hub.url}/api/v1/models/{NAME}/repo/files?Revision=master&Recursive=true"
    with urllib.request.urlopen(url) as answer:
        files = json.load(answer)["Data"]["Files"]
    found = {one["Path"]: (one["Size"], one["Sha256"]) for one in files if one["Type"] == "blob"}
    assert found == {
        path: (file.bytes, hashlib.sha256(file.location.read_bytes()).hexdigest())
        for path, file in repository.files.items()
    }
