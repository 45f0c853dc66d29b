"""The ways to a hub: encrypted, through a proxy, and what must not be on them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import ConfigError, HubError
from tests.fakes.hub_running import FakeHub, running_hub
from tests.fakes.proxy import running_proxy
from tests.integration.store.transfer.fetching import (
    LARGE,
    SMALL,
    TOKEN,
    Repository,
    write_repository,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=hub",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def secure(certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[FakeHub]:
    write_repository(tmp_path / "secure")
    options = ["--certificate", str(certificate[0]), "--key", str(certificate[1])]
    with running_hub(tmp_path / "secure", *options) as hub:
        yield hub


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_over_tls(
    repository: Repository, secure: FakeHub, certificate: tuple[Path, Path], variable: str
) -> None:
    secure.faults({"match": LARGE, "kind": "cut", "times": 2})
    wants = [repository.want(path, repository.url(path, secure)) for path in repository.files]
    repository.fetch(*wants, environment={variable: str(certificate[0])})
    repository.assert_right()
    assert secure.url.startswith("https://")
    assert all(
        "authorization" not in one["headers"] for one in secure.log() if one["where"] == "cdn"
    )


def test_a_certificate_that_nobody_vouches_for(repository: Repository, secure: FakeHub) -> None:
    with pytest.raises(HubError, match="certificate of the hub is not trusted") as caught:
        repository.fetch(repository.want(SMALL, repository.url(SMALL, secure)))
    assert "SSL_CERT_FILE" in caught.value.next_step
    assert secure.log() == []


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read(
    repository: Repository, tmp_path: Path, content: str | None
) -> None:
    named = tmp_path / "authority.pem"
    if content is not None:
        named.write_text(content)
    with pytest.raises(ConfigError, match="REQUESTS_CA_BUNDLE") as caught:
        repository.fetch(environment={"REQUESTS_CA_BUNDLE": str(named)})
    assert str(named) in caught.value.why


def test_through_a_proxy(repository: Repository) -> None:
    with running_proxy("me:w rd") as proxy:
        variables = {"http_proxy": f"http://me:w%20rd@{proxy.address}"}
        repository.fetch(environment=variables)
    repository.assert_right()
    assert len(proxy.seen) == len(repository.hub.log())
    assert all(target.startswith("http://127.0.0.1:") for _, target, _ in proxy.seen)


def test_through_a_proxy_and_encrypted(
    repository: Repository, secure: FakeHub, certificate: tuple[Path, Path]
) -> None:
    with running_proxy("me:word") as proxy:
        variables = {
            "HTTPS_PROXY": f"http://me:word@{proxy.address}",
            "REQUESTS_CA_BUNDLE": str(certificate[0]),
        }
        repository.fetch(
            repository.want(LARGE, repository.url(LARGE, secure)), environment=variables
        )
    repository.assert_right(LARGE)
    assert {method for method, _, _ in proxy.seen} == {"CONNECT"}
    assert {target for _, target, _ in proxy.seen} == {
        url.removeprefix("https://") for url in (secure.url, secure.cdn)
    }
    assert not any("authorization" in headers for _, _, headers in proxy.seen)
    assert not any("proxy-authorization" in one["headers"] for one in secure.log())
    hub = [one["headers"] for one in secure.log() if one["where"] == "hub"]
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in hub)


def test_a_proxy_that_does_not_let_us_in(repository: Repository, secure: FakeHub) -> None:
    with running_proxy("me:word") as proxy:
        variables = {
            "http_proxy": f"http://me:wrong@{proxy.address}",
            "https_proxy": f"http://me:wrong@{proxy.address}",
        }
        with pytest.raises(HubError, match="proxy does not let") as caught:
            repository.fetch(repository.want(SMALL), environment=variables)
        encrypted = repository.url(SMALL, secure)
        with pytest.raises(HubError, match="proxy does not let"):
            repository.fetch(repository.want(SMALL, encrypted), environment=variables)
    assert "wrong" not in caught.value.sentence
    assert repository.hub.log() == secure.log() == []


def test_not_through_a_proxy(repository: Repository) -> None:
    with running_proxy() as proxy:
        variables = {"http_proxy": f"http://{proxy.address}", "no_proxy": "127.0.0.1"}
        repository.fetch(repository.want(SMALL), environment=variables)
    assert proxy.seen == []


def test_a_proxy_of_a_kind_we_do_not_speak(repository: Repository) -> None:
    with pytest.raises(HubError, match="http_proxy"):
        repository.fetch(repository.want(SMALL), environment={"http_proxy": "socks5://127.0.0.1:1"})
