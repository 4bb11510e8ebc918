"""A class takes its models from one computer in the room: `labs models serve` there, `fetch --from URL` here.

The server is tornado, which JupyterLab runs on anyway: its file handler answers range requests, refuses paths that
leave the folder, and is looked after. It gives out the files of the manifests and nothing else, and takes nothing.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from urllib.parse import quote, urlsplit

import httpx

from labs_helper import catalog
from labs_helper.errors import BadRequest, CheckpointRefused, DownloadFailed, EndpointFailed, ModelNotHere
from labs_helper.store import checkpoint, manifest
from labs_helper.store.hub import Plan
from labs_helper.store.places import locate, real_card
from labs_helper.store.transfer import Remote, trust

PORT = 8787
_LIST = "models.json"


# -- asking -----------------------------------------------------------------------------------------------


def plan(name: str, source: str) -> Plan:
    """Ask a computer that runs `labs models serve` for the files of a model.

    source: its address, such as "http://192.168.1.20:8787".
    Raises BadRequest for something that is no address, DownloadFailed, or CheckpointRefused for a bad manifest.

    Example:
        plan("phi-3.5-mini-instruct-4bit", "http://192.168.1.20:8787").bytes
    """
    base = _base(source)
    with httpx.Client(timeout=5, verify=trust(), follow_redirects=False) as http:
        text = _get(http, f"{base}/{quote(name)}/{manifest.NAME}")
        if text is None:
            names = ", ".join(_names(_get(http, f"{base}/{_LIST}"))) or "nothing"
            raise DownloadFailed(f"{base} does not have {name}. It has: {names}.", "Ask for one of these.")
    made = manifest.Manifest.parse(text, base)
    if made.name != name:
        raise CheckpointRefused(f"{base} was asked for {name} and answers with {made.name}.", "Do not use this server.")
    files = [Remote(file.name, f"{base}/{quote(name)}/{file.name}", file.size, file.sha256) for file in made.files]
    return Plan(name, tuple(files), made.repository, made.revision)


def _base(source: str) -> str:
    parts = urlsplit(source if "://" in source else f"http://{source}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise BadRequest(f"{source!r} is not an address.", "Use one such as http://192.168.1.20:8787.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _get(http: httpx.Client, url: str) -> bytes | None:
    """A small answer, or None for 404."""
    content = b""
    try:
        with http.stream("GET", url) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > manifest.SIZE_LIMIT:
                    break
    except httpx.HTTPError as error:
        raise DownloadFailed(
            f"Nothing answers at {url} ({type(error).__name__}).",
            "Check the address, that `labs models serve` is running there with --host 0.0.0.0, and that both "
            "computers are in the same network. Guest networks often keep computers apart.",
        ) from error
    if response.status_code == 404:
        return None
    if response.status_code != 200 or len(content) > manifest.SIZE_LIMIT:
        raise DownloadFailed(f"{url} answers {response.status_code}, not with a model.", "Check the address.")
    return content


def _names(text: bytes | None) -> list[str]:
    try:
        names = json.loads(text or b"[]")
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str) and manifest.is_plain(name)][:20]


# -- answering --------------------------------------------------------------------------------------------


def local_address(host: str, port: int) -> str:
    """Where this computer reaches its own server, which listens on `host`.

    Example:
        local_address("0.0.0.0", 8787)      # "http://127.0.0.1:8787"
    """
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def addresses(host: str, port: int) -> list[str]:
    """Where others reach a server that listens on `host`: one address for each network that it listens in.

    Example:
        addresses("127.0.0.1", 8787)      # ["http://127.0.0.1:8787"]
    """
    if host not in ("", "0.0.0.0", "::"):
        return [local_address(host, port)]
    import psutil

    found = [
        each.address
        for cards in psutil.net_if_addrs().values()
        for each in cards
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    ]
    return [local_address(address, port) for address in found] or [local_address(host, port)]


class Server:
    """Gives models to other computers until `close`. Made by `serve`; also a context manager.

    Example:
        with serve(host="0.0.0.0") as server:
            print(server.url)
    """

    def __init__(self, host: str, port: int, models: dict[str, tuple]):
        self.host, self.models = host, models
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failed: OSError | None = None
        self.port = port
        started = threading.Event()
        # In a thread with a loop of its own: the caller may be a notebook, whose loop is busy with other things.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True)
        self._thread.start()
        started.wait()
        if self._failed is not None:
            raise EndpointFailed(
                f"The address {host}:{port} cannot be used ({self._failed.strerror}).",
                "Take another port with --port, or another address with --host.",
            ) from self._failed

    @property
    def url(self) -> str:
        """Where it can be reached on this computer."""
        return local_address(self.host, self.port)

    @property
    def addresses(self) -> list[str]:
        """Where others can reach it: this computer's address in each of its networks, if it listens there."""
        return addresses(self.host, self.port)

    def wait(self) -> None:
        """Wait until somebody closes it or interrupts the program."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Stop serving. Running downloads break off and can go on later."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *reason) -> None:
        self.close()

    async def _run(self, started: threading.Event) -> None:
        from tornado.httpserver import HTTPServer
        from tornado.netutil import bind_sockets

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            sockets = bind_sockets(self.port, self.host)
        except OSError as error:
            self._failed = error
            started.set()
            return
        self.port = sockets[0].getsockname()[1]
        server = HTTPServer(_application(self.models), max_body_size=0, idle_connection_timeout=60)
        server.add_sockets(sockets)
        started.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()


def serve(names: tuple[str, ...] | list[str] = (), host: str = "127.0.0.1", port: int = PORT) -> Server:
    """Give the real models of this computer to others in the room. Read-only; everybody who reaches it may read.

    names: catalog names or roles; none means every real model that is here.
    host: the address to listen on. "127.0.0.1" is this computer alone, "0.0.0.0" every network it is in.
    port: 0 takes a free one.
    Models that have no manifest yet are read once for their sums, which takes a while.
    Raises BadRequest, ModelNotHere, CheckpointRefused, or EndpointFailed if the address is taken.

    Example:
        server = serve(host="0.0.0.0")
    """
    models = {}
    for card in [real_card(name) for name in names] or [card for card in catalog.cards() if card.tier == "real"]:
        try:
            path = locate(card)
        except ModelNotHere:
            if names:
                raise
            continue
        checkpoint.verify(path, ships_code=card.ships_code)
        made = manifest.Manifest.read(path) or manifest.Manifest.of(path, card.name, card.repository)
        models[card.name] = (path, made)
    if not models:
        raise ModelNotHere("There is no real model here to serve.", "Get one with `labs models fetch NAME`.")
    return Server(host, port, models)


def _application(models: dict[str, tuple]):
    from tornado import web

    class Json(web.RequestHandler):
        def initialize(self, text: str) -> None:
            self.text = text

        def get(self) -> None:
            self.set_header("Content-Type", "application/json")
            self.set_header("X-Content-Type-Options", "nosniff")
            self.write(self.text)

    class Files(web.StaticFileHandler):
        def initialize(self, path: str, sums: dict[str, str], links: str) -> None:
            super().initialize(path)
            self.sums = sums
            self.allowed_symlink_directory = links  # the Hugging Face cache keeps its files as links

        def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
            if self.path not in self.sums:
                raise web.HTTPError(404)
            return super().validate_absolute_path(root, absolute_path)

        def compute_etag(self) -> str:
            return f'"{self.sums[self.path]}"'  # tornado's own would read gigabytes

        def set_extra_headers(self, path: str) -> None:
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("X-Content-Type-Options", "nosniff")

    routes = [(f"/{_LIST}", Json, {"text": json.dumps(sorted(models))})]
    for name, (path, made) in models.items():
        routes.append((f"/{name}/{manifest.NAME}", Json, {"text": made.text()}))
        links = path.parent.parent if path.parent.name == "snapshots" else path
        options = {"path": str(path), "sums": {file.name: file.sha256 for file in made.files}, "links": str(links)}
        routes.append((f"/{name}/([A-Za-z0-9._-]+)", Files, options))
    return web.Application(routes, log_function=lambda handler: None)
