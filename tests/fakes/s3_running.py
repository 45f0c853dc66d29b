"""A real S3 server program on loopback, moto's, for a test: `with running_s3() as s3`."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 60.0  # seconds
_AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=tester/20261121/us-east-1/s3/aws4_request"


@dataclass(frozen=True, slots=True)
class S3:
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    """One line for each request that it answered."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program must have in its environment to use it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-output-may-show",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def make_bucket(self, name: str) -> None:
        self.request("PUT", f"/{name}")

    def requests(self, method: str = "") -> list[str]:
        """Lines such as `"PUT /bucket/key?partNumber=1&uploadId=... HTTP/1.1" 200`."""
        lines = self.log.read_text().splitlines()
        return [line.split('"', 1)[1] for line in lines if f'"{method}' in line]

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Asks the server behind Holdfast's back; it wants a key, and checks no signature."""
        host = self.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            connection.request(method, path, body, {"Host": host, "Authorization": _AUTHORIZATION})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, f"{method} {path}: {answer.status}"
        return content


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """The server, until the block is left; it logs into `folder`."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    log = folder / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait(port, process, log)
        yield S3(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the S3 server does not answer: {log.read_text()[-2000:]}")
