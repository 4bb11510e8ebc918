"""What all widgets share: a static form next to the live one, text status, one job at a time, `wait`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import anywidget
import ipywidgets
import traitlets

from labs_helper.common.markup import escape
from labs_helper.errors import LabError
from labs_helper.figures.base import Figure

# Ten updates a second look fluent. Each one resends the whole text, so more would only cost.
UPDATE_SECONDS = 0.1
# How long Enter waits for the text it belongs to; see `on_enter`.
ENTER_SECONDS = 0.25


# In command mode JupyterLab's selectors end in `:focus`, so they match the control itself: arrow keys leave a list,
# and "d d" on a button deletes the cell. The attribute `data-lm-suppress-shortcuts` helps only on the focused element
# and would also switch off Ctrl+S. So keys that belong to a control end at the page's body: after the control has had
# them and before JupyterLab, which listens on the document. Tab, Escape, Shift+Enter and keys with Ctrl go on to it.
_KEYS_CODE = """
const control = 'button, input, select, textarea, a, summary, [tabindex]';
function keep(event) {
  if (!event.target.closest?.(".labs-widget")?.contains(event.target.closest(control))) return;
  const moves = /^(Arrow|Home|End|Page| )/.test(event.key);   // with Ctrl too: lists use it to choose several
  if (!moves && (event.ctrlKey || event.metaKey || event.altKey)) return;
  if (/^(Tab|Escape|F[0-9]+)$/.test(event.key) || (event.shiftKey && event.key === "Enter")) return;
  event.stopPropagation();
}
function initialize() {
  if (window.labsKeys) return;
  window.labsKeys = keep;
  document.body.addEventListener("keydown", keep);
}
export default { initialize };
"""
# The ring takes the colour of the text, which stands out in the light and in the dark theme. It lies inside a control:
# the boxes around would cut it off. A box to tick has room around it and none inside.
_KEYS_STYLE = """
.labs-widget :is(button, input, select, textarea, a, summary, [tabindex]):focus-visible {
  outline: 2px solid var(--jp-ui-font-color0, #000) !important;
  outline-offset: -2px;
}
.labs-widget :is([type=checkbox], [type=radio]) { margin-left: 4px !important; }
.labs-widget :is([type=checkbox], [type=radio]):focus-visible { outline-offset: 1px; }
"""


class Keyboard(anywidget.AnyWidget):
    """Keeps the keys of a `LabWidget`'s controls from JupyterLab, and draws a ring around the one that has them.

    It shows nothing itself. Every `LabWidget` has one as its last child.
    """

    _esm = _KEYS_CODE
    _css = _KEYS_STYLE


class LabWidget(ipywidgets.VBox):
    """A box of controls that works from the keyboard and can also be read where no kernel runs.

    The output of a cell carries the live widget and, beside it, `text/html` and `text/plain` with the same facts.
    Notebook viewers, nbconvert and nbval use those. Subclasses implement `static()`.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._keyboard = Keyboard(layout={"display": "none"})
        super().__init__(**kwargs)
        self.add_class("labs-widget")

    @traitlets.validate("children")
    def _with_keyboard(self, proposal: Any) -> tuple[ipywidgets.Widget, ...]:
        return (*(child for child in proposal["value"] if child is not self._keyboard), self._keyboard)

    def static(self) -> Figure:
        """The current content as a `Figure`; no controls."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any):
        bundle = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, None)
        figure = self.static()
        data = {**data, "text/html": figure.html, "text/plain": figure.text}
        return (data, metadata) if metadata is not None else data

    def __repr__(self) -> str:
        return self.static().text


class JobWidget(LabWidget):
    """A widget that runs jobs on a model: status in words, a Stop button, `wait`.

    Callbacks of a `Job` arrive on the worker's thread and button clicks on another one. So the state changes under
    one lock, and the only thing a callback does to the screen is to set traits.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._lock = threading.RLock()
        self._idle = threading.Event()
        self._idle.set()
        self._job: Any = None
        self._stopping = False
        self._last_update = 0.0
        self.status = ipywidgets.HTML()
        self.stop_button = ipywidgets.Button(description="Stop", tooltip="Stop after the next token", disabled=True)
        self.stop_button.on_click(lambda _: self.stop())
        super().__init__(**kwargs)

    @property
    def busy(self) -> bool:
        """True while an answer is being made."""
        return not self._idle.is_set()

    def wait(self, timeout: float = 120.0):
        """Wait until nothing runs any more; for tests and for code without a mouse.

        Arguments:
            timeout: seconds.

        Returns:
            the widget itself, so that `chat.send("…").wait()` can be the last line of a cell.

        Raises:
            TimeoutError: it is still running after `timeout` seconds.
        """
        if not self._idle.wait(timeout):
            raise TimeoutError(f"Still running after {timeout:g} seconds. Press Stop, or wait longer.")
        return self

    def stop(self) -> None:
        """Ask the running answer to stop at its next token. The words so far are kept."""
        with self._lock:
            if not self.busy:
                return
            self._stopping = True
            self.stop_button.description = "Stopping…"
            self.stop_button.disabled = True
            job = self._job
        if job is not None:
            job.stop()

    def say(self, words: str) -> None:
        """Put one line of status on the screen."""
        self.status.value = f'<span role="status">{escape(words)}</span>'

    def _begin(self) -> bool:
        """Take the widget for one run. False when it is already taken, so that a double click sends once."""
        with self._lock:
            if self.busy:
                return False
            self._idle.clear()
            self._stopping = False
            self._job = None
            self._last_update = 0.0
        self.stop_button.disabled = False
        self._set_enabled(False)
        return True

    def _start(self, model: Any, prompt: Any, *, on_token: Any, on_done: Any, **sampling: Any) -> None:
        """Submit one job of the run that `_begin` opened.

        Both outcomes come back on the worker's thread: an answer goes to `on_done`, an error to `_failed`. An error
        that `submit` raises at once takes the same way.
        """

        def loading(seconds: float | None) -> None:
            self.say(f"Loading {model.name}…" if seconds is None else f"Loaded in {seconds:.1f} s. Waiting…")

        def failed(error: BaseException) -> None:
            self._failed(error)

        def done(answer: Any) -> None:
            try:
                on_done(answer)
            except BaseException:
                self._end()  # a mistake of ours must not leave the buttons dead; the worker prints it
                raise

        try:
            # Under the lock, because the job can end, and its callback start the next one, before this line is done:
            # the older job must not be taken for the current one.
            with self._lock:
                job = model.submit(
                    prompt, on_token=on_token, on_done=done, on_error=failed, on_loading=loading, **sampling
                )
                if self.busy:
                    self._job = job
                stop_now = self._stopping and self.busy
        except LabError as error:
            failed(error)
            return
        except BaseException as error:
            failed(error)  # not foreseen: free the buttons, then let the reader see all of it
            raise
        if stop_now:
            job.stop()

    def _end(self) -> None:
        """Give the widget back: the buttons work again and `wait` returns."""
        self.stop_button.description = "Stop"
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

    def _set_enabled(self, enabled: bool) -> None:
        """Switch the buttons that start something."""

    def _failed(self, error: BaseException) -> None:
        raise NotImplementedError


def on_enter(field: ipywidgets.Text, act: Callable[[], None]) -> None:
    """Call `act` when the reader presses Enter in a field, with the whole text in `field.value`.

    The front end reports Enter as a message of its own and sends the text right after it, if it has changed. So
    Enter waits a moment for the text. Watching the text alone would also act when the reader only leaves the field.
    Sending every keystroke instead would lose the last ones: the front end holds them back while the kernel is busy,
    but not the Enter. Korean, Chinese and Japanese input uses Enter to finish a word; browsers do not report that one.

    Arguments:
        field: a one-line text field; it is set to send its text only when the reader is done.
        act: takes no argument; may clear the field.
    """
    field.continuous_update = False
    lock = threading.Lock()
    waiting: list[threading.Timer] = []

    def fire(_change: Any = None) -> None:
        with lock:
            if not waiting:
                return
            waiting.pop().cancel()
        act()

    def message(_field: Any, content: Any, _buffers: Any) -> None:
        if content.get("event") != "submit":
            return
        with lock:
            if waiting:
                return
            timer = threading.Timer(ENTER_SECONDS, fire)
            timer.daemon = True
            waiting.append(timer)
        timer.start()

    field.on_msg(message)
    field.observe(fire, "value")


def as_model(model: Any) -> Any:
    """A `Model` from a `Model`, a role such as "instruct", or None (then "instruct")."""
    if model is None or isinstance(model, str):
        from labs_helper.models import load

        return load(model or "instruct")
    return model


def counted(tokens: int) -> str:
    """A number of tokens in words.

    Example:
        >>> counted(1), counted(2)
        ('1 token', '2 tokens')
    """
    return f"{tokens} token" + ("" if tokens == 1 else "s")


def error_words(error: BaseException) -> str:
    """An error as one sentence for a reader. Errors of the course already say what to do next."""
    if isinstance(error, LabError):
        return str(error)
    return f"Something unexpected happened ({type(error).__name__}): {error}"


def controls(**changes: Any) -> dict[str, ipywidgets.Widget]:
    """The sampling settings as number fields: a slider of ipywidgets has no accessible name and two stops for Tab.

    Arguments:
        changes: first values: temperature, top_p, max_tokens.
    """
    return {
        "temperature": number_field(
            "Temperature",
            changes.get("temperature", 0.0),
            0.0,
            2.0,
            0.1,
            tooltip="0 always takes the likeliest token; higher is more varied",
        ),
        "top_p": number_field(
            "Top-p",
            changes.get("top_p", 1.0),
            0.05,
            1.0,
            0.05,
            tooltip="Choose among the likeliest tokens that together have this probability",
        ),
        "max_tokens": most_tokens(changes.get("max_tokens", 256)),
    }


def most_tokens(value: int) -> ipywidgets.BoundedIntText:
    """The field for the longest answer, in tokens."""
    return number_field("Max tokens", int(value), 1, max(1024, int(value)), 1, tooltip="The longest answer, in tokens")


def number_field(label: str, value: float, least: float, most: float, step: float, *, tooltip: str) -> Any:
    """A number to type, or to step through with the arrow keys. The label says what may be typed.

    Example:
        >>> number_field("Top-p", 1.0, 0.05, 1.0, 0.05, tooltip="").description
        'Top-p (0.05 to 1)'
    """
    kind = ipywidgets.BoundedIntText if isinstance(value, int) else ipywidgets.BoundedFloatText
    return kind(
        value=value,
        min=least,
        max=most,
        step=step,
        description=f"{label} ({least:g} to {most:g})",
        tooltip=tooltip,
        style={"description_width": "12em"},
        layout={"width": "19em"},
    )


def statistics_line(answer: Any) -> str:
    """One line about an answer: speed, tokens, cache, why it ended."""
    parts = []
    if answer.tokens_per_second:
        parts.append(f"{answer.tokens_per_second:.1f} tokens/s")
    parts.append(counted(answer.generated_tokens))
    parts.append(f"prompt {answer.prompt_tokens} tokens, {answer.cached_tokens} of them from the cache")
    ends = {"stop": "ended by itself", "length": "cut at max tokens", "cancelled": "stopped by you"}
    parts.append(ends.get(answer.finish_reason, str(answer.finish_reason)))
    return " · ".join(parts)
