"""A copy in an S3-compatible bucket, through s3fs (the extra `holdfast[s3]`).

Address, keys and region come from where every S3 tool has them: AWS_ENDPOINT_URL_S3,
AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.aws. None of them is kept or shown by Holdfast.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import ConfigError, HubError, StoreError
from server.store.copies.delivery import differs, digest, open_at
from server.store.copies.place import SMALL, OnBytes
from server.units import MIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Limits of S3's multipart uploads: 5 MiB to 5 GiB a part, 10,000 parts.
_PART = 16 * MIB
_MOST_PARTS = 10_000
_AT_ONCE = 4
_LONGEST_REASON = 300


def part_bytes(size: int) -> int:
    """Bytes of each part but the last of a file of `size` bytes; a whole number of MiB."""
    return max(_PART, -(-size // (_MOST_PARTS * MIB)) * MIB)


class Bucket:
    """A Place. Objects appear whole or not at all; cut uploads are gone on with part by part."""

    def __init__(self, address: str, part: int | None = None) -> None:
        """`address` is `s3://bucket/prefix`. Raises ConfigError where the extra is missing."""
        try:
            import s3fs
        except ImportError as error:
            raise ConfigError(
                f"the copy {address} needs the extra holdfast[s3]",
                problems=(f"{error.name} is not installed",),
                next_step="Install it with `scripts/setup --s3`",
            ) from error
        self._address = address
        self._bucket, _, prefix = address.removeprefix("s3://").strip("/").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._part = part
        self._s3: Any = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        self._sending = ThreadPoolExecutor(_AT_ONCE, "s3-part")

    @property
    def address(self) -> str:
        return self._address

    def reach(self) -> None:
        self._call("list_objects_v2", Prefix=self._prefix, MaxKeys=1)

    def free(self) -> int | None:
        return None

    def find(self, folder: str = "") -> Mapping[str, int]:
        below = f"{self._prefix}{folder}".rstrip("/")
        prefix = f"{below}/" if below else ""
        found: dict[str, int] = {}
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            for entry in page.get("Contents", ()):
                found[entry["Key"].removeprefix(self._prefix)] = entry["Size"]
            if not page.get("IsTruncated"):
                return {path: size for path, size in found.items() if not path.startswith(".")}
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, path: str) -> bytes | None:
        with self._told():
            try:
                data: bytes = self._s3.cat_file(self._named(path), start=0, end=SMALL)
            except FileNotFoundError:
                return None
            return data

    def write(self, path: str, data: bytes) -> None:
        self._call("put_object", Key=self._key(path), Body=data)

    def remove(self, path: str) -> None:
        self._call("delete_object", Key=self._key(path))

    def open(self, path: str, offset: int = 0) -> io.RawIOBase:
        size = self._call("head_object", Key=self._key(path))["ContentLength"]
        return _Object(self, path, offset, size)

    def fetch(self, path: str, begin: int, end: int) -> bytes:
        """Bytes `begin` to `end` (not with it) of an object. Raises HubError."""
        with self._told():
            data: bytes = self._s3.cat_file(self._named(path), start=begin, end=end)
            return data

    def put(self, path: str, source: Path, size: int, sha256: str, on_bytes: OnBytes) -> None:
        resumed = self._send(path, source, size, on_bytes)
        found = digest(self.open(path), on_bytes)
        if found != sha256 and resumed:
            self._send(path, source, size, on_bytes)
            found = digest(self.open(path), on_bytes)
        if found != sha256:
            self.remove(path)
            raise differs(f"{self._address}/{path}", sha256, found, digest(open_at(source, 0)))

    def lock(self, command: str) -> contextlib.AbstractContextManager[None]:
        # A bucket has no locks. Two runs at once send the same bytes to the same names.
        return contextlib.nullcontext()

    def tidy(self, folder: str) -> None:
        for upload in self._uploads(self._key(folder).rstrip("/") + "/"):
            self._abort(upload)

    # ---- Uploads ----

    def _send(self, path: str, source: Path, size: int, on_bytes: OnBytes) -> bool:
        """The object sent; whether parts that a former run had sent are in it."""
        part = self._part or part_bytes(size)
        with _opened(source) as handle:
            if size <= part:
                self._call("put_object", Key=self._key(path), Body=os.pread(handle, size, 0))
                on_bytes(size)
                return False
            upload, there = self._begun(self._key(path), size, part)
            resumed = bool(there)
            on_bytes(sum(min(part, size - part * (number - 1)) for number in there))
            missing = [n for n in range(1, -(-size // part) + 1) if n not in there]
            send = partial(self._send_part, upload, handle, size, part, on_bytes)
            futures = {number: self._sending.submit(send, number) for number in missing}
            try:
                there |= {number: future.result() for number, future in futures.items()}
            finally:  # none may read from the handle once it is closed, and perhaps another file's
                for future in futures.values():
                    future.cancel()
                wait(futures.values())
        parts = [{"PartNumber": number, "ETag": there[number]} for number in sorted(there)]
        self._call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
        return resumed

    def _send_part(
        self, upload: dict[str, str], handle: int, size: int, part: int, on_bytes: OnBytes, n: int
    ) -> str:
        begin = part * (n - 1)
        body = os.pread(handle, min(part, size - begin), begin)
        tag: str = self._call("upload_part", **upload, PartNumber=n, Body=body)["ETag"]
        on_bytes(len(body))
        return tag

    def _begun(self, key: str, size: int, part: int) -> tuple[dict[str, str], dict[int, str]]:
        """An upload to go on with, a new one if there is none, and its parts' tags by number."""
        for upload in self._uploads(key):
            if upload["Key"] != key:
                continue
            parts = self._parts(upload)
            if all(bytes_ == min(part, size - part * (n - 1)) for n, (bytes_, _) in parts.items()):
                return upload, {number: tag for number, (_, tag) in parts.items()}
            self._abort(upload)
        made = self._call("create_multipart_upload", Key=key)
        return {"Key": key, "UploadId": made["UploadId"]}, {}

    def _uploads(self, prefix: str) -> Iterator[dict[str, str]]:
        """Uploads that were not completed; none where the server cannot list them."""
        more: dict[str, str] = {}
        while True:
            try:
                page = self._call("list_multipart_uploads", Prefix=prefix, **more)
            except HubError as error:
                if getattr(error.__cause__, "errno", None) == errno.ENOSYS:
                    return
                raise
            for upload in page.get("Uploads") or ():
                yield {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            if not page.get("IsTruncated"):
                return
            more = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def _parts(self, upload: dict[str, str]) -> dict[int, tuple[int, str]]:
        """The parts of an unfinished upload that have arrived: number -> bytes and tag."""
        parts: dict[int, tuple[int, str]] = {}
        marker = 0
        while True:
            page = self._call("list_parts", **upload, PartNumberMarker=marker)
            for entry in page.get("Parts") or ():
                parts[entry["PartNumber"]] = (entry["Size"], entry["ETag"])
            if not page.get("IsTruncated"):
                return parts
            marker = page["NextPartNumberMarker"]

    def _abort(self, upload: dict[str, str]) -> None:
        self._call("abort_multipart_upload", **upload)

    # ---- Calls ----

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _named(self, path: str) -> str:
        return f"{self._bucket}/{self._key(path)}"

    def _call(self, method: str, **arguments: object) -> Any:
        with self._told():
            return self._s3.call_s3(method, Bucket=self._bucket, **arguments)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        from aiohttp import ClientError
        from botocore.exceptions import BotoCoreError

        try:
            yield
        except FileNotFoundError as error:
            raise HubError(
                f"the copy {self._address} lacks something that should be there",
                why=_reason(error),
                next_step="See what it holds with `holdfast mirror status`",
            ) from error
        except (OSError, BotoCoreError, ClientError, ValueError) as error:
            raise HubError(
                f"the copy {self._address} cannot be reached",
                why=_reason(error),
                next_step="Check AWS_ENDPOINT_URL_S3, the keys (AWS_ACCESS_KEY_ID or AWS_PROFILE), "
                "and that the bucket exists",
            ) from error


class _Object(io.RawIOBase):
    """An object read forwards in pieces, each by its own ranged and repeatable request."""

    def __init__(self, bucket: Bucket, path: str, offset: int, size: int) -> None:
        self._bucket, self._path = bucket, path
        self._at, self._size = offset, size
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if not self._piece and self._at < self._size:
            end = min(self._at + _PART, self._size)
            self._piece = memoryview(self._bucket.fetch(self._path, self._at, end))
            self._at += len(self._piece)
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[int]:
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"{source} cannot be read", why=error.strerror or str(error)) from error
    try:
        yield handle
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:_LONGEST_REASON] or type(error).__name__
