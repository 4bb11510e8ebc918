"""A prompt, or two, over a view of its answers: what `tokens` and `experts` have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import traitlets

from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure
from labs_helper.widgets.jobs import error_html, error_words, still_answering
from labs_helper.widgets.view import JobView

if TYPE_CHECKING:
    from labs_helper.engines.base import Token
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options
    from labs_helper.widgets.numbers import Number


@dataclass
class Line:
    """A prompt on the page.

    Attributes:
        name: in the messages of the page.
        label: what it is called there.
        value: its text.
        empty: what the field says while it is empty.
    """

    name: str
    label: str
    value: str = ""
    empty: str = ""


@dataclass
class Choice:
    """A list to choose from, which changes what is drawn of the same answers.

    Attributes:
        name: in the messages of the page.
        label: what it is called there.
        options: words and value of each.
        value: the chosen one.
        acts: whether it changes anything now; the page hides it otherwise.
    """

    name: str
    label: str
    options: list[tuple[str, str]]
    value: str
    acts: bool = True


class Explorer(JobView):
    """Prompts, settings and a view of the answers.

    A subclass has its own `show`, which calls `_take`, `_ask` and at last `_show_answers`, and says what it is in
    `_heading` and what it draws in `_figure`.

    Attributes:
        answers: those that are drawn.
        texts: the prompts, as the page needs them.
        choices: what can be chosen to be drawn, as the page needs it.
        drawing: what is drawn, as HTML.

    Args:
        model: which one to ask.
        label: of the button that starts.
        hint: what it does, in more words.
        lines: the prompts.
        numbers: the settings of an answer.
        choices: what to draw.
    """

    PAGE: ClassVar[tuple[str, ...]] = ("explorer",)

    title = traitlets.Unicode().tag(sync=True)
    texts: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    choices: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    numbers: traitlets.List[dict[str, object]] = traitlets.List().tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        model: Model,
        *,
        label: str,
        hint: str,
        lines: Sequence[Line],
        numbers: Sequence[Number],
        choices: Sequence[Choice] = (),
    ) -> None:
        self.model = model
        self.answers: list[Answer] = []
        self._error = ""
        self._lines = {line.name: line for line in lines}
        self._choices = {choice.name: choice for choice in choices}
        self._numbers = {number.name: number for number in numbers}
        super().__init__(
            words={
                "run": label,
                "run_hint": hint,
                "keys": _("Enter does the same, Shift+Enter breaks the line."),
                "settings": _("Settings of the answer"),
            },
            title=printable(self._heading()),
        )
        self._show_controls()
        self.on_page("set", self._set, name=str, text=str)
        self.on_page("show", self._show_typed)
        self.say(_("Type a prompt and press {button}.").format(button=label))

    def static(self) -> Figure:
        if self._error:
            return Figure.of_words(_("{heading}. Error: {error}").format(heading=self._heading(), error=self._error))
        if not self.answers:
            return Figure.of_words(_("{heading}: no answer yet.").format(heading=self._heading()))
        return self._figure()

    def text(self, name: str) -> str:
        """What is typed in a prompt."""
        return self._lines[name].value.strip()

    def choose(self, name: str, value: str) -> None:
        """Choose what to draw, as the page does; a value that there is not changes nothing.

        Example:
            view.choose("view", "map")
        """
        choice = self._choices[name]
        if value in {known for _words, known in choice.options}:
            choice.value = value
            self._show_controls()
            self._draw()

    # -- for subclasses --------------------------------------------------------------------------------------------

    def show(self) -> Explorer:
        """Answer what is typed, and draw it. Returns at once; `.wait()` waits."""
        raise NotImplementedError

    def _heading(self) -> str:
        raise NotImplementedError

    def _figure(self) -> Figure:
        raise NotImplementedError

    def _update_choices(self) -> None:
        """Say which choices act now."""

    def _type(self, **texts: str) -> None:
        """Put texts into the prompts."""
        for name, text in texts.items():
            self._lines[name].value = text
        self._show_controls()

    def _take(self) -> bool:
        """Begin with the first prompt. False, and words, if it is empty or an answer is being made."""
        if reason := self._why_not():
            self.say(reason)
            return False
        if not self._begin():
            return False
        self.answers, self._error = [], ""
        self.say(_("Waiting for the model…"))
        return True

    def _why_not(self) -> str:
        """Why nothing can be asked now; empty if it can."""
        if self.busy:
            return still_answering()
        if not self.text(next(iter(self._lines))):
            return _("Type a prompt first.")
        return next((number.problem for number in self._numbers.values() if number.problem), "")

    def _ask(self, prompt: str, on_done: Callable[[Answer], None] | None = None, **options: Unpack[Options]) -> None:
        self._start(
            self.model.submit,
            prompt,
            name=self.model.name,
            on_token=self._on_token,
            on_done=on_done or self._on_done,
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
        self.drawing = self.static().html
        words = _("Stopped. {statistics}") if self._stopping else _("Done. {statistics}")
        self.say(words.format(statistics=self.answers[-1].statistics_line))
        self._end()

    def _end(self) -> None:
        self._show_controls()  # what can be chosen depends on what was answered
        super()._end()

    def _draw(self) -> None:
        if self.answers and not self._error and not self.busy:
            self.drawing = self.static().html

    def _failed(self, error: BaseException) -> None:
        self._error = error_words(error)
        self.drawing = error_html(self._error)
        self.say(_("No answer. Change the prompt or the settings and try again."))
        self._end()

    # -- the page ----------------------------------------------------------------------------------------------------

    def _show_controls(self) -> None:
        self._update_choices()
        with self.hold_sync():
            self.texts = [vars(line).copy() for line in self._lines.values()]
            self.choices = [vars(choice).copy() for choice in self._choices.values()]
            self.numbers = [number.page() for number in self._numbers.values()]

    def _set(self, name: str, text: str) -> None:
        if name in self._lines:
            self._type(**{name: text})
        elif name in self._choices:
            self.choose(name, text)
        elif name in self._numbers:
            self._numbers[name].take(text)
            self._show_controls()

    def _show_typed(self) -> str | None:
        reason = self._why_not()
        if not reason:
            self.show()
        return reason or None
