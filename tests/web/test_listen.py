import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import BindError
from server.web.listen import is_loopback, listen, listen_unix, lock_run_folder


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "no.such.host.invalid"])
def test_what_others_may_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_port_in_use_names_who_holds_it() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(BindError, match=rf"process {os.getpid()} \(.*--port {port + 1}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "why"),
    [("no.such.host.invalid", "not an address"), ("192.0.2.7", "has no such address")],
)
def test_a_bad_address_is_explained(host: str, why: str) -> None:
    with pytest.raises(BindError, match=why):
        listen(host, 0)


def test_the_admin_socket_is_for_its_owner_alone_and_replaces_a_leftover(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listen_unix(path).close()
    with listen_unix(path) as sock:
        assert sock.family == socket.AF_UNIX
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_holdfast_on_the_same_home_names_the_first(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from server.web.listen import lock_run_folder\n"
        "lock_run_folder(pathlib.Path(sys.argv[1]))\n"
    )
    with lock_run_folder(tmp_path / "run"):
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True
        )
    assert f"another Holdfast (process {os.getpid()})" in second.stderr
    with lock_run_folder(tmp_path / "run"):
        pass
