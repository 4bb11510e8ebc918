"""The instructor's side: a small FastAPI application, and uvicorn in a thread. Needs the extra [board].

What learners send is checked field by field, kept as text and numbers, and never run.
"""

from __future__ import annotations

import asyncio
import base64
import glob
import hashlib
import math
import re
import sqlite3
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from labs_helper.board import joining, pages, rules
from labs_helper.board.guard import ASK, HEADERS, LEARNER, REMOVE, Guard, Limiter, Limits
from labs_helper.board.listener import Listener, protocol
from labs_helper.board.storage import BoardFull, Result, Storage
from labs_helper.common import servers
from labs_helper.common.connections import Connections, room
from labs_helper.common.translate import _
from labs_helper.errors import EndpointFailed

_AT_ONCE = 128  # connections that asyncio takes in one turn
Alias = Annotated[str, AfterValidator(rules.clean_alias)]
Learner = Annotated[str, Header(alias="X-Learner", pattern=f"^{LEARNER.pattern}$")]


class _Strict(BaseModel):
    """Refuses unknown fields, and text where a number belongs."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Join(_Strict):
    """What `labs board join` sends."""

    alias: Alias


class Submission(_Strict):
    """One check."""

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    exercise: str = Field(min_length=1, max_length=8)
    status: Literal["passed", "try again"]
    tries: int = Field(ge=1, le=rules.TRIES)
    age: float = Field(ge=0, le=rules.AGE)


class Batch(_Strict):
    """Some checks of one learner."""

    alias: Alias
    results: list[Submission] = Field(min_length=1, max_length=rules.BATCH)


class Removal(_Strict):
    """What the instructor's page sends to remove a learner."""

    alias: str = Field(min_length=1, max_length=200)


def create_app(
    storage: Storage, exercises: Mapping[str, str], how: joining.Joining, limits: Limits | None = None
) -> Guard:
    """The application, behind its guard.

    Args:
        storage: what the board knows.
        exercises: titles by number, in the order to show them.
        how: learners join.
        limits: how much it takes.

    Example:
        create_app(Storage(Path("board.sqlite")), {"0.1": "Find a capital"}, joining.at("127.0.0.1", 8765, "K7MQ-3XHD"))
    """
    limits = limits or Limits()
    page, join_page = pages.page("page.html"), pages.page("join.html")
    app = FastAPI(title="Class board", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    pace = Limiter(*limits.learner)

    _refuse_in_words(app)
    _serve_the_instructor(app, storage, exercises, how)

    @app.get("/")
    async def board() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get(joining.PATH)
    async def how_to_join() -> HTMLResponse:
        return HTMLResponse(join_page)

    @app.post(ASK)
    async def which() -> dict[str, Any]:
        return {"board": storage.board}

    @app.post("/api/join")
    def join(message: Join, learner: Learner) -> dict[str, Any]:
        try:
            return {"alias": storage.join(learner, message.alias), "board": storage.board}
        except BoardFull as error:
            raise HTTPException(403, str(error)) from error

    @app.post("/api/results")
    def results(message: Batch, learner: Learner) -> dict[str, Any]:
        if any(sent.exercise not in exercises for sent in message.results):
            raise HTTPException(422, "Refused: exercise: there is no such exercise in this course.")
        wait = pace.take(learner, len(message.results))
        if wait:
            raise HTTPException(429, "Too many results.", {"Retry-After": str(math.ceil(wait))})
        taken = [Result(sent.id, sent.exercise, sent.status, sent.tries, sent.age) for sent in message.results]
        try:
            return {"new": storage.add(learner, message.alias, taken), "board": storage.board}
        except BoardFull as error:
            raise HTTPException(403, str(error)) from error

    return Guard(app, storage, limits, _policy(page, join_page))


def _serve_the_instructor(app: FastAPI, storage: Storage, exercises: Mapping[str, str], how: joining.Joining) -> None:
    """What the instructor's page asks; the guard lets nothing else through to these."""
    shown = [{"id": number, "title": title} for number, title in exercises.items()]
    # A thread of its own: a page does not queue behind learners who send.
    pages = ThreadPoolExecutor(1, thread_name_prefix="labs-page")

    @app.get("/api/state")
    async def state(since: str = "") -> Response:
        def answer() -> Response:
            if since == storage.version:
                return Response(status_code=204)
            return JSONResponse(storage.state() | {"exercises": shown})

        return await asyncio.get_running_loop().run_in_executor(pages, answer)

    @app.get("/api/room")
    async def the_room() -> JSONResponse:
        return JSONResponse(how.to_page())

    @app.post(REMOVE)
    def remove(message: Removal) -> dict[str, Any]:
        # An alias is no pattern here, whatever is in it.
        return {"removed": storage.remove(glob.escape(message.alias))}


def _refuse_in_words(app: FastAPI) -> None:
    """Answer what is wrong in a message, or with the file, in a sentence."""

    @app.exception_handler(RequestValidationError)
    def refused(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Which field is wrong and why; never its content.
        first = error.errors()[0]
        field = ".".join(
            str(part)[:20]
            for part in first["loc"][:4]
            if part in Batch.model_fields or part in Submission.model_fields or isinstance(part, int)
        )
        return JSONResponse({"detail": f"Refused: {field or 'the message'}: {first['type']}."}, 422)

    @app.exception_handler(sqlite3.Error)
    def no_file(_request: Request, _error: sqlite3.Error) -> JSONResponse:
        # A full disk, a file that another program holds: learners keep their results and send them later.
        return JSONResponse({"detail": "The board cannot use its file."}, 503, {"Retry-After": "5"})


def _policy(*pages: str) -> str:
    """A content security policy that allows the scripts and styles of these pages and nothing else."""

    def sums(tag: str) -> str:
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for page in pages
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        )

    return (
        f"default-src 'none'; script-src {sums('script')}; style-src {sums('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Board(servers.Server):
    """A class board that runs in a thread until `close`; also a context manager.

    Args:
        data: the board's file.
        exercises: titles by number, in the order to show them.
        host: the address to listen on.
        port: 0 picks a free one.
        limits: how much it takes.

    Raises:
        LabError: the file cannot be used.
        EndpointFailed: the address cannot be used.

    Example:
        with Board(Path("board.sqlite"), {"0.1": "Find a capital"}) as board:
            print(board.joining.commands)
    """

    def __init__(
        self,
        data: Path,
        exercises: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int = rules.PORT,
        *,
        limits: Limits | None = None,
    ):
        super().__init__(host, port)
        try:
            self.storage = Storage(data)
        except BaseException:
            self._socket.close()
            raise
        limits = limits or Limits()
        self.joining = joining.at(host, self.port, self.storage.code)
        # Connections that the system holds, and those that end, are files as well.
        connections = Connections(room(limits.connections, spare=64 + _AT_ONCE // 2))
        settings = uvicorn.Config(
            create_app(self.storage, exercises, self.joining, limits),
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            backlog=_AT_ONCE,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=HEADERS,
            http=protocol(connections),
            loop="asyncio",
            proxy_headers=False,
        )
        self._server = Listener(settings, connections, limits.seconds)
        # Not in the main thread: there uvicorn would take Ctrl-C for itself.
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True, name="labs-board")
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        if not self._server.started:
            self.close()
            raise EndpointFailed(
                _("The class board did not start at {host}:{port}.").format(host=host, port=self.port),
                _("Choose another port with --port."),
            )
        self._socket.listen(servers.BACKLOG)  # again: asyncio has made the queue as short as its turns

    @property
    def page(self) -> str:
        """Where the instructor sees the page. Its key comes after the #, which browsers send to no server."""
        return f"{self.url}/#{self.storage.key}"

    def close(self) -> None:
        """Stop. Every result that arrived is in the file."""
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        self.storage.close()
