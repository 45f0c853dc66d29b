"""Where Holdfast keeps its things, from flags and the environment.

What is served and how (`[serve]`) stands in the configuration files, which `catalogue` reads; this
module only says which files those are and where the home is. Precedence: flag, then environment,
then the default.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import ConfigError

VARIABLES: Mapping[str, str] = {
    "HOLDFAST_HOME": "where weights, keys and logs live (default $XDG_DATA_HOME/holdfast)",
    "HOLDFAST_CONFIG": "configuration files laid over the built-in one, separated by ':'",
    "HOLDFAST_LLAMA_SERVER": "the llama-server program to use",
}
"""Every environment variable that Holdfast reads for itself; a test holds the README to it."""

SYSTEM_CONFIG = Path("/etc/holdfast/models.toml")
_SOCKET_PATH_LIMIT = 107  # sizeof(sockaddr_un.sun_path) - 1 on Linux; unix(7)
_LONGEST_SOCKET_NAME = 40


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    configs: tuple[Path, ...]
    """Overlays, in the order in which they are applied to the built-in models.toml."""
    llama_server: Path | None = None

    @property
    def models(self) -> Path:
        """`<home>/models/<org>/<name>/<revision>/` holds the weights."""
        return self.home / "models"

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
    overlays = tuple(configs) or tuple(
        Path(part) for part in environment.get("HOLDFAST_CONFIG", "").split(":") if part
    )
    missing = [path for path in overlays if not path.is_file()]
    if missing:
        raise ConfigError(
            f"configuration file {missing[0]} does not exist",
            next_step="Name an existing file with --config or HOLDFAST_CONFIG",
        )
    if not overlays and system_config.is_file():
        overlays = (system_config,)
    program = environment.get("HOLDFAST_LLAMA_SERVER")
    return Settings(
        home=home.expanduser().absolute(),
        configs=overlays,
        llama_server=Path(program).expanduser() if program else None,
    )


def _home(environment: Mapping[str, str]) -> Path:
    if named := environment.get("HOLDFAST_HOME"):
        return Path(named)
    data = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data) / "holdfast"
