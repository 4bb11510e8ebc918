"""Many clients at once: each asks, reads its answer to the end and asks again, and everything is timed.

The clients run as tasks of one loop in a thread of their own: a notebook's loop is busy with the notebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import httpx

from labs_helper.catalog import endpoints
from labs_helper.common import network
from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.engines.stream_reader import StreamReader
from labs_helper.errors import BadRequest
from labs_helper.serving.proxy import Gate
from labs_helper.serving.retry import Again
from labs_helper.serving.server import ModelServer

MOST_CLIENTS = 256


@dataclass(frozen=True)
class Reply:
    """What became of one question.

    Attributes:
        question: what was asked.
        text: the answer, or the part of it that arrived.
        asked: when it was sent for the first time, in seconds since the run began.
        sent: when the attempt that this is about was sent.
        first: when its first text arrived; NaN if none did.
        ended: when it ended.
        tokens: of the answer, as the server counts them; pieces if it does not.
        prompt_tokens: of the prompt, as the server counts them.
        cached_tokens: of these, the tokens that it had read before.
        attempts: how often it was sent.
        repeated: how many of them were sent after an answer that had begun.
        problem: why there is no whole answer; empty if there is.
    """

    question: str
    text: str
    asked: float
    sent: float
    first: float
    ended: float
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    attempts: int
    repeated: int
    problem: str

    @property
    def whole(self) -> bool:
        """Whether the answer is there, to its end."""
        return not self.problem

    @property
    def seconds(self) -> float:
        """From the question to the end of its answer, other attempts and pauses included."""
        return self.ended - self.asked

    @property
    def to_first(self) -> float:
        """Seconds from the question to the first text."""
        return self.first - self.asked

    @property
    def per_token(self) -> float:
        """Seconds for each token after the first; NaN for an answer of one token."""
        return (self.ended - self.first) / (self.tokens - 1) if self.tokens > 1 else math.nan


@dataclass(frozen=True)
class Run:
    """What a number of clients measured.

    Attributes:
        clients: how many asked at the same time.
        replies: one for each question.
        seconds: from the first question to the last answer.
    """

    clients: int
    replies: tuple[Reply, ...] = field(repr=False)
    seconds: float

    @property
    def whole(self) -> tuple[Reply, ...]:
        """The replies that are whole."""
        return tuple(reply for reply in self.replies if reply.whole)

    @property
    def lost(self) -> int:
        """Questions without a whole answer."""
        return len(self.replies) - len(self.whole)

    @property
    def tokens_per_second(self) -> float:
        """Of all clients together, whole answers alone."""
        return sum(reply.tokens for reply in self.whole) / self.seconds

    @property
    def answers_per_second(self) -> float:
        """Of all clients together."""
        return len(self.whole) / self.seconds

    @property
    def waited(self) -> float:
        """Mean seconds from a question to the end of its answer."""
        return _mean([reply.seconds for reply in self.whole])

    @property
    def to_first(self) -> float:
        """Median seconds to the first text."""
        return _median([reply.to_first for reply in self.whole])

    @property
    def per_token(self) -> float:
        """Median seconds for each further token of an answer."""
        return _median([reply.per_token for reply in self.whole])

    def __str__(self) -> str:
        told = _(
            "{clients:3} clients: {rate:6.1f} tokens/s in all, first text after {first:5.0f} ms, then {each:5.1f} ms "
            "a token ({count} answers in {seconds:.1f} s)"
        ).format(
            clients=self.clients,
            rate=self.tokens_per_second,
            first=1000 * self.to_first,
            each=1000 * self.per_token,
            count=len(self.whole),
            seconds=self.seconds,
        )
        return told + (_("; {count} lost").format(count=self.lost) if self.lost else "")


def load_test(
    server: ModelServer | Gate | str,
    clients: int,
    questions: Sequence[str],
    *,
    each: int = 3,
    max_tokens: int = 48,
    pause: float = 0.0,
    again: Again | None = None,
    at: tuple[int, Callable[[], object]] | None = None,
    key: str = "",
    model: str = "",
    options: dict[str, Any] | None = None,
    timeout: float = 60.0,
    seconds: float = 120.0,
) -> Run:
    """Let clients ask at the same time, each its own questions one after the other.

    Args:
        server: from `serve` or `gate`, or an address.
        clients: how many.
        questions: taken in turn.
        each: how many questions a client asks.
        max_tokens: of each answer.
        pause: seconds that a client reads before it asks again.
        again: decides whether a question that failed is asked again (see `retry`); None never does.
        at: (a number, a function): the function is called once, in a thread of its own, when that many answers
            are there. For what happens in the middle. The run waits for its end.
        key: the API key to send.
        model: what to ask the server for; by default its own, and "default_model" where only an address is known.
        options: more fields of the request, such as {"seed": 1}.
        timeout: seconds without a byte after which an attempt is given up.
        seconds: after which the run ends and what is not there counts as lost.

    Raises:
        BadRequest: the numbers make no sense.
        Exception: what the function of `at` raised.

    Example:
        print(load_test(server, 8, ["Where is Lima?"]))
    """
    if isinstance(clients, bool) or not isinstance(clients, int) or not 1 <= clients <= MOST_CLIENTS:
        raise BadRequest(
            _("{clients!r} clients are not possible.").format(clients=clients),
            _("Use a whole number from 1 to {most}.").format(most=MOST_CLIENTS),
        )
    if isinstance(questions, str) or not questions or each < 1:
        raise BadRequest(
            _("There is nothing to ask."), _("Give a list with at least one question, and each=1 or more.")
        )
    url = server if isinstance(server, str) else server.url
    body = {
        "model": model or ("default_model" if isinstance(server, str) else server.model),
        "max_tokens": max_tokens,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **(options or {}),
    }
    work = _Work(url, body, tuple(questions), clients, each, pause, again, at, key, timeout, seconds)
    return _in_a_thread(work)


class _Work:
    """One run: its clients, and what they share."""

    def __init__(
        self,
        url: str,
        body: dict[str, Any],
        questions: tuple[str, ...],
        clients: int,
        each: int,
        pause: float,
        again: Again | None,
        at: tuple[int, Callable[[], object]] | None,
        key: str,
        timeout: float,
        seconds: float,
    ) -> None:
        self.url, self.body, self.questions = url, body, questions
        self.clients, self.each, self.pause, self.again, self.at = clients, each, pause, again, at
        self.key, self.timeout, self.seconds = key, timeout, seconds
        self.replies: list[Reply] = []
        self.middle: asyncio.Future[object] | None = None

    async def run(self) -> Run:
        self.began = time.perf_counter()
        proxy = network.proxy_for(self.url)
        async with httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.key or 'none'}"},
            timeout=httpx.Timeout(self.timeout, connect=10),
            # A connection for each request: one that is kept may be closed by the server at the moment of the next.
            limits=httpx.Limits(max_connections=self.clients + 1, max_keepalive_connections=0),
            proxy=proxy.url if proxy else None,
            verify=network.trust() if self.url.startswith("https:") else False,
            trust_env=False,
        ) as http:
            tasks = [asyncio.create_task(self._client(http, number)) for number in range(self.clients)]
            await asyncio.wait(tasks, timeout=self.seconds)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        seconds = self.now
        if self.middle is not None:
            await self.middle
        for error in ended:
            if isinstance(error, Exception):
                raise error
        return Run(self.clients, tuple(self.replies), seconds)

    async def _client(self, http: httpx.AsyncClient, number: int) -> None:
        for turn in range(self.each):
            question = self.questions[(number + turn * self.clients) % len(self.questions)]
            asking = _Asking(self, http, question)
            try:
                await asking.to_the_end()
            except asyncio.CancelledError:
                asking.problem = _("the time of the run was over")
                self._note(asking.reply())
                for later in range(turn + 1, self.each):
                    later_question = self.questions[(number + later * self.clients) % len(self.questions)]
                    self._note(_Asking(self, http, later_question).reply(_("it was never asked")))
                raise
            self._note(asking.reply())
            if self.pause and turn + 1 < self.each:
                await asyncio.sleep(self.pause)

    def _note(self, reply: Reply) -> None:
        self.replies.append(reply)
        if self.at is not None and sum(known.whole for known in self.replies) >= self.at[0]:
            function, self.at = self.at[1], None
            self.middle = asyncio.get_running_loop().run_in_executor(None, function)

    @property
    def now(self) -> float:
        return time.perf_counter() - self.began


class _Asking:
    """One question with all its attempts."""

    def __init__(self, work: _Work, http: httpx.AsyncClient, question: str) -> None:
        self.work, self.http, self.question = work, http, question
        self.asked = work.now
        self.attempts = self.repeated = 0
        self.problem = ""
        self._begin()

    def _begin(self) -> None:
        self.sent, self.first, self.text, self.pieces = self.work.now, math.nan, "", 0
        self.reader = StreamReader(secret=self.work.key)

    async def to_the_end(self) -> None:
        while True:
            self._begin()
            self.attempts += 1
            status, wish = await self._attempt()
            if not self.problem or self.work.again is None:
                return
            began = bool(self.text)
            wait = self.work.again(self.attempts, status, began, wish)
            if wait is None:
                return
            self.repeated += began
            await asyncio.sleep(wait)

    async def _attempt(self) -> tuple[int | None, float | None]:
        """Send it once. Returns the status, if there was one, and how long the server asks us to wait."""
        body = {**self.work.body, "messages": [{"role": "user", "content": self.question}]}
        self.problem = ""
        try:
            async with self.http.stream("POST", f"{self.work.url}/chat/completions", json=body) as response:
                if not response.is_success:
                    self.problem = _("status {status}").format(status=response.status_code)
                    await response.aread()
                    return response.status_code, _wish(response.headers.get("Retry-After"))
                async for data in response.aiter_bytes():
                    self._take(self.reader.feed(data))
                self._take(self.reader.close())
        except httpx.TimeoutException:
            self.problem = _("nothing came for {seconds:g} seconds").format(seconds=self.work.timeout)
        except httpx.HTTPError as error:
            self.problem = _("the connection broke ({kind})").format(kind=type(error).__name__)
        else:
            if self.reader.error is not None:
                self.problem = printable(endpoints.shown(self.reader.error.message)) or _("the server failed")
            elif not self.reader.ended:
                self.problem = _("the answer has no end")
        return None, None

    def _take(self, tokens: Sequence[Any]) -> None:
        for token in tokens:
            if not self.text and token.text:
                self.first = self.work.now
            self.text += token.text
            self.pieces += 1

    def reply(self, problem: str = "") -> Reply:
        usage = self.reader.usage
        return Reply(
            question=self.question,
            text=self.text,
            asked=self.asked,
            sent=self.sent,
            first=self.first,
            ended=self.work.now,
            tokens=usage.generated if usage is not None and usage.generated is not None else self.pieces,
            prompt_tokens=(usage.prompt if usage is not None else None) or 0,
            cached_tokens=(usage.cached if usage is not None else None) or 0,
            attempts=self.attempts,
            repeated=self.repeated,
            problem=problem or self.problem,
        )


def _in_a_thread(work: _Work) -> Run:
    """The run, in a thread with a loop of its own. Stop in a notebook ends it."""
    ended: list[Run | BaseException] = []
    loop = asyncio.new_event_loop()

    def go() -> None:
        with contextlib.closing(loop):
            task = loop.create_task(work.run())
            try:
                ended.append(loop.run_until_complete(task))
            except BaseException as error:
                ended.append(error)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())

    thread = threading.Thread(target=go, daemon=True, name="labs-clients")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:

        def cancel() -> None:
            for task in asyncio.all_tasks(loop):
                task.cancel()

        with contextlib.suppress(RuntimeError):  # it has ended in the meantime
            loop.call_soon_threadsafe(cancel)
        thread.join(5)
        raise
    (result,) = ended
    if isinstance(result, BaseException):
        raise result
    return result


def _wish(text: str | None) -> float | None:
    """The seconds of a Retry-After; None for a date, or for more than a minute."""
    try:
        seconds = float(json.loads(text or "null") or -1)
    except (ValueError, TypeError):
        return None
    return seconds if 0 <= seconds <= 60 else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan
