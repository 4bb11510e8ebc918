"""The built site on a plain static server of this machine, which can be slow and can break off inside a file.

It compresses nothing and sets no special headers, as the simplest web server of a school does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 16_384


class StaticSite(ThreadingHTTPServer):
    """A folder on a free port of 127.0.0.1.

    Args:
        folder: what is served.
        port: 0 takes a free one.

    Attributes:
        rate: bytes a second for all answers together; None sets no limit.
        cut: {end of a path: bytes after which the answer breaks off}.
        requests: the paths that were asked for, with their bytes.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
        self.rate: float | None = None
        self.cut: dict[str, int] = {}
        self.requests: list[tuple[str, int]] = []
        self._lock, self._free = threading.Lock(), 0.0

    @property
    def address(self) -> str:
        """Its address, with a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def wait(self, count: int) -> None:
        """Wait until `count` more bytes fit into the rate."""
        if self.rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + count / self.rate
            pause = self._free - now
        time.sleep(pause)

    def handle_error(self, *_: object) -> None:
        """A browser that goes away in the middle of an answer is nothing to report."""


class _Handler(SimpleHTTPRequestHandler):
    server: StaticSite

    def log_message(self, *_: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        path = self.path.partition("?")[0]
        limit = next((count for end, count in self.server.cut.items() if path.endswith(end)), None)
        sent = 0
        while piece := source.read(PIECE):
            if limit is not None and sent + len(piece) > limit:
                self.close_connection = True
                break
            self.server.wait(len(piece))
            outputfile.write(piece)
            sent += len(piece)
        self.server.requests.append((self.path, sent))


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[StaticSite]:
    """The folder on a server that ends with the block.

    Example:
        with serving(Path("build/site")) as site: ...
    """
    server = StaticSite(folder, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
