"""Turns of questions and answers: what `chat` and `look` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _
from labs_helper.widgets.base import JobWidget
from labs_helper.widgets.controls import html
from labs_helper.widgets.jobs import error_html, error_words
from labs_helper.widgets.markdown import markdown, streaming

if TYPE_CHECKING:
    from collections.abc import Callable

    from labs_helper.engines.base import Token
    from labs_helper.engines.worker import Job
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options


@dataclass
class Turn:
    """One question and what came back.

    Attributes:
        question: as it was asked.
        answer: None while it is being made, and if there was an error.
        error: the sentence, when there was no answer.
    """

    question: str
    answer: Answer | None = None
    error: str = ""

    @property
    def reply(self) -> str:
        """The text of the answer."""
        return self.answer.text if self.answer is not None else ""

    @property
    def note(self) -> str:
        """How an answer ended that did not end by itself, in brackets."""
        ends = {"cancelled": _("(stopped)"), "length": _("(cut at max tokens)")}
        return ends.get(self.answer.finish_reason, "") if self.answer is not None else ""

    def lines(self, name: str) -> list[str]:
        """What came back as plain text; `name` is the model's."""
        if self.error:
            return [_("Error: {error}").format(error=printable(self.error))]
        if self.answer is None:
            return []
        return [f"{name}: {printable(self.reply)}", *([self.note] if self.note else [])]

    def row(self) -> dict[str, Any]:
        """The facts of this turn, for a table."""
        return {
            "question": self.question,
            "answer": self.reply,
            "error": self.error,
            "finish_reason": getattr(self.answer, "finish_reason", None),
            "generated_tokens": getattr(self.answer, "generated_tokens", None),
            "prompt_tokens": getattr(self.answer, "prompt_tokens", None),
            "cached_tokens": getattr(self.answer, "cached_tokens", None),
        }


T = TypeVar("T", bound=Turn)


class TurnWidget(JobWidget, Generic[T]):
    """A widget with a list of turns: the newest grows in `live`, finished ones are kept in `past`.

    Attributes:
        turns: all turns, the newest last.
        log_label: what `past` is called by screen readers.
        nothing_yet: what `past` says before the first question.
        refused: what the status says after an error.
    """

    log_label = ""
    nothing_yet = ""
    refused = ""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.turns: list[T] = []
        self._words: list[str] = []
        self._finished = ""
        self.past, self.live, self.statistics = html(), html(), html()
        super().__init__()
        self._show()

    @property
    def last(self) -> Answer | None:
        """The last `Answer`, or None."""
        return next((turn.answer for turn in reversed(self.turns) if turn.answer is not None), None)

    def _ask_turn(self, turn: T, submit: Callable[..., Job[Answer]], **options: Unpack[Options]) -> None:
        """Ask the question of a new turn, in the run that `_begin` opened."""
        self._words = []
        self.turns.append(turn)
        self.live.value = self._turn_html(waiting=True)
        self.statistics.value = ""
        self._show()
        self.say(_("Waiting for the model…"))
        self._start(
            submit,
            turn.question,
            name=self.model.name,
            on_token=self._on_token,
            on_done=self._on_done,
            **options,
        )

    def _turn_html(self, *, growing: str | None = None, waiting: bool = False) -> str:
        return turn_html(self.turns[-1], self.model.name, growing=growing, waiting=waiting)

    def _on_token(self, token: Token) -> None:
        self._words.append(token.text)
        if self._due():
            self.live.value = self._turn_html(growing="".join(self._words))
            self._say_progress()

    def _on_done(self, answer: Answer) -> None:
        self.turns[-1].answer = answer
        self._close_turn()
        self.statistics.value = f"<small>{escape(answer.statistics_line)}</small>"
        self.say(_("Stopped.") if answer.finish_reason == "cancelled" else _("Done."))
        self._end()

    def _failed(self, error: BaseException) -> None:
        self.turns[-1].error = error_words(error)
        self._close_turn()
        self.say(self.refused)
        self._end()

    def _close_turn(self) -> None:
        self._finished += self._turn_html()
        self._show()
        self.live.value = ""

    def _show(self) -> None:
        words = self._finished or f"<p>{escape(self.nothing_yet)}</p>"
        self.past.value = f'<div role="log" aria-label="{escape(self.log_label)}">{words}</div>'


def turn_html(turn: Turn, name: str, *, growing: str | None = None, waiting: bool = False) -> str:
    """One question and its answer as HTML. Growing text is only escaped; a finished answer is Markdown."""
    body = ""
    if waiting:
        body = "<em>…</em>"
    elif turn.error:
        body = error_html(turn.error)
    elif growing is not None:
        body = streaming(growing)
    elif turn.answer is not None:
        body = markdown(turn.reply) or f"<p><em>{escape(_('(empty answer)'))}</em></p>"
        if turn.note:
            body += f"<p><em>{escape(turn.note)}</em></p>"
    return (
        f'<div style="margin:0.3em 0"><strong>{escape(_("You"))}</strong>'
        f'<div style="white-space:pre-wrap;line-height:1.4">{escape(turn.question)}</div></div>'
        f'<div style="margin:0.3em 0 0.8em 0;padding-left:0.8em;border-left:3px solid #888;line-height:1.4">'
        f"<strong>{escape(name)}</strong>{body}</div>"
    )
