"""One job of a model at a time: begin, stop, wait, and what happens when an answer or an error comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self, Unpack

from labs_helper.common.markup import escape
from labs_helper.common.translate import _, _n
from labs_helper.errors import LabError

if TYPE_CHECKING:
    from labs_helper.engines.base import Token
    from labs_helper.engines.worker import Job
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options, Prompting

# Ten updates a second look fluent. Each one resends the whole text, so more would only cost.
UPDATE_SECONDS = 0.1

State = Literal["", "running", "stopping"]


class Jobs:
    """What a widget needs to run jobs on a model, without any control of its own.

    Callbacks of a `Job` arrive on the worker's thread and presses of buttons on another one. So the state changes
    under one lock, and the only thing a callback does to the screen is to set traits. A subclass says how the state
    and the status are shown: `_show_job`, `say`, and `_failed` for an error.
    """

    def _set_up_jobs(self) -> None:
        """Make the state; called before the widget's own `__init__`."""
        self._lock = threading.RLock()
        self._idle = threading.Event()
        self._idle.set()
        self._job: Job[Answer] | None = None
        self._stopping = False
        self._last_update = 0.0
        self._count = 0  # tokens of the running job so far

    @property
    def busy(self) -> bool:
        """Whether an answer is being made."""
        return not self._idle.is_set()

    def wait(self, timeout: float = 120.0) -> Self:
        """Wait until nothing runs any more; for tests and for code without a mouse.

        Args:
            timeout: seconds.

        Returns:
            The widget itself, so that `chat.send("…").wait()` can be the last line of a cell.

        Raises:
            TimeoutError: it is still running after `timeout` seconds.
        """
        if not self._idle.wait(timeout):
            raise TimeoutError(
                _("Still running after {seconds:g} seconds. Press Stop, or wait longer.").format(seconds=timeout)
            )
        return self

    def stop(self) -> None:
        """Ask the running answer to stop at its next token. The words so far are kept."""
        with self._lock:
            if not self.busy:
                return
            self._stopping = True
            self._show_job("stopping")
            job = self._job
        if job is not None:
            job.stop()

    def say(self, words: str) -> None:
        """Put one line of status on the screen."""
        raise NotImplementedError

    def _refuse_if_busy(self) -> bool:
        """Whether an answer is being made; then the status says so."""
        if self.busy:
            self.say(still_answering())
        return self.busy

    def _begin(self) -> bool:
        """Take the widget for one run. False, and words, if it is taken already: a double click sends once."""
        with self._lock:
            if self._refuse_if_busy():
                return False
            self._idle.clear()
            self._stopping = False
            self._job = None
            self._last_update = 0.0
        self._show_job("running")
        return True

    def _start(
        self,
        submit: Callable[..., Job[Answer]],
        prompt: Prompting,
        *,
        name: str,
        on_token: Callable[[Token], None],
        on_done: Callable[[Answer], None],
        **options: Unpack[Options],
    ) -> None:
        """Submit one job of the run that `_begin` opened.

        Both outcomes come back on the worker's thread: an answer goes to `on_done`, an error to `_failed`. An error
        that `submit` raises at once takes the same way.

        Args:
            submit: of a `Model` or a `Conversation`.
            prompt: the question.
            name: of the model, for the status.
            on_token: called with each token.
            on_done: called with the answer.
            **options: of the question.
        """
        self._count = 0

        def loading(seconds: float | None) -> None:
            self._say_loading(name, seconds)

        def token_came(token: Token) -> None:
            self._count += 1
            on_token(token)

        def done(answer: Answer) -> None:
            try:
                on_done(answer)
            except BaseException:
                self._end()  # a mistake of ours must not leave the buttons dead; the worker prints it
                raise

        try:
            # Under the lock, because the job can end, and its callback start the next one, before this line is done:
            # the older job must not be taken for the current one.
            with self._lock:
                job = submit(
                    prompt, on_token=token_came, on_done=done, on_error=self._failed, on_loading=loading, **options
                )
                if self.busy:
                    self._job = job
                stop_now = self._stopping and self.busy
        except LabError as error:
            self._failed(error)
            return
        except BaseException as error:
            self._failed(error)  # not foreseen: free the buttons, then let the reader see all of it
            raise
        if stop_now:
            job.stop()

    def _say_loading(self, name: str, seconds: float | None) -> None:
        """Say that the model is being loaded, or how long it took."""
        words = _("Loading {name}…") if seconds is None else _("Loaded in {seconds:.1f} s. Waiting…")
        self.say(words.format(name=name, seconds=seconds))

    def _end(self) -> None:
        """Give the widget back: the buttons work again and `wait` returns."""
        self._show_job("")
        with self._lock:
            self._job = None
            self._stopping = False
            self._idle.set()

    def _due(self) -> bool:
        """Whether it is time for the next update on the screen."""
        now = time.monotonic()
        if now - self._last_update < UPDATE_SECONDS:
            return False
        self._last_update = now
        return True

    def _show_job(self, state: State) -> None:
        """Show whether an answer is being made, and whether Stop was pressed."""
        raise NotImplementedError

    def _failed(self, error: BaseException) -> None:
        raise NotImplementedError


def as_model(model: Model | str | None) -> Model:
    """A `Model` from a `Model`, a role such as "instruct", or None (then "instruct")."""
    if model is None or isinstance(model, str):
        from labs_helper.models.load import load

        return load(model or "instruct")
    return model


def still_answering() -> str:
    """Why nothing else can be asked while an answer is being made."""
    return _("Still answering. Wait, or press Stop first.")


def error_html(words: str) -> str:
    """An error as a paragraph."""
    mark = escape(_("Error:"))
    return f"<p><strong>{mark}</strong> {escape(words)}</p>"


def counted(tokens: int) -> str:
    """A number of tokens in words.

    Example:
        >>> counted(1), counted(2)
        ('1 token', '2 tokens')
    """
    return _n("{count} token", "{count} tokens", tokens).format(count=tokens)


def error_words(error: BaseException) -> str:
    """An error as one sentence for a reader. Errors of the course already say what to do next."""
    if isinstance(error, LabError):
        return str(error)
    return _("Something unexpected happened ({kind}): {error}").format(kind=type(error).__name__, error=error)
