"""A class takes its models from one computer in the room: `labs models serve` there, `fetch --from URL` here.

The server is tornado, which JupyterLab runs on anyway: its file handler is maintained, answers range requests, and
refuses paths that leave the folder. It gives out the files of the manifests and nothing else, and accepts nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
from asyncio import Future
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from labs_helper import catalog
from labs_helper.common import addresses, servers, timeouts
from labs_helper.common.connections import Connections, room
from labs_helper.common.translate import _
from labs_helper.errors import CheckpointRefused, DownloadFailed, ModelNotHere
from labs_helper.store import checkpoint, manifest, transfer
from labs_helper.store.hub import Plan
from labs_helper.store.places import locate, real_card
from labs_helper.store.transfer import Remote
from labs_helper.store.wheels import FOLDER as WHEELHOUSE
from labs_helper.store.wheels import Wheelhouse

if TYPE_CHECKING:
    from tornado.httpserver import HTTPServer
    from tornado.iostream import IOStream
    from tornado.web import Application

PORT = 8787
CONNECTIONS = 400  # at once
HEADERS = 10.0  # seconds for a request to arrive
STALLED = 30.0  # seconds without progress after which a connection ends
OVERALL = 20.0  # seconds for the answer with a model's list of files
_HEADER_BYTES = 16_384
_LIST = "models.json"
Served = tuple[Path, manifest.Manifest | Wheelhouse]


# -- asking -----------------------------------------------------------------------------------------------


def plan(name: str, source: str) -> Plan:
    """Ask a computer that runs `labs models serve` for the files of a model.

    Args:
        name: of the model, in the catalog.
        source: the computer's address, such as "http://192.168.1.20:8787".

    Raises:
        BadRequest: `source` is not an address, or the environment names a proxy that cannot be used.
        DownloadFailed: nothing answers there, or something else does, or it does not have the model.
        CheckpointRefused: its manifest is wrong.

    Example:
        plan("phi-3.5-mini-instruct-4bit", "http://192.168.1.20:8787").size
    """
    example = f"http://192.168.1.20:{PORT}"
    base = str(addresses.parse(source, name=_("The address of the computer"), example=example, scheme="http"))
    with transfer.client(base, seconds=5) as http:
        text = _get(http, f"{base}/{quote(name)}/{manifest.NAME}")
        if text is None:
            names = ", ".join(_names(_get(http, f"{base}/{_LIST}"))) or _("nothing")
            raise DownloadFailed(
                _("{base} does not have {name}. It has: {names}.").format(base=base, name=name, names=names),
                _("Ask for one of these."),
            )
    listing = manifest.Manifest.parse(text, base)
    if listing.name != name:
        raise CheckpointRefused(
            _("{base} was asked for {name} and answers with {other}.").format(base=base, name=name, other=listing.name),
            _("Do not use this server."),
        )
    files = [Remote(file.name, f"{base}/{quote(name)}/{file.name}", file.size, file.sha256) for file in listing.files]
    return Plan(name, tuple(files), listing.repository, listing.revision)


def _get(http: httpx.Client, url: str) -> bytes | None:
    """A small answer, or None for 404."""
    try:
        response, content = transfer.small(http, url, manifest.SIZE_LIMIT, OVERALL)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, timeouts.TooLong) as error:
        raise DownloadFailed(
            _("Nothing answers at {url} ({kind}).").format(url=url, kind=type(error).__name__),
            _(
                "Check the address, that `labs models serve` is running there with --host 0.0.0.0, and that "
                "both computers are in the same network. Guest networks often keep computers apart."
            ),
        ) from error
    if response.status_code == 404:
        return None
    if response.status_code != 200 or transfer.is_encoded(response) or len(content) > manifest.SIZE_LIMIT:
        raise DownloadFailed(
            _("{url} answers {status}, not with a model.").format(url=url, status=response.status_code),
            _("Check the address."),
        )
    return content


def _names(text: bytes | None) -> list[str]:
    try:
        names = json.loads(text or b"[]")
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str) and manifest.is_plain(name)][:20]


# -- answering --------------------------------------------------------------------------------------------


class Server(servers.Server):
    """Gives models to other computers until `close`. `serve` makes one.

    Attributes:
        models: {name in the catalog: (folder, manifest)}, and a wheelhouse under that name.

    Example:
        with serve(host="0.0.0.0") as server:
            print(server.url)
    """

    def __init__(self, host: str, port: int, models: dict[str, Served]):
        super().__init__(host, port)
        self.models = models
        self._socket.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        # A download is a connection and an open file.
        self._connections = Connections(room(CONNECTIONS, files_each=2))
        started, application = threading.Event(), _application(models, self._connections)
        # In a thread with a loop of its own: the caller may be a notebook, whose loop is busy with other things.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(application, started)), daemon=True, name="labs-models"
        )
        self._thread.start()
        started.wait()

    def close(self) -> None:
        """Stop serving. Running downloads break off and can go on later."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)

    async def _run(self, application: Application, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = _http_server(application, self._connections)
        server.add_sockets([self._socket])
        started.set()
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1)
            self._connections.end_idle(STALLED)
        server.stop()
        await server.close_all_connections()


def serve(
    names: Sequence[str] = (), host: str = "127.0.0.1", port: int = PORT, wheelhouse: str | Path | None = None
) -> Server:
    """Give the real models of this computer to others in the room. Read-only; everybody who reaches it may read.

    Models that have no manifest yet are read once for their sums, which takes a while.

    Args:
        names: catalog names or roles; none means every real model that is here.
        host: the address to listen on. "127.0.0.1" is this computer alone, "0.0.0.0" every network it is in.
        port: 0 picks a free one.
        wheelhouse: a folder with packages, which start.py installs from. With one, no model has to be here.

    Raises:
        BadRequest: there is no such model in the catalog.
        ModelNotHere: it is not on this machine, or no real model is; or the folder is no wheelhouse.
        CheckpointRefused: it must not be used.
        EndpointFailed: the address cannot be used.

    Example:
        server = serve(host="0.0.0.0")
    """
    models: dict[str, Served] = {}
    for card in [real_card(name) for name in names] or [card for card in catalog.cards() if card.tier == "real"]:
        try:
            path = locate(card)
        except ModelNotHere:
            if names:
                raise
            continue
        checkpoint.verify(path, ships_code=card.ships_code)
        listing = manifest.Manifest.read(path) or manifest.Manifest.of(path, card.name, card.repository)
        models[card.name] = (path, listing)
    if wheelhouse is not None:
        folder = Path(wheelhouse).expanduser().resolve()
        packages = Wheelhouse.read(folder)
        packages.check(folder)
        models[WHEELHOUSE] = (folder, packages)
    if not models:
        raise ModelNotHere(_("There is no real model here to serve."), _("Get one with `labs models fetch NAME`."))
    return Server(host, port, models)


def _http_server(application: Application, connections: Connections) -> HTTPServer:
    """tornado's server, which notes its connections: it has no bound of its own for them or for readers that stall."""
    from tornado.httpserver import HTTPServer

    class Noted(HTTPServer):
        def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
            connections.add(stream, str(address[0]), stream.close)
            super().handle_stream(stream, address)

        def on_close(self, server_conn: Any) -> None:  # as in the base, which leaves its type open
            connections.remove(server_conn.stream)
            super().on_close(server_conn)

    return Noted(
        application,
        max_body_size=0,
        max_header_size=_HEADER_BYTES,
        idle_connection_timeout=HEADERS,
        body_timeout=HEADERS,
    )


def _application(models: dict[str, Served], connections: Connections) -> Application:
    from tornado import web

    class Json(web.RequestHandler):
        def initialize(self, text: str) -> None:
            self.text = text

        def get(self) -> None:
            self.set_header("Content-Type", "application/json")
            self.set_header("X-Content-Type-Options", "nosniff")
            self.write(self.text)

    class Files(web.StaticFileHandler):
        # Tornado passes the options of a route as keyword arguments, so the signature may differ from the base's.
        def initialize(self, path: str, sums: dict[str, str], links: str) -> None:  # type: ignore[override]
            super().initialize(path)
            self.sums = sums
            self.allowed_symlink_directory = links  # the Hugging Face cache keeps its files as links

        def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
            if self.path not in self.sums:
                raise web.HTTPError(404)
            return super().validate_absolute_path(root, absolute_path)

        def compute_etag(self) -> str:
            return f'"{self.sums[self.path]}"'  # tornado's own would read gigabytes

        def flush(self, include_footers: bool = False) -> Future[None]:
            done = super().flush(include_footers)
            stream = getattr(self.request.connection, "stream", None)
            done.add_done_callback(lambda _done: connections.moved(stream))
            return done

        def set_extra_headers(self, path: str) -> None:
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("X-Content-Type-Options", "nosniff")

    routes: list[Any] = [(f"/{_LIST}", Json, {"text": json.dumps(sorted(models))})]
    for name, (path, listing) in models.items():
        routes.append((f"/{name}/{manifest.NAME}", Json, {"text": listing.text()}))
        links = path.parent.parent if path.parent.name == "snapshots" else path
        options = {"path": str(path), "sums": {file.name: file.sha256 for file in listing.files}, "links": str(links)}
        routes.append((f"/{name}/([A-Za-z0-9._-]+)", Files, options))
    return web.Application(routes, log_function=lambda handler: None)
