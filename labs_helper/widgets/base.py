"""What all widgets share: a static form next to the live one, text status, one job at a time, `wait`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import ipywidgets
import traitlets

from labs_helper.common.markup import escape
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure
from labs_helper.widgets.controls import button, html, row, text_field, title
from labs_helper.widgets.jobs import Jobs, State, error_html, error_words
from labs_helper.widgets.keyboard import Keyboard

if TYPE_CHECKING:
    from labs_helper.engines.base import Token
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options

    Bundle = dict[str, Any]  # MIME type -> data, as Jupyter wants it


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


class JobWidget(Jobs, LabWidget):
    """A widget of ipywidgets' controls that runs jobs on a model: status in words, a Stop button, `wait`."""

    def __init__(self, **kwargs: object) -> None:
        self._set_up_jobs()
        self.status = html()
        self.stop_button = button(_("Stop"), self.stop, _("Stop after the next token"))
        self.stop_button.disabled = True
        super().__init__(**kwargs)

    def say(self, words: str) -> None:
        self.status.value = f'<span role="status">{escape(words)}</span>'

    def _show_job(self, state: State) -> None:
        self.stop_button.description = _("Stopping…") if state == "stopping" else _("Stop")
        self.stop_button.disabled = state != "running"
        self._set_enabled(not state)

    def _set_enabled(self, enabled: bool) -> None:
        """Switch the buttons that start something."""


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
