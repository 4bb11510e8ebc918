"""Turns of questions and answers: what `chat` and `look` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

import traitlets

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _
from labs_helper.widgets.jobs import error_html, error_words
from labs_helper.widgets.markdown import markdown
from labs_helper.widgets.view import JobView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


class TurnView(JobView, Generic[T]):
    """A view with a list of turns: the newest grows, finished ones stay. Its page draws them with `turnLog`.

    Attributes:
        turns: all turns, the newest last.
        shown: the finished ones, as the page needs them.
        asked: the turn that is being answered, as the page needs it; empty between two.
        growing: the text of its answer so far.
        name: of the model.
        refused: what the status says after an error.
    """

    name = traitlets.Unicode().tag(sync=True)
    shown: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    asked = traitlets.Dict().tag(sync=True)
    growing = traitlets.Unicode().tag(sync=True)
    refused = ""

    def __init__(self, model: Model, *, words: Mapping[str, str], **kwargs: object) -> None:
        self.model = model
        self.turns: list[T] = []
        self._words: list[str] = []
        own = {"you": _("You"), "turn": _("Question {number}")}
        super().__init__(words={**own, **words}, name=printable(model.name), **kwargs)

    @property
    def last(self) -> Answer | None:
        """The last `Answer`, or None."""
        return next((turn.answer for turn in reversed(self.turns) if turn.answer is not None), None)

    def _ask_turn(self, turn: T, submit: Callable[..., Job[Answer]], **options: Unpack[Options]) -> None:
        """Ask the question of a new turn, in the run that `_begin` opened."""
        self._words = []
        self.turns.append(turn)
        self.growing = ""
        self.asked = self._turn_facts(len(self.turns), turn)
        self.say(self._waiting())
        self._start(
            submit,
            turn.question,
            name=self.model.name,
            on_token=self._on_token,
            on_done=self._on_done,
            **options,
        )

    def _waiting(self) -> str:
        """What is happening until the first word."""
        return _("Waiting for the model…")

    def _turn_facts(self, number: int, turn: T) -> dict[str, Any]:
        """A turn as the page needs it: text as it is, HTML that is safe."""
        answer = turn.answer
        return {
            "number": number,
            "question": printable(turn.question),
            "html": answer_html(turn),
            "text": printable(turn.reply),
            "note": turn.note,
            "failed": bool(turn.error),
            "facts": printable(answer.statistics_line) if answer is not None else "",
        }

    def _on_token(self, token: Token) -> None:
        self._words.append(token.text)
        if self._due():
            self.growing = printable("".join(self._words))
            self._say_progress()

    def _on_done(self, answer: Answer) -> None:
        self.turns[-1].answer = answer
        self._close_turn()
        self.say(_("Stopped.") if answer.finish_reason == "cancelled" else _("Done."))
        self._end()

    def _failed(self, error: BaseException) -> None:
        self.turns[-1].error = error_words(error)
        self._close_turn()
        self.say(self.refused)
        self._end()

    def _close_turn(self) -> None:
        self.shown = [*self.shown, self._turn_facts(len(self.turns), self.turns[-1])]
        self.asked, self.growing = {}, ""

    def _show_turns(self) -> None:
        """Draw all finished turns again, after some were taken out."""
        self.shown = [self._turn_facts(number, turn) for number, turn in enumerate(self.turns, 1)]


def answer_html(turn: Turn) -> str:
    """What came back as safe HTML: the answer, which is Markdown, or the error; empty before both."""
    if turn.error:
        return error_html(turn.error)
    if turn.answer is None:
        return ""
    nothing = escape(_("(empty answer)"))
    return markdown(turn.reply) or f"<p><em>{nothing}</em></p>"


def turn_html(turn: Turn, name: str) -> str:
    """One question and its answer as HTML."""
    body = answer_html(turn)
    if turn.note:
        body += f"<p><em>{escape(turn.note)}</em></p>"
    asker = escape(_("You"))
    return (
        f'<div style="margin:0.3em 0"><strong>{asker}</strong>'
        f'<div style="white-space:pre-wrap;line-height:1.4">{escape(turn.question)}</div></div>'
        f'<div style="margin:0.3em 0 0.8em 0;padding-left:0.8em;border-left:3px solid #888;line-height:1.4">'
        f"<strong>{escape(name)}</strong>{body}</div>"
    )
