"""Keys of providers: where they are found, and that they are shown nowhere."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.catalogue.cloud import KeySource, Provider
from server.errors import ProviderRefused
from server.providers.secrets import Absence, Keyring

KEY = "sk-hunter2"


def provider(**source: str | Path) -> Provider:
    return Provider("acme", "openai", "https://acme.example", KeySource(**source))  # type: ignore[arg-type]


def written(path: Path, text: str = f"{KEY}\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_provider_that_needs_no_key() -> None:
    keyless = Provider("local", "openai", "http://127.0.0.1:9")
    assert Keyring({}).key_of(keyless) is None
    assert Keyring({}).absence(keyless) is None


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_first_place_that_has_one_holds(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    written(folder / "acme.key", " from-systemd \n", 0o440)
    file = written(tmp_path / "acme.key", "\tfrom-file\r\n", mode)
    source = provider(env="ACME_KEY", file=file, credential="acme.key")
    environment = {"ACME_KEY": " from-environment\n", "CREDENTIALS_DIRECTORY": str(folder)}
    assert Keyring(environment).key_of(source) == "from-environment"
    environment["ACME_KEY"] = " \n"
    assert Keyring(environment).key_of(source) == "from-file"
    file.unlink()
    assert Keyring(environment).key_of(source) == "from-systemd"
    assert Keyring(environment).absence(source) is None


def test_who_has_none(tmp_path: Path) -> None:
    without = Provider("other", "gemini", "https://other.example", KeySource("OTHER_KEY"))
    keyless = Provider("local", "openai", "http://127.0.0.1:9")
    ring = Keyring({"ACME_KEY": KEY})
    assert ring.keyless((provider(env="ACME_KEY"), without, keyless)) == {
        "other": "OTHER_KEY is not set"
    }


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "acme.key")
    assert Keyring({}).key_of(provider(file=Path("~/acme.key"))) == KEY


def test_a_key_that_is_replaced_is_seen(tmp_path: Path) -> None:
    file = written(tmp_path / "acme.key")
    ring = Keyring({})
    assert ring.key_of(provider(file=file)) == KEY
    written(tmp_path / "new", "another-key")
    os.replace(tmp_path / "new", file)
    assert ring.key_of(provider(file=file)) == "another-key"
    file.unlink()
    assert ring.absence(provider(file=file)) is not None


@pytest.mark.parametrize(
    ("source", "environment", "why", "step"),
    [
        (
            {"env": "ACME_KEY"},
            {"ACME_KEY": ""},
            "ACME_KEY is not set",
            "Set ACME_KEY",
        ),
        (
            {"env": "ACME_KEY", "credential": "acme.key"},
            {},
            "ACME_KEY is not set; the credential acme.key is not passed by systemd",
            "Set ACME_KEY, or have systemd pass it with LoadCredential=acme.key:PATH",
        ),
        (
            {"credential": "acme.key"},
            {"CREDENTIALS_DIRECTORY": "/nonexistent"},
            "the credential acme.key is not among those that systemd passes",
            "Have systemd pass it with LoadCredential=acme.key:PATH",
        ),
        (
            {"file": Path("/nonexistent/acme.key")},
            {},
            "/nonexistent/acme.key is absent or empty",
            "Write the key to /nonexistent/acme.key, readable by its owner alone",
        ),
        (
            {"env": "ACME_KEY"},
            {"ACME_KEY": f"{KEY}\r\nx-evil: 1"},
            "what the variable ACME_KEY holds is not a key: it has spaces, further lines or other "
            "signs in it",
            "Put the key there, and nothing else",
        ),
    ],
)
def test_what_is_missing_and_what_to_do(
    source: Mapping[str, str], environment: Mapping[str, str], why: str, step: str
) -> None:
    asked = provider(**source)
    assert Keyring(environment).absence(asked) == Absence(why, step, refused=why.startswith("what"))
    with pytest.raises(ProviderRefused, match="there is no key for the provider acme") as caught:
        Keyring(environment).key_of(asked)
    told = caught.value.sentence.lower()
    assert "acme_key" not in told
    assert "acme.key" not in told, "clients hear of it"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o601])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path / "acme.key", mode=mode)
    assert Keyring({}).absence(provider(file=file)) == Absence(
        f"others may read {file}", f"Keep them out: chmod 600 {file}", refused=True
    )


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        absence = Keyring({}).absence(provider(file=path))
        assert absence is not None
        assert absence.why == f"{path} is not a file"


def test_a_loop_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    absence = Keyring({}).absence(provider(file=tmp_path / "loop"))
    assert absence is not None
    assert absence.why.startswith(f"{tmp_path / 'loop'} cannot be read: ")


def test_no_key_is_shown(tmp_path: Path) -> None:
    file = written(tmp_path / "acme.key")
    ring = Keyring({"ACME_KEY": f"{KEY} two"})
    assert ring.key_of(provider(file=file)) == KEY
    shown = [repr(ring), str(ring), repr(ring.absence(provider(env="ACME_KEY")))]
    try:
        ring.key_of(provider(env="ACME_KEY"))
    except ProviderRefused as error:
        shown += [*traceback.format_exception(error), repr(error), str(error.openai_body())]
    assert not [text for text in shown if "hunter2" in text]


@given(st.text(max_size=40))
def test_a_key_fits_into_a_header_or_is_refused(text: str) -> None:
    ring = Keyring({"ACME_KEY": text})
    if re.fullmatch("[!-~]+", text.strip()):
        assert ring.key_of(provider(env="ACME_KEY")) == text.strip()
    else:
        with pytest.raises(ProviderRefused):
            ring.key_of(provider(env="ACME_KEY"))
