from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from server.store.digest import lfs_pointer_oid
from server.store.offering import OfferedRevision, offer
from server.store.receipt import Held, Receipt
from server.web import mirror_json

SHA = "5" * 64
OID = "1" * 40


def revision(*paths: str, licence: str | None = "apache-2.0") -> OfferedRevision:
    files = tuple(
        Held(path, 1000, SHA, lfs_pointer_oid(SHA, 1000), lfs=True)
        if path.endswith((".gguf", ".safetensors"))
        else Held(path, 7, SHA, OID)
        for path in sorted(paths)
    )
    fetched = datetime.datetime(2026, 11, 21, 5, tzinfo=datetime.UTC)
    receipt = Receipt("Org/Name", "a" * 40, "test", fetched, files, licence)
    return offer([(Path("/store/Org/Name") / receipt.revision, receipt)]).repository("Org/Name")[0]


SPLIT = ("config.json", "UD/a/x-00001-of-00002.gguf", "UD/a/x-00002-of-00002.gguf", "UD/y.json")


def shown(folder: str, *, recursive: bool, paths: tuple[str, ...] = SPLIT) -> list[tuple[str, str]]:
    found = mirror_json.tree(revision(*paths), folder, recursive=recursive, expand=False)
    assert found is not None
    return [(one["type"], one["path"]) for one in found]


def test_a_tree_shows_what_lies_directly_in_a_folder() -> None:
    assert shown("", recursive=False) == [("directory", "UD"), ("file", "config.json")]
    assert shown("UD", recursive=False) == [("directory", "UD/a"), ("file", "UD/y.json")]


def test_a_recursive_tree_shows_all_below() -> None:
    assert shown("", recursive=True) == [
        ("directory", "UD"),
        ("directory", "UD/a"),
        ("file", "UD/a/x-00001-of-00002.gguf"),
        ("file", "UD/a/x-00002-of-00002.gguf"),
        ("file", "UD/y.json"),
        ("file", "config.json"),
    ]
    assert shown("UD/a", recursive=True)[0] == ("file", "UD/a/x-00001-of-00002.gguf")


@pytest.mark.parametrize("folder", ["U", "config.json", "UD/a/x", "..", "nowhere"])
def test_there_is_no_tree_of_what_is_no_folder(folder: str) -> None:
    assert mirror_json.tree(revision(*SPLIT), folder, recursive=True, expand=False) is None


def test_a_file_s_entry_says_how_its_bytes_can_be_checked() -> None:
    found = mirror_json.tree(revision("a.gguf", "b.json"), "", recursive=True, expand=False)
    assert found == [
        {
            "type": "file",
            "path": "a.gguf",
            "size": 1000,
            "oid": lfs_pointer_oid(SHA, 1000),
            "lfs": {"oid": SHA, "size": 1000, "pointerSize": 129},
        },
        {"type": "file", "path": "b.json", "size": 7, "oid": OID},
    ]


def test_an_expanded_tree_tells_the_commit() -> None:
    found = mirror_json.tree(revision("b.json"), "", recursive=True, expand=True)
    assert found
    assert found[0]["lastCommit"]["id"] == "a" * 40
    assert found[0]["lastCommit"]["date"] == "2026-11-21T05:00:00.000Z"


def test_paths_info_tells_of_those_that_there_are() -> None:
    asked = ["UD/y.json", "UD/a", "UD/a", "nowhere", "", ".."]
    found = mirror_json.paths_info(revision(*SPLIT), asked)
    assert [(one["type"], one["path"]) for one in found] == [
        ("file", "UD/y.json"),
        ("directory", "UD/a"),
    ]


def test_a_model_lists_its_files_and_with_blobs_their_hashes() -> None:
    plain = mirror_json.model(revision("a.gguf", "b.json"))
    assert plain["sha"] == "a" * 40
    assert plain["siblings"] == [{"rfilename": "a.gguf"}, {"rfilename": "b.json"}]
    assert plain["cardData"] == {"license": "apache-2.0"}
    full = mirror_json.model(revision("a.gguf", "b.json"), blobs=True)["siblings"]
    assert full[0]["lfs"] == {"sha256": SHA, "size": 1000, "pointerSize": 129}
    assert full[1] == {"rfilename": "b.json", "size": 7, "blobId": OID}
    assert mirror_json.model(revision(licence=None))["tags"] == []


def test_nothing_leads_to_xet() -> None:
    one = revision(*SPLIT)
    everything = [
        mirror_json.model(one, blobs=True),
        mirror_json.tree(one, "", recursive=True, expand=True),
        mirror_json.paths_info(one, SPLIT),
        mirror_json.refs(one),
        mirror_json.manifest(one, "latest"),
    ]
    assert "xet" not in repr(everything).lower()


MANY = (
    "Name-Q8_0.gguf",
    "Name-Q4_K_M.gguf",
    "Name-Q4_K_S.gguf",
    "Name-UD-Q4_K_XL.gguf",
    "BF16/Name-BF16-00001-of-00002.gguf",
    "BF16/Name-BF16-00002-of-00002.gguf",
    "mmproj-BF16.gguf",
    "mmproj-F16.gguf",
    "imatrix.gguf",
    "README.md",
)


@pytest.mark.parametrize(
    ("paths", "tag", "found", "mmproj"),
    [
        (MANY, "latest", "Name-Q4_K_M.gguf", "mmproj-F16.gguf"),
        (MANY, "Q8_0", "Name-Q8_0.gguf", "mmproj-F16.gguf"),
        (MANY, "q4_k_s", "Name-Q4_K_S.gguf", "mmproj-F16.gguf"),
        (MANY, "UD-Q4_K_XL", "Name-UD-Q4_K_XL.gguf", "mmproj-F16.gguf"),
        (MANY, "BF16", "BF16/Name-BF16-00001-of-00002.gguf", "mmproj-F16.gguf"),
        (("Name-Q6_K.gguf", "mmproj-BF16.gguf"), "latest", "Name-Q6_K.gguf", "mmproj-BF16.gguf"),
        (("Name-Q6_K.gguf",), "latest", "Name-Q6_K.gguf", None),
        (("mmproj-F16.gguf",), "latest", None, None),
        (MANY, "Q4", None, None),
        (MANY, "IQ2_XXS", None, None),
        (MANY, ".*", None, None),
        (("model.safetensors",), "latest", None, None),
    ],
)
def test_a_manifest_names_the_file_of_a_quantization(
    paths: tuple[str, ...], tag: str, found: str | None, mmproj: str | None
) -> None:
    answer = mirror_json.manifest(revision(*paths), tag)
    if found is None:
        assert answer is None
        return
    assert answer is not None
    assert answer["ggufFile"] == {"rfilename": found, "blobId": f"sha256:{SHA}", "size": 1000}
    assert answer.get("mmprojFile", {}).get("rfilename") == mmproj
