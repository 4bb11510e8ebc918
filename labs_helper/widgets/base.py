"""What all widgets share: a static form next to the live one, text status, one job at a time, `wait`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

import ipywidgets
import traitlets

from labs_helper.common.markup import escape
from labs_helper.common.translate import _, _n
from labs_helper.errors import LabError
from labs_helper.figures.base import Figure
from labs_helper.widgets.controls import button, html, row, text_field, title
from labs_helper.widgets.keyboard import Keyboard

if TYPE_CHECKING:
    from labs_helper.engines.base import Token
    from labs_helper.engines.worker import Job
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options, Prompting

    Bundle = dict[str, Any]  # MIME type -> data, as Jupyter wants it

# Ten updates a second look fluent. Each one resends the whole text, so more would only cost.
UPDATE_SECONDS = 0.1


class LabWidget(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A box of controls that works from the keyboard and can also be read where no kernel runs.

    The output of a cell carries the live widget and, beside it, `text/html` and `text/plain` with the same facts.
    Notebook viewers, nbconvert and nbval use those. Subclasses implement `static()`.
    """

    def __init__(self, **kwargs: object) -> None:
        self._keyboard = Keyboard(layout={"display": "none"})
        super().__init__(**kwargs)
        self.add_class("labs-widget")

    @traitlets.validate("children")
    def _with_keyboard(self, proposal: Mapping[str, Any]) -> tuple[ipywidgets.Widget, ...]:
        return (*(child for child in proposal["value"] if child is not self._keyboard), self._keyboard)

    def static(self) -> Figure:
        """The current content as a `Figure`; no controls."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: object) -> Bundle | tuple[Bundle, Bundle] | None:
        bundle: Bundle | tuple[Bundle, Bundle] | None = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        figure = self.static()
        texts = {"text/html": figure.html, "text/plain": figure.text}
        if isinstance(bundle, tuple):
            return {**bundle[0], **texts}, bundle[1]
        return {**bundle, **texts}

    def __repr__(self) -> str:
        return self.static().text


class JobWidget(LabWidget):
    """A widget that runs jobs on a model: status in words, a Stop button, `wait`.

    Callbacks of a `Job` arrive on the worker's thread and button clicks on another one. So the state changes under
    one lock, and the only thing a callback does to the screen is to set traits.
    """

    def __init__(self, **kwargs: object) -> None:
        self._lock = threading.RLock()
        self._idle = threading.Event()
        self._idle.set()
        self._job: Job[Answer] | None = None
        self._stopping = False
        self._last_update = 0.0
        self._count = 0  # tokens of the running job so far
        self.status = html()
        self.stop_button = button(_("Stop"), self.stop, _("Stop after the next token"))
        self.stop_button.disabled = True
        super().__init__(**kwargs)

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
            self.stop_button.description = _("Stopping…")
            self.stop_button.disabled = True
            job = self._job
        if job is not None:
            job.stop()

    def say(self, words: str) -> None:
        """Put one line of status on the screen."""
        self.status.value = f'<span role="status">{escape(words)}</span>'

    def _refuse_if_busy(self) -> bool:
        """Whether an answer is being made; then the status says so."""
        if self.busy:
            self.say(_("Still answering. Wait, or press Stop first."))
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
        self.stop_button.disabled = False
        self._set_enabled(False)
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
            words = _("Loading {name}…") if seconds is None else _("Loaded in {seconds:.1f} s. Waiting…")
            self.say(words.format(name=name, seconds=seconds))

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

    def _end(self) -> None:
        """Give the widget back: the buttons work again and `wait` returns."""
        self.stop_button.description = _("Stop")
        self.stop_button.disabled = True
        self._set_enabled(True)
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

    def _say_progress(self) -> None:
        """Say how many tokens have come, unless the reader has pressed Stop."""
        if not self._stopping:
            self.say(_("Generating… {tokens}").format(tokens=counted(self._count)))

    def _set_enabled(self, enabled: bool) -> None:
        """Switch the buttons that start something."""

    def _failed(self, error: BaseException) -> None:
        raise NotImplementedError


class Explorer(JobWidget):
    """A prompt over a view of its answers: what `tokens` and `experts` have in common.

    A subclass has its own `show`, which calls `_take`, `_ask` and at last `_show_answers`, and says what it is in
    `_heading` and what it draws in `_figure`.

    Args:
        model: which one to ask.
        label: of the button that starts.
        tooltip: of the same.
        prompt: first value of the field.
        label_width: of the field, as CSS.
    """

    def __init__(self, model: Model, *, label: str, tooltip: str, prompt: str, label_width: str) -> None:
        self.model = model
        self.answers: list[Answer] = []
        self._error = ""
        self.message = text_field(_("Prompt"), prompt, enter=self._show_typed, label_width=label_width)
        self.run_button = button(label, self._show_typed, tooltip, primary=True)
        self.view = html()
        super().__init__()
        self.say(_("Type a prompt and press {button}.").format(button=label))

    def _arrange(self, *fields: object) -> None:
        """Put the controls into their order; `fields` are those between the prompt and the buttons."""
        self.children = (
            title(self._heading()),
            self.message,
            *fields,
            row(self.run_button, self.stop_button),
            self.status,
            self.view,
        )

    def static(self) -> Figure:
        if self._error:
            return Figure.of_words(_("{heading}. Error: {error}").format(heading=self._heading(), error=self._error))
        if not self.answers:
            return Figure.of_words(_("{heading}: no answer yet.").format(heading=self._heading()))
        return self._figure()

    def _heading(self) -> str:
        raise NotImplementedError

    def _figure(self) -> Figure:
        raise NotImplementedError

    def _show_typed(self) -> None:
        """Show what is typed; for the button and for Enter."""
        raise NotImplementedError

    def _take(self) -> bool:
        """Begin with the prompt in the field. False, and words, if there is none or an answer is being made."""
        if not self.message.value.strip():
            self.say(_("Type a prompt first."))
            return False
        if not self._begin():
            return False
        self.answers, self._error = [], ""
        self.say(_("Waiting for the model…"))
        return True

    def _ask(self, prompt: str, **options: Unpack[Options]) -> None:
        self._start(
            self.model.submit,
            prompt,
            name=self.model.name,
            on_token=self._on_token,
            on_done=self._on_done,
            **options,
        )

    def _on_token(self, _token: Token) -> None:
        if self._due():
            self._say_progress()

    def _on_done(self, answer: Answer) -> None:
        self.answers.append(answer)
        self._show_answers()

    def _show_answers(self) -> None:
        """Draw the view, say how it went, and give the widget back."""
        self.view.value = self.static().html
        words = _("Stopped. {statistics}") if self._stopping else _("Done. {statistics}")
        self.say(words.format(statistics=self.answers[-1].statistics_line))
        self._end()

    def _failed(self, error: BaseException) -> None:
        self._error = error_words(error)
        self.view.value = error_html(self._error)
        self.say(_("No answer. Change the prompt or the settings and try again."))
        self._end()

    def _set_enabled(self, enabled: bool) -> None:
        self.run_button.disabled = not enabled


def as_model(model: Model | str | None) -> Model:
    """A `Model` from a `Model`, a role such as "instruct", or None (then "instruct")."""
    if model is None or isinstance(model, str):
        from labs_helper.models.load import load

        return load(model or "instruct")
    return model


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


def error_html(words: str) -> str:
    """An error as a paragraph."""
    return f"<p><strong>{escape(_('Error:'))}</strong> {escape(words)}</p>"
