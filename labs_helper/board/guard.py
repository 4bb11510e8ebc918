"""What a request must pass before the board reads it: rate, code, size; and the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from labs_helper.board import rules
from labs_helper.board.storage import Storage

# ASGI's types (asgi.readthedocs.io); the packages that define them are on the instructor's machine only.
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = 16_384  # bytes
ASK = "/api/board"  # says which board this is
REMOVE = "/api/remove"  # removes a learner: for the page's key alone
_FOR_ALL = ("/", "/join")  # pages without anything in them
LEARNER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Limits:
    """How much the board takes: (at once, per second afterwards).

    A hub has one address for all of its learners. So what is counted by address concerns strangers only: neither
    learners who have joined nor the page wait because somebody else at their address sends too much.

    Example:
        Limits(learner=(5, 0.1))
    """

    address: tuple[float, float] = (400, 60)  # requests of one address without the join code
    requests: tuple[float, float] = (60, 5)  # requests of one learner who has joined
    wrong: tuple[float, float] = (60, 1)  # wrong codes of one address
    learner: tuple[float, float] = (150, 2)  # results of one learner
    newcomers: tuple[float, float] = (250, 2)  # learners that one address brings
    asking: tuple[float, float] = (600, 20)  # questions which board this is, from one address
    seconds: float = 10  # for the headers of a request to arrive, and again for its body
    connections: int = 400  # at once


@dataclass(frozen=True)
class _Refusal:
    """An answer to a program, which shows a sentence of its own: these words are not translated."""

    status: int
    words: str
    wait: float = 0.0  # seconds before the next attempt


class Limiter:
    """Counts by key: `burst` at once, `rate` per second afterwards. It remembers the `keys` that came last.

    Example:
        Limiter(2, 0.5).take("somebody")      # 0.0: taken
    """

    def __init__(self, burst: float, rate: float, *, keys: int = 4096):
        self.burst, self.rate, self.keys = burst, rate, keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str, cost: float = 1) -> float:
        """Seconds until `cost` could be taken; 0 if it can be now. Nothing is taken."""
        with self._lock:
            return max(0.0, (min(cost, self.burst) - self._now(key)) / self.rate)

    def take(self, key: str, cost: float = 1) -> float:
        """Take `cost` and return 0; or take nothing and return the seconds to wait."""
        with self._lock:
            left = self._now(key)
            if left < min(cost, self.burst):
                return (min(cost, self.burst) - left) / self.rate
            self._left[key] = (left - cost, time.monotonic())
            self._left.move_to_end(key)
            if len(self._left) > self.keys:
                self._left.popitem(last=False)
            return 0.0

    def _now(self, key: str) -> float:
        left, at = self._left.get(key, (self.burst, 0.0))
        return min(self.burst, left + (time.monotonic() - at) * self.rate) if key in self._left else self.burst


class Guard:
    """A layer before the application (ASGI): it answers requests that must not get through, without reading them.

    Args:
        app: the application.
        storage: knows the code, the key and the learners.
        limits: how much the board takes.
        policy: the page's content security policy.

    Example:
        Guard(app, storage, Limits(), "default-src 'none'")
    """

    def __init__(self, app: Application, storage: Storage, limits: Limits, policy: str):
        self.app, self.storage, self.limits = app, storage, limits
        self._address, self._wrong = Limiter(*limits.address), Limiter(*limits.wrong)
        self._newcomers, self._asking = Limiter(*limits.newcomers), Limiter(*limits.asking)
        self._learner = Limiter(*limits.requests)
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        refusal = self._refuse(scope)
        body = b""
        if refusal is None and scope["method"] == "POST":
            refusal, body = await self._body(scope, receive)
        if refusal is not None:
            await _answer(send_with_headers, refusal)
            return
        delivered = False

        async def receive_again() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()  # says when the other side has gone
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_again, send_with_headers)

    def _refuse(self, scope: Scope) -> _Refusal | None:
        """A refusal, if the headers alone are reason enough."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS:
            return _Refusal(431, f"Headers have {HEADERS} bytes at most.")
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        said = headers.get(b"authorization", "")[:200].removeprefix("Bearer ")
        address = (scope.get("client") or ("unknown", 0))[0]
        if scope["method"] == "GET":
            # The empty page is for everybody; what it shows needs its key, which nobody can guess.
            if scope["path"] in _FOR_ALL or self._is_key(said):
                return None
        elif scope["path"] == REMOVE:
            if self._is_key(said):
                return None
        # Nor the code: 31 to the power of 8. So the right one always counts, however many wrong ones came before it
        # from the same address; a whole day of guessing at full speed finds it with a chance below 1 in 10,000.
        elif hmac.compare_digest(rules.plain_code(said).encode(), rules.plain_code(self.storage.code).encode()):
            return self._refuse_learner(scope["path"], headers, address)
        wait = self._address.take(address)
        if wait:
            return _Refusal(429, "Too many requests.", wait)
        if not scope["path"].startswith("/api/"):
            return None
        if scope["method"] == "GET" or scope["path"] == REMOVE:
            return _Refusal(401, "The key of the page is wrong.")
        wait = self._wrong.take(address)
        return _Refusal(429, "Too many wrong codes.", wait) if wait else _Refusal(401, "The join code is wrong.")

    def _is_key(self, said: str) -> bool:
        return hmac.compare_digest(said.encode(), self.storage.key.encode())

    def _refuse_learner(self, path: str, headers: dict[bytes, str], address: str) -> _Refusal | None:
        """The same for somebody who has the join code."""
        learner = headers.get(b"x-learner", "")
        if not LEARNER.fullmatch(learner):
            return _Refusal(400, "X-Learner must be 32 hexadecimal digits.")
        if headers.get(b"x-board", self.storage.board) != self.storage.board:
            return _Refusal(409, "This is another board.")
        if self.storage.knows(learner):
            wait = self._learner.take(learner)
            return _Refusal(429, "Too many requests.", wait) if wait else None
        wait = (self._asking if path == ASK else self._newcomers).take(address)
        return _Refusal(429, "Too many new learners.", wait) if wait else None

    async def _body(self, scope: Scope, receive: Receive) -> tuple[_Refusal | None, bytes]:
        headers = dict(scope["headers"])
        if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
            return _Refusal(415, "Send application/json."), b""
        too_long = _Refusal(413, f"A message has {rules.BODY} bytes at most.")
        said = headers.get(b"content-length", b"0")
        if not said.isdigit() or int(said[:20]) > rules.BODY:
            return too_long, b""
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self.limits.seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return _Refusal(400, "The message ended early."), b""
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > rules.BODY:
                        return too_long, b""
        except TimeoutError:
            return _Refusal(408, "The message took too long."), b""
        return None, bytes(body)


async def _answer(send: Send, refusal: _Refusal) -> None:
    content = json.dumps({"detail": refusal.words}).encode()
    # The rest of a refused message is not read: the connection ends.
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.wait:
        headers.append((b"retry-after", str(math.ceil(refusal.wait)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
