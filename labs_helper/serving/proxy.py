"""What belongs between a model server and a class: a key, a bound on what is at work, one model, small requests.

mlx_lm.server has none of these: it asks nobody for a key, loads whatever folder a request names, and lets its queue
grow without end. A gate is a small proxy on loopback that forwards what it lets through. It is made to be read. For a
network use a proxy that others maintain (Caddy, nginx, Traefik), which also speaks TLS.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx

from labs_helper.common import servers
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

if TYPE_CHECKING:
    from tornado.web import Application

    from labs_helper.serving.server import ModelServer

SHORTEST_KEY = 16  # letters
LONGEST_BODY = 100_000  # bytes of a request: text, no pictures
MOST_TOKENS = 512  # of one answer
_FIELDS = frozenset(
    (
        "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream", "stream_options",
        "logprobs", "top_logprobs",
    )
)  # fmt: skip


class Gate(servers.Server):
    """A proxy in front of one server. `gate` makes one; it is also a context manager.

    Attributes:
        model: what a request may name; anything else is replaced by it.
        refused: how many requests were turned away, by status.

    Example:
        with gate(server, key="a key of 16 or more letters") as door:
            print(door.url)
    """

    def __init__(self, server: ModelServer, key: str, most: int, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.behind, self.model = server.url, server.model
        self.refused: dict[int, int] = {}
        self._key, self.most, self.at_work = key, most, 0
        self._socket.setblocking(False)
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True, name="labs-gate")
        self._thread.start()
        started.wait()

    @property
    def url(self) -> str:
        """Its address, as clients want it."""
        return f"{super().url}/v1"

    def close(self) -> None:
        """Stop serving. Answers that are on their way break off."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)

    def is_known(self, header: str) -> bool:
        """Whether an Authorization header holds the key; compared in constant time."""
        return hmac.compare_digest(header.encode(), f"Bearer {self._key}".encode())

    def note(self, status: int) -> None:
        """Count a refusal."""
        self.refused[status] = self.refused.get(status, 0) + 1

    async def _run(self, started: threading.Event) -> None:
        from tornado.httpserver import HTTPServer

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(120, connect=5)) as http:
            server = HTTPServer(_application(self, http), max_body_size=LONGEST_BODY, max_buffer_size=LONGEST_BODY)
            server.add_sockets([self._socket])
            started.set()
            await self._stop.wait()
            server.stop()
            await server.close_all_connections()


def gate(server: ModelServer, key: str, *, most: int = 8, port: int = 0) -> Gate:
    """Put a gate in front of a server.

    Args:
        server: from `serve`.
        key: what clients have to send.
        most: requests that are let through at a time. One more gets 429 and is asked to come back in a second.
        port: 0 picks a free one.

    Raises:
        BadRequest: the key is short enough to be guessed, or the bound makes no sense.
        EndpointFailed: the port is taken.

    Example:
        door = gate(server, key=secrets.token_urlsafe(16))
    """
    if not isinstance(key, str) or len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise BadRequest(
            _("This is not a key that is hard to guess."),
            _("Let Python make one: secrets.token_urlsafe(16)."),
        )
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise BadRequest(_("most={most!r} is not possible.").format(most=most), _("Use 1 or more."))
    return Gate(server, key, most, port)


def _cleaned(content: bytes, model: str) -> dict[str, Any] | None:
    """A request with the fields that are known, the served model and a bounded answer; None if it is no request."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        return None
    asked = body.get("max_tokens", body.get("max_completion_tokens", MOST_TOKENS))
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        return None
    body = {name: value for name, value in body.items() if name in _FIELDS}
    body.pop("max_completion_tokens", None)
    return body | {"model": model, "max_tokens": min(asked, MOST_TOKENS)}


def _application(gate: Gate, http: httpx.AsyncClient) -> Application:
    from tornado import iostream, web

    class Chat(web.RequestHandler):
        def refuse(self, status: int, why: str) -> None:
            gate.note(status)
            self.set_status(status)
            self.write({"error": {"message": why}})

        async def post(self) -> None:
            if not gate.is_known(self.request.headers.get("Authorization", "")):
                self.refuse(401, "a key is needed")
                return
            body = _cleaned(self.request.body, gate.model)
            if body is None:
                self.refuse(400, "messages and max_tokens are needed")
                return
            if gate.at_work >= gate.most:
                self.set_header("Retry-After", "1")
                self.refuse(429, "the server is full")
                return
            gate.at_work += 1
            try:
                await self.forward(body)
            except iostream.StreamClosedError:
                pass  # the client has gone; leaving the block below has told the server
            except httpx.HTTPError:
                if not self._headers_written:
                    self.refuse(502, "the model server does not answer")
                elif self.request.connection is not None:  # cut off, so that nobody takes a part for the whole
                    self.request.connection.stream.close()  # type: ignore[attr-defined]  # tornado's own has one
            finally:
                gate.at_work -= 1

        async def forward(self, body: dict[str, Any]) -> None:
            async with http.stream("POST", f"{gate.behind}/chat/completions", json=body) as response:
                self.set_status(response.status_code)
                self.set_header("Content-Type", response.headers.get("Content-Type", "application/json"))
                async for data in response.aiter_bytes():
                    self.write(data)
                    await self.flush()

    return web.Application([("/v1/chat/completions", Chat)], log_function=lambda handler: None)
