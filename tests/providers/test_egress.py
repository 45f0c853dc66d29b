"""The way out, over real sockets, with servers that say what no good one would."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import datetime
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.catalogue.cloud import Provider
from server.catalogue.router import Router
from server.errors import NoRoute, ProviderError, ProviderRefused, ProviderUnreachable
from server.providers import egress as module
from server.providers.egress import Egress, address, host_of
from server.providers.permit import Permit, permit
from server.providers.provider import Call
from tests.fakes.raw_http import CLOSE, KEEP, raw_server, reply

KEY = "sk-canary-0123456789"
CALL = Call("/v1/x", b'{"text": "hello"}', {"x-version": "1"})
SERVER = Path(module.__file__).parents[1]


@dataclass
class Asking:
    local_only: bool = False
    private_because: str = "the test says so"


@dataclass
class Held:
    host: str
    body: bytes = CALL.body
    open: bool = True


def bearer(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}


def provider_at(url: str) -> Provider:
    return Provider("there", "openai", url)


def leave_for(provider: Provider) -> Permit:
    return permit(Asking(), router=Router(), hold=Held(host_of(provider)))


@contextlib.asynccontextmanager
async def egress(
    environment: Mapping[str, str] | None = None, key: str | None = KEY
) -> AsyncIterator[Egress]:
    out = Egress(lambda provider: key, environment or {}, connect_timeout=20)
    try:
        yield out
    finally:
        await out.close()


async def ask(out: Egress, url: str) -> tuple[int, bytes]:
    there = provider_at(url)
    response = await out.send(leave_for(there), there, CALL, bearer)
    try:
        return response.status, await response.read()
    finally:
        response.close()


async def test_a_call_leaves_with_the_key_and_what_the_protocol_says() -> None:
    async with raw_server([reply(b"[1]")]) as server, egress() as out:
        assert await ask(out, server.url) == (200, b"[1]")
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert body == CALL.body
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /v1/x http/1.1"
    assert f"authorization: bearer {KEY}" in lines
    assert "x-version: 1" in lines
    assert "accept-encoding: identity" in lines
    assert "content-type: application/json" in lines
    assert not [line for line in lines if line.startswith(("cookie", "referer"))]


async def test_a_provider_without_a_key_is_sent_none() -> None:
    async with raw_server([reply()]) as server, egress(key=None) as out:
        await ask(out, server.url)
    assert b"authorization" not in server.requests[0].lower()


async def test_without_a_permit_nothing_is_sent() -> None:
    class Forged(Held):
        def check(self, host: str, body: bytes) -> None:
            return

    async with raw_server([reply()]) as server, egress() as out:
        there = provider_at(server.url)
        for wrong in (None, Forged(host_of(there)), object()):
            with pytest.raises(TypeError):
                await out.send(wrong, there, CALL, bearer)  # type: ignore[arg-type]
        asking = Asking()
        leave = permit(asking, router=Router(), hold=Held(host_of(there)))
        asking.local_only = True
        with pytest.raises(NoRoute):
            await out.send(leave, there, CALL, bearer)
    assert server.connections == 0


async def test_connections_are_used_again() -> None:
    async with raw_server([reply(), KEEP]) as server, egress() as out:
        for _ in range(3):
            await ask(out, server.url)
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_redirect_is_not_followed() -> None:
    async with raw_server([reply()]) as other:
        away = reply(status="307 Temporary Redirect", headers=[f"location: {other.url}/"])
        async with raw_server([away]) as server, egress() as out:
            assert (await ask(out, server.url))[0] == 307
        assert other.connections == 0


async def test_a_cookie_is_not_kept() -> None:
    async with raw_server([reply(headers=["set-cookie: a=b"]), KEEP]) as server, egress() as out:
        await ask(out, server.url)
        await ask(out, server.url)
    assert b"cookie" not in server.requests[1].lower()


async def test_what_is_compressed_is_not_unpacked() -> None:
    answer = reply(b"\x1f\x8b not really", headers=["content-encoding: gzip"])
    async with raw_server([answer]) as server, egress() as out:
        assert await ask(out, server.url) == (200, b"\x1f\x8b not really")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 20_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"",
    ],
    ids=["long header", "many headers", "long status", "another protocol", "smuggled", "nothing"],
)
async def test_a_head_that_is_none_is_a_failure_of_the_provider(answer: bytes) -> None:
    async with raw_server([answer, 0.05, CLOSE]) as server, egress() as out:
        with pytest.raises(ProviderError) as caught:
            await ask(out, server.url)
    assert type(caught.value) is ProviderError, "it may have been sent"
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_what_is_refused_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with egress() as out:
        with pytest.raises(ProviderUnreachable) as caught:
            await ask(out, f"http://127.0.0.1:{port}")
    assert caught.value.why == f"127.0.0.1:{port}: Connection refused"


async def test_an_unknown_name_was_never_sent() -> None:
    async with egress() as out:
        with pytest.raises(ProviderUnreachable, match="its name cannot be resolved"):
            await ask(out, "https://no-such-host.invalid")


async def test_a_name_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # The way to a name server that does not answer is not ours to change, but the bound is.
    monkeypatch.setattr(module, "DNS_TIMEOUT", 0.0)
    async with egress() as out:
        with pytest.raises(ProviderUnreachable, match="its name cannot be resolved"):
            await ask(out, "https://no-such-host.invalid")


async def test_a_certificate_that_is_not_to_be_trusted_ends_it(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1))
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    async with egress() as out:
        with pytest.raises(ProviderUnreachable, match="its certificate is not to be trusted"):
            await ask(out, f"https://127.0.0.1:{port}")
    listening.close()
    assert seen in ([], [b""])


async def test_a_key_that_is_not_there_is_told_and_nothing_sent() -> None:
    def none(provider: Provider) -> str | None:
        raise ProviderRefused(f"{provider.id} has no key")

    async with raw_server([reply()]) as server:
        out = Egress(none, {})
        with pytest.raises(ProviderRefused, match="there has no key"):
            await ask(out, server.url)
        await out.close()
    assert server.connections == 0


async def test_a_proxy_of_the_environment_is_used_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with raw_server([reply(b"by proxy"), KEEP]) as proxy:
        variables = {"http_proxy": f"http://me:secret@127.0.0.1:{proxy.port}"}
        async with egress(variables) as out:
            for _ in range(2):
                assert await ask(out, "http://api.example.com") == (200, b"by proxy")
    assert proxy.requests[0].startswith(b"POST http://api.example.com/v1/x HTTP/1.1")
    told = [record.getMessage() for record in caplog.records if "proxy" in record.getMessage()]
    assert told == ["requests to api.example.com go through the proxy 127.0.0.1"]


@pytest.mark.parametrize(
    "variables",
    [
        {"http_proxy": "{proxy}", "no_proxy": "api.invalid"},
        {"http_proxy": "{proxy}", "no_proxy": ".invalid"},
        {"https_proxy": "{proxy}"},
        {"HTTP_PROXY": "{proxy}", "NO_PROXY": "*"},
    ],
)
async def test_no_proxy_is_used_where_none_is_meant(variables: dict[str, str]) -> None:
    async with raw_server([reply(b"by proxy")]) as proxy:
        told = {name: text.format(proxy=proxy.url) for name, text in variables.items()}
        async with egress(told) as out:
            with pytest.raises(ProviderUnreachable, match="its name cannot be resolved"):
                await ask(out, "http://api.invalid")
        assert proxy.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_what_is_on_this_machine_is_never_asked_through_a_proxy(host: str) -> None:
    variables = {"http_proxy": "http://127.0.0.1:1"}
    async with raw_server([reply(b"straight")]) as server, egress(variables) as out:
        assert await ask(out, f"http://{host}:{server.port}") == (200, b"straight")


async def test_a_proxy_that_is_not_there_or_refuses_is_told_as_such() -> None:
    async with egress({"http_proxy": "http://me:secret@127.0.0.1:1"}) as out:
        with pytest.raises(ProviderUnreachable) as caught:
            await ask(out, "http://api.example.com")
    assert "api.example.com:80 through the proxy 127.0.0.1: Connection refused" in str(caught.value)
    assert "NO_PROXY" in caught.value.next_step
    assert "secret" not in str(caught.value)


async def test_who_leaves_closes_the_connection() -> None:
    never = asyncio.Event()
    async with raw_server([never]) as server, egress() as out:
        asking = asyncio.create_task(ask(out, server.url))
        while not server.requests:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(server.gone.wait(), 60)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com", "api.example.com"),
        ("https://api.example.com:8443/v1", "api.example.com:8443"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://api.example.com", "api.example.com:80"),
    ],
)
def test_the_host_is_told_with_its_port_unless_that_is_443(url: str, host: str) -> None:
    assert host_of(provider_at(url)) == host


@pytest.mark.parametrize(
    "path", ["v1", "@evil.example/", ":80@evil.example/", ".evil.example/", ""]
)
def test_no_path_leads_elsewhere(path: str) -> None:
    with pytest.raises(ValueError, match="no path below"):
        address(provider_at("https://api.example.com"), path)


def test_a_path_is_below_the_providers_own() -> None:
    there = provider_at("https://api.example.com/base")
    assert str(address(there, "/v1/a:b?alt=sse")) == "https://api.example.com/base/v1/a:b?alt=sse"
    assert address(there, "//evil.example/").host == "api.example.com"


# ---- Nobody else ----

OURS = {
    "providers/egress.py",
    "cli/admin.py",  # a UNIX socket
    "engines/process.py",  # a pair of sockets of its own
}
BY_NAME = {"TCPConnector", "create_connection", "open_connection", "start_connection", "urlopen"}
CLIENTS = {"http.client", "httpx", "httpx2", "requests", "urllib3"}


def test_nobody_else_opens_a_connection_to_elsewhere() -> None:
    """The store does, to hubs and mirrors: for weights, and never on behalf of a request, whose way
    it does not lie on. The command line's own programs ask a Holdfast, as any client does."""
    found = {
        name
        for file in sorted(SERVER.rglob("*.py"))
        if not (name := str(file.relative_to(SERVER))).startswith("store/")
        for node in ast.walk(ast.parse(file.read_text()))
        if _connects(node)
    }
    assert "providers/egress.py" in found, "the test does not see what it looks for"
    assert found <= OURS, found - OURS


def _connects(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in BY_NAME
        case ast.Import(names=names):
            return any(alias.name in CLIENTS for alias in names)
        case ast.ImportFrom(module=base, names=names):
            return base in CLIENTS or any(f"{base}.{alias.name}" in CLIENTS for alias in names)
        case ast.Call(func=ast.Attribute(attr="ClientSession"), keywords=given):
            # Without a connector of its own, aiohttp's session opens TCP connections.
            return "connector" not in {keyword.arg for keyword in given}
        case ast.Call(func=ast.Attribute(attr="connect", value=value)):
            return ast.unparse(value).endswith("socket")
    return False


def self_signed(folder: Path) -> Path:
    """A certificate of nobody's, with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file
