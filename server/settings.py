"""Where Holdfast keeps its things, from flags and the environment.

What is served and how (`[serve]`) stands in the configuration files, which `catalogue` reads; this
module only says which files those are and where the home is. Precedence: flag, then environment,
then the default.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from server.errors import ConfigError

VARIABLES: Mapping[str, str] = {
    "HOLDFAST_HOME": "where weights, keys and logs live (default $XDG_DATA_HOME/holdfast)",
    "HOLDFAST_CONFIG": "configuration files laid over the built-in one, separated by ':'",
    "HOLDFAST_LLAMA_SERVER": "the llama-server program to use",
    "HOLDFAST_VLLM_PYTHON": "the Python of the environment that vLLM is in",
    "HF_ENDPOINT": "the hub to pull from (default https://huggingface.co)",
    "HF_TOKEN": "the token for that hub",
    "HF_TOKEN_PATH": "the file with the token, where HF_TOKEN is not set",
    "HF_HOME": "the folder whose file `token` is used, where neither of these is set",
    "HF_HUB_OFFLINE": "1: no hub is asked for anything",
    "MODELSCOPE_ENDPOINT": "the second source (default https://modelscope.cn)",
}
"""Every environment variable that Holdfast reads for itself; a test holds the README to it.

Those of Hugging Face's own tools mean what they mean there.
"""

SYSTEM_CONFIG = Path("/etc/holdfast/models.toml")
_SOCKET_PATH_LIMIT = 107  # sizeof(sockaddr_un.sun_path) - 1 on Linux; unix(7)
_LONGEST_SOCKET_NAME = 40
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})  # as huggingface_hub reads its flags


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    configs: tuple[Path, ...]
    """Overlays, in the order in which they are applied to the built-in models.toml."""
    llama_server: Path | None = None
    vllm_python: Path | None = None
    hub_endpoint: str | None = None
    """Address of the hub, without a slash at its end; None: `[store] hub`, else Hugging Face."""
    hub_token: str | None = field(default=None, repr=False)
    """For the hub alone: it goes to no other host, and into no log or message."""
    offline: bool = False
    modelscope_endpoint: str | None = None

    @property
    def models(self) -> Path:
        """`<home>/models/<org>/<name>/<revision>/` holds the weights."""
        return self.home / "models"

    @property
    def state(self) -> Path:
        """What Holdfast remembers of its work; nothing in it is needed to read the weights."""
        return self.home / "state"

    @property
    def ledger(self) -> Path:
        """The book of requests and money, with its secret, its lock and its log beside it."""
        return self.home / "ledger" / "book.db"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def keys_file(self) -> Path:
        return self.home / "keys.json"

    @property
    def run(self) -> Path:
        """Folder of sockets and the lock: `<home>/run`.

        A UNIX socket's path is limited to 107 bytes, so a long home gets a folder of its own in
        the temporary directory, named after the user and the home: every command finds the same.
        """
        natural = self.home / "run"
        if len(os.fsencode(natural)) + _LONGEST_SOCKET_NAME <= _SOCKET_PATH_LIMIT:
            return natural
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"holdfast-{os.getuid()}-{digest}"

    @property
    def admin_socket(self) -> Path:
        return self.run / "admin.sock"


def load(
    environment: Mapping[str, str],
    *,
    home: Path | None = None,
    configs: Sequence[Path] = (),
    system_config: Path = SYSTEM_CONFIG,
) -> Settings:
    """Settings from flags (the keyword arguments) over `environment`. Raises ConfigError."""
    if home is None:
        home = _home(environment)
    return Settings(
        home=home.expanduser().absolute(),
        configs=overlays(environment, configs, system_config),
        llama_server=_program(environment, "HOLDFAST_LLAMA_SERVER"),
        vllm_python=_program(environment, "HOLDFAST_VLLM_PYTHON"),
        hub_endpoint=_endpoint(environment, "HF_ENDPOINT"),
        hub_token=_token(environment),
        offline=environment.get("HF_HUB_OFFLINE", "").strip().upper() in _TRUE,
        modelscope_endpoint=_endpoint(environment, "MODELSCOPE_ENDPOINT"),
    )


def overlays(
    environment: Mapping[str, str],
    configs: Sequence[Path] = (),
    system_config: Path = SYSTEM_CONFIG,
) -> tuple[Path, ...]:
    """The files that are laid over the built-in configuration: those named by flags, else by
    `environment`, else the system's where there is one now. Raises ConfigError."""
    named = tuple(configs) or tuple(
        Path(part) for part in environment.get("HOLDFAST_CONFIG", "").split(":") if part
    )
    missing = [path for path in named if not path.is_file()]
    if missing:
        raise ConfigError(
            f"configuration file {missing[0]} does not exist",
            next_step="Name an existing file with --config or HOLDFAST_CONFIG",
        )
    return named or ((system_config,) if system_config.is_file() else ())


def endpoint(text: str) -> str:
    """The address of a hub, without a slash at its end. Raises ValueError."""
    expected = 'expected an address such as "http://box:8000/hf", without a user, "?" or "#"'
    if not re.fullmatch(r"https?://[\x21-\x7e]{1,500}", text):
        raise ValueError(expected)
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError(expected) from error
    if not parts.hostname or not port_is_right or "@" in parts.netloc or set("?#") & set(text):
        raise ValueError(expected)
    return text.rstrip("/")


def _program(environment: Mapping[str, str], variable: str) -> Path | None:
    named = environment.get(variable)
    return Path(named).expanduser() if named else None


def _endpoint(environment: Mapping[str, str], variable: str) -> str | None:
    text = environment.get(variable, "").strip()
    if not text:
        return None
    try:
        return endpoint(text)
    except ValueError as error:
        # The value itself is not shown: a password may stand in it.
        raise ConfigError(
            f"{variable} is not an address: {error}",
            next_step=f"Correct {variable} or unset it",
        ) from error


def _token(environment: Mapping[str, str]) -> str | None:
    """The token where huggingface_hub's own `get_token` finds it: the variable, else its file."""
    if token := environment.get("HF_TOKEN", "").strip():
        return token
    home = environment.get("HF_HOME") or (
        Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    )
    path = Path(environment.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser()
    try:
        return path.read_text().strip() or None
    except (OSError, ValueError):
        return None


def _home(environment: Mapping[str, str]) -> Path:
    if named := environment.get("HOLDFAST_HOME"):
        return Path(named)
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data) / "holdfast"
