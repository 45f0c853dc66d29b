"""The only place from which a byte of a request may leave this machine for a cloud.

`Egress.send` needs a `Permit`, and asks it once more before it opens a connection. Where the call
goes is the catalogue's to say and with which key is the provider's; nothing of a request is in a
URL or a header. Certificates are checked, redirects are not followed, cookies and ~/.netrc are not
known, and answers are not unpacked: a small one cannot become a huge one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from server.catalogue.cloud import Provider
from server.catalogue.routing_field import is_loopback
from server.errors import ProviderError, ProviderUnreachable
from server.providers.permit import Permit
from server.providers.provider import Call

log = logging.getLogger("holdfast")

DNS_TIMEOUT: Final = 2.0
CONNECT_TIMEOUT: Final = 5.0
"""Seconds; the second of them also for TLS."""
_KEEP_ALIVE: Final = 15.0  # seconds; the clouds' own are a minute and more
_RESOLVERS: Final = 4  # threads: one that hangs must not keep others from their own work
_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
_LONGEST_HEADER: Final = 8190  # bytes
_MOST_HEADERS: Final = 128


class Egress:
    """The connections to clouds. Belongs to one event loop; `close` ends them.

    `key_of` finds a provider's key, or None where it needs none; it raises HoldfastError where
    there is none to be found. `environment` may name proxies (HTTPS_PROXY and its like). `on_sent`
    hears of each body that is about to leave: the provider's id, and its bytes.
    """

    def __init__(
        self,
        key_of: Callable[[Provider], str | None],
        environment: Mapping[str, str] = os.environ,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        on_sent: Callable[[str, int], None] = lambda provider, size: None,
    ) -> None:
        self._key_of = key_of
        self._environment = environment
        self._connect_timeout = connect_timeout
        self._on_sent = on_sent
        self._session: aiohttp.ClientSession | None = None
        self._told: set[str] = set()

    async def send(
        self,
        permit: Permit,
        provider: Provider,
        call: Call,
        authentication: Callable[[str], Mapping[str, str]],
    ) -> aiohttp.ClientResponse:
        """Send `call` to `provider`; the head of its answer, whatever its status.

        The caller closes it. Raises what `permit` forbids it with, ProviderUnreachable where
        nothing was sent, and ProviderError where the connection broke after that. It sets no bound
        to the time until the provider answers: who asks knows how long that may be.
        """
        # A permit is what it says only if it is one; nothing that looks like it will do.
        if type(permit) is not Permit:
            raise TypeError("egress needs a Permit")
        url = address(provider, call.path)
        permit.check(host_of(provider), call.body)
        key = self._key_of(provider)
        headers = {
            **call.headers,
            "content-type": call.content_type,
            "accept-encoding": "identity",
            "user-agent": "holdfast",
            **({} if key is None else authentication(key)),
        }
        proxy = self._proxy_for(url)
        self._on_sent(provider.id, len(call.body))
        try:
            return await self._open().post(
                url,
                data=call.body,
                headers=headers,
                allow_redirects=False,
                proxy=proxy,
            )
        except _NEVER_SENT as error:
            raise _unreachable(provider, error, proxy) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not chained: an error of the client may show the headers, and so the key.
            raise broken(provider, error) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEEP_ALIVE, resolver=_Resolver()
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=None, sock_connect=self._connect_timeout
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
                max_headers=_MOST_HEADERS,
            )
        return self._session

    def _proxy_for(self, url: URL) -> str | None:
        """What the usual variables say, of addresses elsewhere; told once for each proxy, without
        its password."""
        if is_loopback(url.host or ""):
            return None
        proxies = _proxies(self._environment)
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
        proxy = proxies.get(url.scheme) or proxies.get("all")
        if not proxy or bypass(f"{url.host}:{url.port}", proxies):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if proxy not in self._told:
            self._told.add(proxy)
            log.info("requests to %s go through the proxy %s", url.host, urlsplit(proxy).hostname)
        return proxy


def host_of(provider: Provider) -> str:
    """The host of `provider`, with its port where that is not 443."""
    url = URL(provider.url)
    return f"{url.host}" if url.port == 443 else f"{url.host}:{url.port}"


def address(provider: Provider, path: str) -> URL:
    """Where `path` is at `provider`. Raises ValueError for one that would lead elsewhere."""
    url = URL(provider.url + path, encoded=True)
    if not path.startswith("/") or url.origin() != URL(provider.url).origin():
        raise ValueError(f"{path!r} is no path below {provider.id}'s address")
    return url


def broken(provider: Provider, error: Exception) -> ProviderError:
    """The connection to `provider` ended in the middle."""
    return ProviderError(
        f"{provider.id} broke off",
        why=f"its connection ended ({type(error).__name__})",
        next_step="Send the request again",
    )


def _unreachable(provider: Provider, error: Exception, proxy: str | None) -> ProviderUnreachable:
    by = "" if proxy is None else f" through the proxy {urlsplit(proxy).hostname}"
    return ProviderUnreachable(
        f"{provider.id} cannot be reached",
        why=f"{host_of(provider)}{by}: {_why(error)}",
        next_step="Check the network and the provider's url in models.toml"
        if proxy is None
        else "Check the proxy; NO_PROXY names what is asked without it",
    )


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not to be trusted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS failed"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "it does not answer"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    number = error.os_error.errno if isinstance(error, aiohttp.ClientConnectorError) else None
    return os.strerror(number) if number else type(error).__name__


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """`http`, `https`, `all`, `no` -> value; lower case wins, as in curl."""
    found = {}
    for lower in (False, True):
        for name, value in environment.items():
            scheme, _, end = name.rpartition("_")
            if end.lower() == "proxy" and scheme and name.islower() == lower and value:
                found[scheme.lower()] = value
    return found


class _Resolver(AbstractResolver):
    """getaddrinfo on threads of its own, given up after DNS_TIMEOUT."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        looking = loop.run_in_executor(
            self._threads,
            lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM),
        )
        try:
            async with asyncio.timeout(DNS_TIMEOUT):
                found = await looking
        except TimeoutError:
            raise OSError(f"no answer within {DNS_TIMEOUT:g} s") from None
        return [
            ResolveResult(
                hostname=host,
                host=str(name[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, name in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
