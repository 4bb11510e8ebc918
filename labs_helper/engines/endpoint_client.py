"""HTTP to one model server: what is sent, how often it is tried again, and that every connection is closed.

What goes wrong is raised as it is; `labs_helper.engines.endpoint_errors` turns it into sentences.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labs_helper.catalog import endpoints
from labs_helper.common import network

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

    from labs_helper.catalog.endpoints import Endpoint

RETRIES = 3  # after a connection that was refused or closed without a word, 408, 409, 429 and 5xx
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds between two attempts; doubles
LONGEST_WISH = 60.0  # seconds; a server that asks us to wait longer is asked again after our own pause
CONNECT_SECONDS = 10
_GRACE = 0.2  # seconds for a server to end its own response after the last word
_LONGEST_REFUSAL, _LONGEST_LIST = 2**16, 2**22  # bytes that are read of an error and of a list of models
_MOST_REDIRECTS = 3


class Refused(Exception):
    """The server answered with an error. Attributes: status; said: its words, or what there is of them."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said
        super().__init__(status)


class SentElsewhere(Exception):
    """The server wants the request sent to another place. Attributes: origin: which one, without path and query."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        super().__init__()


class Compressed(Exception):
    """The answer is compressed in a way that was not asked for; unpacking it could fill the memory."""


class NoList(Exception):
    """The list of models is none."""


class Client:
    """Requests to one endpoint, over connections that are closed at the end of the `async with` block.

    Raises:
        BadRequest: the key or the proxy in the environment cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        import httpx

        self.endpoint, self.proxy = endpoint, network.proxy_for(endpoint.url)
        secure = any(url.startswith("https:") for url in (endpoint.url, self.proxy.url if self.proxy else ""))
        _keep_key_out_of_logs()
        self._http = httpx.AsyncClient(
            headers={
                "Authorization": f"Bearer {endpoints.key()}",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            },
            timeout=httpx.Timeout(endpoint.timeout, connect=CONNECT_SECONDS),
            verify=network.trust() if secure else False,  # certificates take a while to read; plain http has none
            proxy=self.proxy.url if self.proxy else None,
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Client:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def models(self) -> list[str]:
        """The names of the models that the server lists."""
        content = bytearray()

        def take(data: bytes) -> bool:
            content.extend(data)
            return len(content) > _LONGEST_LIST

        await self._send("GET", "/models", None, take)
        try:
            entries = json.loads(content)["data"]
            names = [entry["id"] for entry in entries if isinstance(entry["id"], str)]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise NoList from None
        return [endpoints.shown(name) for name in names]

    async def chat(self, body: dict[str, Any], take: Callable[[bytes], bool]) -> None:
        """Ask, and give the answer's bytes to `take` as they come, until it returns True or the answer ends."""
        await self._send("POST", "/chat/completions", json.dumps(body).encode(), take)

    async def _send(self, method: str, path: str, content: bytes | None, take: Callable[[bytes], bool]) -> None:
        import httpx

        url, attempts, redirects = httpx.URL(self.endpoint.url + path), 0, 0
        while True:
            pause = min(FIRST_PAUSE * 2**attempts, LONGEST_PAUSE) * random.uniform(0.75, 1)
            started = False
            try:
                async with self._http.stream(method, url, content=content) as response:
                    started = True
                    if response.is_success:
                        await _read(response, take)
                        return
                    if response.has_redirect_location:
                        url, redirects = _redirected(response, url, method, redirects), redirects + 1
                        continue
                    if attempts == RETRIES or not _worth_another(response.status_code):
                        raise Refused(response.status_code, await _beginning(response))
                    pause = _wished_pause(response.headers) or pause
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.RemoteProtocolError, httpx.ReadError):
                if started or attempts == RETRIES:
                    raise
            attempts += 1
            await asyncio.sleep(pause)


async def _read(response: httpx.Response, take: Callable[[bytes], bool]) -> None:
    """Give the bytes of a response to `take`, until it has enough or there are no more.

    The loop is never left in the middle: the library's generators would then be closed by the garbage collector, in
    an order in which they complain on stderr ("asynchronous generator is already running"). A time limit ends the
    read that they wait for, and so ends them from the inside.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity", "gzip", "deflate"):
        raise Compressed
    loop, enough = asyncio.get_running_loop(), False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as limit:
            async for data in response.aiter_bytes():
                if not enough:
                    enough = take(data)
                    if enough:
                        limit.reschedule(loop.time() + _GRACE)


async def _beginning(response: httpx.Response) -> str:
    """The words of a refusal, as far as they can be read."""
    import httpx

    content = bytearray()

    def take(data: bytes) -> bool:
        content.extend(data)
        return len(content) > _LONGEST_REFUSAL

    with contextlib.suppress(httpx.HTTPError, Compressed):
        await _read(response, take)
    text = content[:_LONGEST_REFUSAL].decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.lstrip().startswith("<") else text  # a page has no words for a learner
    while isinstance(said, dict):
        said = said.get("error") or said.get("message") or said.get("detail")
    return said if isinstance(said, str) else text


def _redirected(response: httpx.Response, url: httpx.URL, method: str, redirects: int) -> httpx.URL:
    """Where to ask again: the same server only. A prompt and a key go to no other."""
    import httpx

    try:
        target = url.join(response.headers["Location"])
    except (httpx.InvalidURL, ValueError):
        raise SentElsewhere("") from None
    same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    keeps_method = method == "GET" or response.status_code in (307, 308)
    if not same or not keeps_method or redirects == _MOST_REDIRECTS:
        port = f":{target.port}" if target.port else ""
        raise SentElsewhere(f"{target.scheme}://{target.host}{port}")
    return target.copy_with(username=None, password=None)


def _worth_another(status: int) -> bool:
    return status in (408, 409, 429) or status >= 500


def _wished_pause(headers: httpx.Headers) -> float:
    """The seconds that a server asks us to wait; 0 if it says nothing that is a sensible number."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and float(text) * unit <= LONGEST_WISH:
            return float(text) * unit
    return 0.0


class _WithoutKey(logging.Filter):
    """Takes the key out of what the HTTP library logs: a server may send it back in a header."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        clean = endpoints.redacted(text)
        if clean != text:
            record.msg, record.args = clean, ()
        return True


_WITHOUT_KEY = _WithoutKey()


def _keep_key_out_of_logs() -> None:
    for name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
        logging.getLogger(name).addFilter(_WITHOUT_KEY)  # adding it twice does nothing
