"""What `holdfast verify` tells, line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.cli.verify_report import Report, as_json, lines
from server.store.repair import Result
from server.store.verify import Finding, Kind

REVISION = "ab" * 20
ROOT = Path("/models")
KEY = f"acme/tiny/{REVISION}/a.gguf"


def _finding(kind: Kind, path: str = "a.gguf") -> Finding:
    return Finding("acme/tiny", REVISION, path, kind, "so it is")


def _report(*findings: Finding, **facts: object) -> Report:
    damage = [finding for finding in findings if finding.is_damage]
    report = Report(ROOT, list(findings), files=2, bytes=3 << 30, seconds=2.0, damage=damage)
    for name, value in facts.items():
        setattr(report, name, value)
    return report


READ = "Read 2 files, 3.0 GiB in 2.0 s (1.5 GiB/s): "
MEND = " `holdfast verify --repair` brings back what a copy or a hub still has."
REPAIRED = Result(KEY, "the store", ROOT / ".damaged" / "a.gguf.now")


@pytest.mark.parametrize(
    ("report", "repaired", "expected"),
    [
        (_report(), False, [f"{READ}all is well."]),
        (_report(files=0, bytes=0), False, [
            "There is nothing to verify: /models holds nothing yet."
        ]),
        (_report(left_files=1, left_bytes=1 << 20), False, [
            f"{READ}all is well. Left for the next run (beyond the budget): 1 file, 1.0 MiB."
        ]),
        (_report(left_files=5, left_bytes=1 << 20, interrupted=True), False, [
            f"{READ}all is well. Left for the next run (interrupted): 5 files, 1.0 MiB."
        ]),
        (_report(_finding("extra", "b.txt")), False, [
            "extra         acme/tiny@abababababab/b.txt: so it is", f"{READ}all is well."
        ]),
        (_report(_finding("damaged")), False, [
            "damaged       acme/tiny@abababababab/a.gguf: so it is",
            f"{READ}damage in 1 place.{MEND}",
        ]),
        (_report(_finding("bad signature"), _finding("unsteady")), False, [
            "bad signature acme/tiny@abababababab/a.gguf: so it is",
            "unsteady      acme/tiny@abababababab/a.gguf: so it is",
            f"{READ}damage in 2 places.",
        ]),
        (_report(_finding("damaged"), results={KEY: REPAIRED}, damage=[]), True, [
            "damaged       acme/tiny@abababababab/a.gguf: so it is",
            "repaired      acme/tiny@abababababab/a.gguf: from the store; the damaged one is kept "
            "as /models/.damaged/a.gguf.now",
            f"{READ}1 repaired, all is well.",
        ]),
        (_report(_finding("missing"), results={KEY: Result(KEY, why="nobody has it")}), True, [
            "missing       acme/tiny@abababababab/a.gguf: so it is",
            "not repaired  acme/tiny@abababababab/a.gguf: nobody has it",
            f"{READ}0 repaired, damage in 1 place stays.",
        ]),
        (_report(signers={"acme/tiny@1": "Good signature"}), False, [
            "signed        acme/tiny@1: Good signature", f"{READ}all is well."
        ]),
    ],
)  # fmt: skip
def test_lines(report: Report, repaired: bool, expected: list[str]) -> None:
    assert list(lines(report, repaired)) == expected


def test_json_can_be_written_and_says_what_became_of_each_finding() -> None:
    failed = Result(f"acme/tiny/{REVISION}/b.gguf", why="nobody has it")
    results = {KEY: REPAIRED, failed.key: failed}
    report = _report(_finding("damaged"), _finding("missing", "b.gguf"), results=results)
    answer = json.loads(json.dumps(as_json(report)))
    assert answer["ok"] is False
    first, second = answer["findings"]
    assert (first["repaired"], first["source"], first["not_repaired"]) == (True, "the store", None)
    assert (second["repaired"], second["not_repaired"]) == (False, "nobody has it")
