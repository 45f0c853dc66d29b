"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Pure."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from server.errors import ConfigError
from server.store.transfer.hop import Origin


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    headers: Mapping[str, str] = field(repr=False)
    """Proxy-Authorization, if the variable has a name and password in it."""


def proxy_for(origin: Origin, environment: Mapping[str, str]) -> Proxy | None:
    """None: straight. Raises ConfigError if the variable has no proxy in it that can be used."""
    variables = _variables(environment)
    # The standard library knows NO_PROXY's forms: suffixes, ports, `*`.
    if urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
        f"{origin.host}:{origin.port}", variables
    ):
        return None
    value = variables.get(origin.scheme) or variables.get("all")
    if not value:
        return None
    name = f"{origin.scheme}_proxy" if origin.scheme in variables else "all_proxy"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port or 80
    except ValueError:
        raise ConfigError(f"the variable {name} is not the address of a proxy") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(
            f"the variable {name} names a proxy of a kind that is not supported",
            problems=(f"{parts.scheme}:// is not http://",),
            next_step="Name an HTTP proxy: http://HOST:PORT",
        )
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
    return Proxy(parts.hostname, port, headers)


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """`http`, `https`, `all`, `no` -> value; lower case wins, as in curl."""
    found: dict[str, str] = {}
    for lower in (False, True):
        for variable, value in environment.items():
            scheme, underscore, end = variable.rpartition("_")
            if not underscore or end.lower() != "proxy" or variable.islower() != lower:
                continue
            if lower and not value:
                found.pop(scheme.lower(), None)
            elif value:
                found[scheme.lower()] = value
    return found
