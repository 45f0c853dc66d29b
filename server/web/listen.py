"""Listening sockets, with errors that say who is in the way."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
from pathlib import Path
from typing import IO

import psutil

from server.errors import BindError, ConfigError

_BACKLOG = 2048


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name counts when all it stands for does."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(str(a).partition("%")[0]).is_loopback for a in addresses)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises BindError; for a port in use it names the process."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise BindError(
            f"cannot listen on {host}",
            why=f"it is not an address: {error.strerror}",
            next_step="Use 127.0.0.1, 0.0.0.0 or an address of this machine",
        ) from error
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _explain(error, host, port) from error
    sock.setblocking(False)
    return sock


def listen_unix(path: Path) -> socket.socket:
    """A listening UNIX socket that only its owner's processes can open.

    The caller holds the run folder's lock, so a socket that is there already is a leftover.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(mask)
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def lock_run_folder(folder: Path) -> IO[str]:
    """Make `folder`, for its owner alone, and lock it while the returned file is open.

    Raises ConfigError when it is not ours, BindError naming the process that holds it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(
            f"the folder {folder} belongs to another user",
            next_step="Use a home of your own: --home or HOLDFAST_HOME",
        )
    folder.chmod(0o700)
    file = open(folder / "lock", "a+", encoding="ascii")  # noqa: SIM115 - held while serving
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise BindError(
            f"another Holdfast (process {holder}) is serving from {folder.parent}",
            next_step="Stop it, or give this one another --home",
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _explain(error: OSError, host: str, port: int) -> BindError:
    what = f"cannot listen on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return BindError(
            what,
            why=f"the port is in use by {_holder(port)}",
            next_step=f"Stop that, or choose another port: --port {port + 1}",
        )
    if error.errno == errno.EACCES:
        return BindError(
            what,
            why="ports below 1024 are for root",
            next_step="Choose a port of 1024 or more with --port",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return BindError(
            what,
            why="this machine has no such address",
            next_step="Use 127.0.0.1, 0.0.0.0 or an address of this machine",
        )
    return BindError(what, why=error.strerror or str(error))


def _holder(port: int) -> str:
    """Who listens on `port`, as far as this user may see."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        connections = []
    for connection in connections:
        listening = connection.status == psutil.CONN_LISTEN
        if not listening or not connection.laddr or connection.laddr.port != port:
            continue
        if connection.pid is None:
            break
        try:
            return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
        except psutil.NoSuchProcess:
            break
    return "a process of another user"
