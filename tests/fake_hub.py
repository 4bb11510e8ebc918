"""A Hugging Face hub on loopback that behaves as badly as a test asks it to. Small files, no network, no waiting."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Faults:
    """What goes wrong.

    drop_after, drops: break a transfer of weights after so many bytes, so many times.
    cut: end every transfer of weights there, without saying so beforehand. status: answer the listing with it.
    file_status: answer files with these, one after the other, then serve.
    """

    drop_after: int = 0
    drops: int = 0
    cut: int | None = None
    lie: dict[str, int] = field(default_factory=dict)  # name -> the size in the listing
    damage: int = 0  # so many transfers of weights with one wrong byte
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    file_status: list[int] = field(default_factory=list)
    ranges: bool = True
    listing: bytes | None = None
    moved: str | None = None  # the repository's new name
    without: set[str] = field(default_factory=set)
    chunk: int = 2**14
    stall_at: int | None = None  # hang there, in every transfer of weights, until `go` is set
    hang: float = 0.0  # seconds before the listing is answered


class FakeHub:
    """Serves the files of a folder as one repository. Use as a context manager."""

    def __init__(self, repository: str, folder: Path, faults: Faults | None = None):
        self.repository, self.folder, self.faults = repository, folder, faults or Faults()
        self.requests: list[tuple[str, str, str | None]] = []  # (method, path, Range)
        self.tokens: dict[str, str | None] = {}  # path -> Authorization
        self.sent = 0  # bytes of weights
        self.go = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                pass  # a client that went away is part of the tests

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FakeHub:
        self.thread.start()
        return self

    def __exit__(self, *reason) -> None:
        self.server.shutdown()
        self.server.server_close()

    # -- answers ------------------------------------------------------------------------------------

    def answer(self, request) -> None:
        path = request.path.split("?")[0]
        self.requests.append((request.command, path, request.headers.get("Range")))
        self.tokens[path] = request.headers.get("Authorization")
        if path.startswith("/api/models/"):
            self._listing(request, path)
        elif match := re.fullmatch(rf"/([\w.-]+/[\w.-]+)/resolve/{COMMIT}/(.+)", path):
            name = match[2]
            if self.faults.file_status:
                self._plain(request, self.faults.file_status.pop(0), b"", self.faults.headers)
            elif name.endswith((".safetensors", ".gguf")):
                # As the real hub does it: large files come from another host.
                place = f"http://localhost:{self.server.server_port}/cdn/{name}"
                self._plain(request, 302, b"", {"Location": place})
            else:
                self._plain(request, 200, (self.folder / name).read_bytes())
        elif path.startswith("/cdn/"):
            self._weights(request, path.removeprefix("/cdn/"))
        else:
            self._plain(request, 404, b"", {"X-Error-Code": "EntryNotFound"})

    def _listing(self, request, path: str) -> None:
        faults = self.faults
        time.sleep(faults.hang)
        if faults.status:
            self._plain(request, faults.status, b"{}", faults.headers)
            return
        if faults.listing is not None:
            self._plain(request, 200, faults.listing)
            return
        named = path.removeprefix("/api/models/").removesuffix("/revision/main")
        if faults.moved and named == self.repository:
            self._plain(request, 307, b"", {"Location": path.replace(self.repository, faults.moved)})
            return
        siblings = []
        for file in sorted(self.folder.iterdir()):
            data = file.read_bytes()
            if file.name in faults.without:
                continue
            size = faults.lie.get(file.name, len(data))
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            entry = {"rfilename": file.name, "size": size, "blobId": git}
            if file.suffix in (".safetensors", ".gguf"):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 135}
            siblings.append(entry)
        answer = {"id": named, "modelId": named, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
        self._plain(request, 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _weights(self, request, name: str) -> None:
        faults = self.faults
        data = (self.folder / name).read_bytes()
        if faults.damage:
            faults.damage -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        if asked and faults.ranges:
            start = int(asked[1])
        request.send_response(206 if asked and faults.ranges else 200)
        if asked and faults.ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        end = len(data)
        if faults.cut is not None:
            end = min(end, faults.cut)
            request.send_header("Connection", "close")  # no length: the end of the connection is the end of the file
        else:
            request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        if faults.drops and start + faults.drop_after < end:
            faults.drops -= 1
            end = min(end, start + faults.drop_after)
        for place in range(start, end, faults.chunk):
            request.wfile.write(data[place : min(end, place + faults.chunk)])
            self.sent += min(end, place + faults.chunk) - place
            if faults.stall_at is not None and place + faults.chunk >= faults.stall_at:
                self.go.wait(30)
                request.close_connection = True
                return
        if end < len(data):
            request.close_connection = True

    def _plain(self, request, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        request.send_response(status)
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)
