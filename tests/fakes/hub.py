"""A program that stands where huggingface.co does, its CDN included, and fails when asked to.

    python tests/fakes/hub.py --root DIR [--port 0] [--token TOKEN] [--certificate FILE --key FILE]

It prints one line of JSON, {"url": …, "cdn": …}, and serves until it is ended. What lies where
under DIR, see hub_repositories.py; what can go wrong, hub_faults.py. What it speaks:
    Hugging Face   /api/models/{id}[/revision/{rev}][?blobs=true], …/tree/{rev}[/path], …/refs,
                   …/commits/{rev}, …/paths-info/{rev}, /api/whoami-v2, HEAD and GET of
                   /{id}/resolve/{rev}/{path}: LFS files are redirected to the CDN, a second port
                   (302, a signed URL that refuses an Authorization header, as S3 does), others to
                   /api/resolve-cache/… (307, relative)
    ModelScope     /api/v1/models/{id}/repo/files, /models/{id}/resolve/master/{path}
    tests          POST and DELETE /_faults, GET and DELETE /_log (every request to either port)
A repository that is not there answers 401 to someone without a token, as the real one does. With
--token everything needs `Authorization: Bearer TOKEN`; a gated repository answers 403 even so.
"""

from __future__ import annotations

import abc
import argparse
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.fakes.hub_faults import Fault, Faults
from tests.fakes.hub_repositories import HubFile, Repositories, Revision

_ID = r"(?P<name>[^/]+/[^/]+)"
_DATE = "2026-02-24T10:00:00.000Z"
_SLICE = 64 * 1024
_SETTLED_WITHIN = 1.0  # seconds; one that stalls is not waited for


class Refused(Exception):  # noqa: N818 - an answer
    def __init__(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, headers
        super().__init__(message)


class Hub:
    """What both ports share."""

    def __init__(self, root: Path, token: str | None) -> None:
        self.repositories = Repositories(root)
        self.faults = Faults()
        self.token = token
        self.secret = secrets.token_bytes(16)
        self.url = ""
        self.cdn = ""
        self.ended = threading.Event()
        self._log: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._answering = 0
        self._answered = threading.Condition(self._lock)

    def begin(self) -> None:
        with self._lock:
            self._answering += 1

    def note(self, entry: dict[str, Any]) -> None:
        with self._answered:
            self._log.append(entry)
            self._answering -= 1
            self._answered.notify_all()

    def log(self, *, clear: bool = False) -> list[dict[str, Any]]:
        """Who has read an answer may ask before it is noted: a moment is given for that."""
        with self._answered:
            self._answered.wait_for(lambda: self._answering == 0, timeout=_SETTLED_WITHIN)
            taken = list(self._log)
            if clear:
                self._log.clear()
            return taken

    def signature(self, path: str, expires: str) -> str:
        return hmac.new(self.secret, f"{path} {expires}".encode(), hashlib.sha256).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One connection; a subclass for each port says which."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    where = "hub"
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - the base class names them

    def log_message(self, *_: Any) -> None:
        pass  # /_log has it

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.route = unquote(url.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        self.status = self.sent = 0
        begun = time.monotonic()
        self.fault: Fault | None = None
        if not self.route.startswith("/_"):
            self.hub.begin()
        try:
            self._routed()
        except Refused as refusal:
            headers = dict(refusal.headers)
            if refusal.code:
                headers |= {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._json({"error": refusal.message}, refusal.status, headers)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self.close_connection = True
        finally:
            if not self.route.startswith("/_"):
                self.hub.note(
                    {
                        "where": self.where,
                        "method": self.command,
                        "path": self.path,
                        "headers": {name.lower(): value for name, value in self.headers.items()},
                        "status": self.status,
                        "sent": self.sent,
                        "begun": begun,
                        "fault": self.fault.kind if self.fault else None,
                    }
                )

    @abc.abstractmethod
    def _routed(self) -> None:
        """Answer the request, by its path."""

    # ---- Faults ----

    def _meet(self, subject: str, *, body: bool = False) -> Fault | None:
        """The fault for this request; those that need no file happen here."""
        fault = self.hub.faults.due(subject, self.where, self.command, body=body)
        if fault is None:
            return None
        self.fault = fault
        if fault.status is not None:
            after = {} if fault.seconds is None else {"Retry-After": f"{fault.seconds:g}"}
            raise Refused(fault.status, "", "as the fault says", **after)
        if fault.kind == "gone":
            raise Refused(404, "RepoNotFound", "Repository not found")
        if fault.kind == "expired":
            raise Refused(403, "", "Request has expired")
        if fault.kind == "redirect":
            self._empty(302, {"Location": self.path})
            raise ConnectionAbortedError
        if fault.kind == "garbage":
            self.wfile.write(b"\x16\x03\x01 what is this\r\n\r\n")
            raise ConnectionAbortedError
        return fault

    # ---- Answers ----

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.status = status
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.sent += len(body)

    def _empty(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.send_response(status)
        for name, text in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, text)
        self.end_headers()

    def _file(self, file: HubFile, headers: dict[str, str], fault: Fault | None) -> None:
        """The file, or the range of it that was asked for; HEAD: what would come."""
        kind = fault.kind if fault else ""
        size = file.bytes + (16 if kind == "changed" else 0)
        first, last = self._range(size)
        ranged = (first, last) != (0, size - 1) or "Range" in self.headers
        if kind == "ignore-range":
            first, last, ranged = 0, size - 1, False
        if kind == "truncated":
            last = max(first, (first + last) // 2)
        if kind == "wrong-range":
            first, last = (first - 16, last - 16) if first >= 16 else (first, last - 16)
        self.status = 206 if ranged else 200
        self.send_response(self.status)
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"} | headers
        if ranged:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        headers["Content-Length"] = str(last + 1 - first)
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self._send(file, first, last + 1 - first, fault)

    def _range(self, size: int) -> tuple[int, int]:
        """First and last byte of what is asked for. Raises Refused (416)."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "bytes=0-"))
        if match is None or match[0] == "bytes=-":
            return 0, size - 1
        if not match[1]:
            return max(0, size - int(match[2])), size - 1
        first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
        if "Range" in self.headers and first > last:
            raise Refused(416, "", "range", **{"Content-Range": f"bytes */{size}"})
        return first, last

    def _send(self, file: HubFile, first: int, count: int, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        self.wfile.flush()
        if kind in ("cut", "stall"):
            assert fault is not None
            part = count // 2 if fault.after is None else min(count, fault.after)
            self._plainly(file, first, part)
            if kind == "stall":
                self._wait_until_left(fault.seconds)
            # RST and not FIN: what is on its way is lost, as it is when a machine goes away.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            raise ConnectionAbortedError
        if kind in ("slow", "wrong-bytes", "changed"):
            assert fault is not None
            self._in_slices(file, first, count, fault)
        else:
            self._plainly(file, first, count)

    def _plainly(self, file: HubFile, first: int, count: int) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            self._in_slices(file, first, count, None)
            return
        with file.location.open("rb") as source:
            end = first + count
            while first < end:
                done = os.sendfile(self.connection.fileno(), source.fileno(), first, end - first)
                if done == 0:
                    raise ConnectionAbortedError
                first += done
                self.sent += done

    def _in_slices(self, file: HubFile, first: int, count: int, fault: Fault | None) -> None:
        flipped = -1
        if fault is not None and fault.kind in ("wrong-bytes", "changed"):
            flipped = first if fault.at is None else fault.at
        with file.location.open("rb") as source:
            source.seek(first)
            end = first + count
            while first < end:
                length = min(_SLICE, end - first)
                data = bytearray(source.read(length).ljust(length, b"\0"))
                if first <= flipped < first + length:
                    data[flipped - first] ^= 0x10
                self.connection.sendall(data)
                self.sent += length
                first += length
                if fault is not None and fault.kind == "slow":
                    time.sleep(length / fault.rate)

    def _wait_until_left(self, seconds: float | None) -> None:
        deadline = time.monotonic() + (seconds or 3600)
        self.connection.settimeout(0.1)
        while time.monotonic() < deadline and not self.hub.ended.is_set():
            try:
                if self.connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue


class HubHandler(Handler):
    """The hub itself, and ModelScope."""

    def _routed(self) -> None:
        if self.route == "/_faults":
            self._set_faults()
            return
        if self.route == "/_log":
            self._json(self.hub.log(clear=self.command == "DELETE"))
            return
        for pattern, act in _ROUTES:
            if match := re.fullmatch(pattern, self.route):
                act(self, **match.groupdict())
                return
        raise Refused(404, "", "Sorry, we can't find the page you are looking for.")

    def _set_faults(self) -> None:
        if self.command == "DELETE":
            self.hub.faults.clear()
        else:
            try:
                self.hub.faults.add(json.loads(self.body))
            except (ValueError, TypeError, KeyError) as error:
                self._json({"error": str(error)}, 400)
                return
        self._json({})

    def _authorised(self) -> bool:
        given = self.headers.get("Authorization")
        if self.hub.token is None:
            return given is not None
        if given is not None and given != f"Bearer {self.hub.token}":
            raise Refused(401, "", "Invalid credentials in Authorization header")
        return given is not None

    def _revision(self, name: str, wanted: str) -> Revision:
        authorised = self._authorised()
        commits = self.hub.repositories.commits(name)
        if commits is None or (self.hub.token is not None and not authorised):
            raise Refused(404 if authorised else 401, "RepoNotFound", "Repository not found")
        revision = self.hub.repositories.revision(name, wanted)
        if revision is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {wanted}")
        return revision

    def _api(self, name: str, wanted: str = "main") -> Revision:
        self._meet(self.route)
        return self._revision(name, wanted)

    def info(self, name: str, rev: str | None = None) -> None:
        revision = self._api(name, rev or "main")
        blobs = self.query.get("blobs", "").lower() in ("1", "true")
        licence = revision.licence
        self._json(
            {
                "_id": "0", "id": name, "modelId": name, "author": name.split("/")[0],
                "sha": revision.commit, "lastModified": _DATE, "createdAt": _DATE,
                "private": False, "gated": "manual" if revision.gated else False,
                "disabled": False, "downloads": 0, "likes": 0,
                "tags": ["safetensors", *([f"license:{licence}"] if licence else [])],
                "cardData": {"license": licence} if licence else {},
                "siblings": [one.sibling(blobs) for one in revision.files.values()],
            }
        )  # fmt: skip

    def tree(self, name: str, rev: str, under: str | None = None) -> None:
        revision = self._api(name, rev)
        prefix = f"{under.strip('/')}/" if under and under.strip("/") else ""
        recursive = self.query.get("recursive", "").lower() in ("1", "true")
        entries: dict[str, dict[str, Any]] = {}
        for path, file in revision.files.items():
            if not path.startswith(prefix):
                continue
            folder, slash, _ = path[len(prefix) :].partition("/")
            if slash:
                oid = hashlib.sha1(folder.encode()).hexdigest()
                entries.setdefault(
                    prefix + folder,
                    {"type": "directory", "oid": oid, "size": 0, "path": prefix + folder},
                )
            if not slash or recursive:
                entries[path] = file.tree_entry()
        if prefix and not entries:
            raise Refused(404, "EntryNotFound", f"{prefix} does not exist on {rev}")
        self._json(list(entries.values()))

    def refs(self, name: str) -> None:
        self._api(name)
        main = (self.hub.repositories.commits(name) or {})["main"]
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": main}
        self._json({"branches": [branch], "converts": [], "tags": []})

    def commits(self, name: str, rev: str) -> None:
        revision = self._api(name, rev)
        author = {"user": "somebody"}
        commit = {"id": revision.commit, "title": "Upload", "message": "", "date": _DATE}
        self._json([commit | {"authors": [author]}])

    def paths_info(self, name: str, rev: str) -> None:
        revision = self._api(name, rev)
        if "json" in self.headers.get("Content-Type", ""):
            asked = json.loads(self.body)["paths"]
        else:
            asked = parse_qs(self.body.decode()).get("paths", [])
        self._json([revision.files[one].tree_entry() for one in asked if one in revision.files])

    def whoami(self) -> None:
        if not self._authorised():
            raise Refused(401, "", "Invalid username or password.")
        access = {"accessToken": {"displayName": "test", "role": "read"}}
        self._json({"type": "user", "id": "0", "name": "tester", "auth": access})

    def resolve(self, name: str, rev: str, path: str, cached: bool = False) -> None:
        revision = self._revision(name, rev)
        file = revision.files.get(path)
        fault = self._meet(f"{name}/{path}", body=cached)
        common = {"X-Repo-Commit": revision.commit}
        if revision.gated:
            status = 403 if self._authorised() else 401
            raise Refused(status, "GatedRepo", f"Access to model {name} is restricted.")
        if file is None:
            raise Refused(404, "EntryNotFound", "Entry not found", **common)
        other = fault is not None and fault.kind in ("changed", "retagged")
        etag = hashlib.sha256(b"changed").hexdigest() if other else file.etag
        longer = 16 if other and fault is not None and fault.kind == "changed" else 0
        if cached:
            self._file(file, common | {"ETag": f'"{etag}"'}, fault)
            return
        linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(file.bytes + longer)}
        if file.sha256 is None:
            where = f"/api/resolve-cache/models/{name}/{revision.commit}/{quote(path)}"
            query = f"?{quote(self.route, safe='')}=&etag=%22{etag}%22"
            self._empty(307, common | linked | {"Location": where + query})
            return
        where = f"/{name}/{revision.commit}/{quote(path)}"
        expires = str(int(time.time()) + 3600)
        signature = self.hub.signature(where, expires)
        location = f"{self.hub.cdn}{where}?Expires={expires}&Signature={signature}"
        self._empty(302, common | linked | {"Location": location, "ETag": f'"{etag}"'})

    def resolve_cache(self, name: str, rev: str, path: str) -> None:
        self.resolve(name, rev, path, cached=True)

    # ---- ModelScope ----

    def scope_files(self, name: str) -> None:
        self._meet(self.route)
        revision = self.hub.repositories.revision(name, self.query.get("Revision", "master"))
        if revision is None:
            self._json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
            return
        files = [
            {
                "Name": path.rpartition("/")[2], "Path": path, "Type": "blob", "Size": one.bytes,
                "Sha256": one.sha256 or hashlib.sha256(one.location.read_bytes()).hexdigest(),
                "IsLFS": one.sha256 is not None, "Mode": "33188", "InCheck": False,
                "Revision": "f" * 40, "CommitMessage": "", "CommittedDate": 1771927200,
            }
            for path, one in revision.files.items()
        ]  # fmt: skip
        data = {"Files": files, "IsVisual": 0, "LatestCommitter": None}
        self._json({"Code": 200, "Data": data, "Message": "success", "Success": True})

    def scope_resolve(self, name: str, rev: str, path: str) -> None:
        revision = self.hub.repositories.revision(name, rev)
        file = revision.files.get(path) if revision else None
        fault = self._meet(f"{name}/{path}", body=True)
        if file is None:
            raise Refused(404, "", "not found")
        etag = hashlib.md5(file.etag.encode()).hexdigest()  # theirs is opaque too
        self._file(file, {"ETag": f'"{etag}"'}, fault)


class CdnHandler(Handler):
    """Where LFS files come from: signed URLs, and no knowledge of tokens."""

    where = "cdn"

    def _routed(self) -> None:
        quoted = urlsplit(self.path).path
        org, name, commit, path = self.route.removeprefix("/").split("/", 3)
        expires = self.query.get("Expires", "")
        if not hmac.compare_digest(
            self.hub.signature(quoted, expires), self.query.get("Signature", "")
        ):
            raise Refused(403, "", "SignatureDoesNotMatch")
        if "Authorization" in self.headers:
            raise Refused(400, "", "Only one auth mechanism allowed")
        fault = self._meet(f"{org}/{name}/{path}", body=True)
        revision = self.hub.repositories.revision(f"{org}/{name}", commit)
        file = revision.files.get(path) if revision else None
        if file is None:
            raise Refused(404, "", "NoSuchKey")
        other = fault is not None and fault.kind in ("changed", "retagged")
        etag = hashlib.md5(b"changed" if other else file.etag.encode()).hexdigest()
        self._file(file, {"ETag": f'"{etag}"'}, fault)


_ROUTES = (
    (rf"/api/models/{_ID}", HubHandler.info),
    (rf"/api/models/{_ID}/revision/(?P<rev>.+)", HubHandler.info),
    (rf"/api/models/{_ID}/tree/(?P<rev>[^/]+)(?P<under>/.*)?", HubHandler.tree),
    (rf"/api/models/{_ID}/refs", HubHandler.refs),
    (rf"/api/models/{_ID}/commits/(?P<rev>[^/]+)", HubHandler.commits),
    (rf"/api/models/{_ID}/paths-info/(?P<rev>[^/]+)", HubHandler.paths_info),
    (r"/api/whoami-v2", HubHandler.whoami),
    (
        rf"/api/resolve-cache/models/{_ID}/(?P<rev>[^/]+)/(?P<path>.+)",
        HubHandler.resolve_cache,
    ),
    (rf"/api/v1/models/{_ID}/repo/files", HubHandler.scope_files),
    (rf"/models/{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", HubHandler.scope_resolve),
    (rf"/{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", HubHandler.resolve),
)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, handler: type[Handler], hub: Hub) -> None:
        super().__init__(("127.0.0.1", port), type("Bound", (handler,), {"hub": hub}))

    def handle_error(self, *_: Any) -> None:
        kind = sys.exc_info()[0]
        if kind is None or not issubclass(kind, (ConnectionError, ValueError, ssl.SSLError)):
            super().handle_error(*_)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token")
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    hub = Hub(given.root, given.token)
    servers = [Server(given.port, HubHandler, hub), Server(0, CdnHandler, hub)]
    scheme = "http"
    if given.certificate:
        scheme = "https"
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.certificate, given.key)
        for server in servers:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
    hub.url, hub.cdn = (f"{scheme}://127.0.0.1:{one.server_port}" for one in servers)
    threads = [threading.Thread(target=one.serve_forever, daemon=True) for one in servers]
    for thread in threads:
        thread.start()
    print(json.dumps({"url": hub.url, "cdn": hub.cdn}), flush=True)
    try:
        threads[0].join()
    except KeyboardInterrupt:
        hub.ended.set()


if __name__ == "__main__":
    main()
