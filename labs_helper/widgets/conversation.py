"""`chat`: a conversation with a model, streaming, with a Stop button."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import traitlets

from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure, heading
from labs_helper.figures.tokens import token_view
from labs_helper.widgets.jobs import as_model, error_words, still_answering
from labs_helper.widgets.kept import Keeper
from labs_helper.widgets.numbers import Sampling
from labs_helper.widgets.turns import Turn, TurnView, turn_html

if TYPE_CHECKING:
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model


@dataclass
class Said(Turn):
    """A question of a conversation.

    Attributes:
        before: how many messages the conversation had before it.
    """

    before: int = 0


class Chat(TurnView[Said]):
    """A conversation with one model. Made by `chat`.

    Attributes:
        conversation: what the model gets with each question; its `messages` can be read and edited.
        sampling: temperature, top-p and the longest answer.
        system: the system prompt.
        numbers: the fields of `sampling` for the page.
        meter: how much of the model's context the conversation takes, once that is known.
        kept: where the file keeps the conversation.
    """

    PAGE = ("chat",)

    system = traitlets.Unicode().tag(sync=True)
    numbers: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    meter = traitlets.Dict().tag(sync=True)
    kept = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        model: Model | str | None = None,
        *,
        system: str = "",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
    ) -> None:
        self.refused = _("No answer. The reason is in the conversation; you can go on.")
        self.sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
        self._keeper = Keeper(self)
        self._number = 1  # of the conversation: each has an output of its own in the file
        chosen = as_model(model)
        super().__init__(
            chosen,
            words={"title": _("Chat with {model}").format(model=printable(chosen.name)), **_page_words()},
            system=system,
            numbers=self.sampling.page(),
        )
        self.conversation = self.model.conversation()
        self.kept = {"of": self._output, "count": 0, "code": ""}
        self.on_page("send", self._send_typed, text=str)
        self.on_page("edit", self._edit, number=int, text=str)
        self.on_page("again", self._again, number=int)
        self.on_page("tokens", self._tokens, number=int)
        self.on_page("set", self._set, name=str, text=str)
        self.on_page("new", self.new_conversation)
        self.say(_("Ready.") if self.model.loaded else _("Ready. The model loads with the first question."))

    # -- what a learner or a notebook calls ---------------------------------------------------------------------

    def send(self, text: str) -> Chat:
        """Send a message, as the Send button does. Returns at once; `.wait()` waits for the answer.

        Args:
            text: the message; may have several lines.

        Example:
            chat("instruct").send("Where is Changsha?").wait()
        """
        text = text.strip()
        if not text:
            self.say(_("Type a message first."))
        elif self._begin():
            self.conversation.system = self.system if self.system.strip() else None
            turn = Said(text, before=len(self.conversation.messages))
            self._ask_turn(turn, self.conversation.submit, **self.sampling.options())
        return self

    def new_conversation(self) -> None:
        """Forget all messages. Settings stay, and the file keeps what was said."""
        if self._refuse_if_busy():
            return
        self.conversation.clear()
        self.turns = []
        self._number += 1
        self.kept = {"of": self._output, "count": 0, "code": ""}
        self.meter = {}
        self._show_turns()
        self.say(_("New conversation."))

    def transcript(self) -> Figure:
        """The conversation so far as a `Figure`.

        Example:
            talk.transcript()
        """
        name, title = self.model.name, self.words["title"]
        if not self.turns:
            return Figure.of_words(_("Chat with {model}: no messages yet.").format(model=name))
        lines = [title]
        for turn in self.turns:
            lines += [_("You: {question}").format(question=printable(turn.question)), *turn.lines(name)]
        parts = [turn_html(turn, name) for turn in self.turns]
        return Figure(
            html=f"<div>{heading(title)}{''.join(parts)}</div>",
            text="\n".join(lines),
            alt=_("A conversation of {count} questions with {model}.").format(count=len(self.turns), model=name),
            rows=tuple(turn.row() for turn in self.turns),
        )

    def static(self) -> Figure:
        return self.transcript()

    def _repr_mimebundle_(self, **kwargs: object) -> Any:
        self._keeper.displayed()
        return super()._repr_mimebundle_(**kwargs)

    # -- what the page asks for ---------------------------------------------------------------------------------

    def _send_typed(self, text: str) -> str | None:
        # Two tabs can send at the same moment: the first begins, the second finds the widget busy.
        with self._lock:
            refused = self._why_not(text)
            if refused is None:
                self.send(text)
        return refused

    def _edit(self, number: int, text: str) -> str | None:
        """Ask another question in place of question `number`; what came after it goes too."""
        with self._lock:
            refused = self._why_not(text)
            if refused is None and not 1 <= number <= len(self.turns):
                refused = _("That question is no longer there.")
            if refused is None:
                del self.conversation.messages[self.turns[number - 1].before :]
                del self.turns[number - 1 :]
                self._show_turns()
                self.send(text)
        return refused

    def _again(self, number: int) -> str | None:
        """Ask the last question again, in place of its answer."""
        with self._lock:
            if number != len(self.turns):
                return _("That question is no longer there.")
            return self._edit(number, self.turns[-1].question)

    def _why_not(self, text: str) -> str | None:
        """Why a text cannot be sent now; None if it can."""
        if not text.strip():
            return _("Type a message first.")
        if self.busy:
            return still_answering()
        return self.sampling.problem or None

    def _tokens(self, number: int) -> str | None:
        """Send the page the token view of an answer."""
        answer = self.turns[number - 1].answer if 1 <= number <= len(self.turns) else None
        if answer is None or not answer.tokens:
            return _("There are no tokens to show.")
        self.tell("tokens", number=number, html=token_view(answer).html)
        return None

    def _set(self, name: str, text: str) -> None:
        if name == "system":
            self.system = text
        else:
            self.sampling.take(name, text)
            self.numbers = self.sampling.page()

    # -- after an answer ----------------------------------------------------------------------------------------

    @property
    def _output(self) -> str:
        return f"{self.key}-{self._number}"

    def _on_done(self, answer: Answer) -> None:
        self._measure(answer)
        super()._on_done(answer)

    def _failed(self, error: BaseException) -> None:
        self.tell("failed", text=self.turns[-1].question, why=error_words(error))
        super()._failed(error)

    def _close_turn(self) -> None:
        super()._close_turn()
        if self._keeper.keep(self._output, len(self.turns), self.transcript()):
            self.kept = {
                "of": self._output,
                "count": len(self.turns),
                "code": self._keeper.code("transcript"),
            }

    def _measure(self, answer: Answer) -> None:
        """Say how much of the model's context is taken, and when the next answer may not fit."""
        card = getattr(self.model, "card", None)
        most = getattr(card, "context", None) or getattr(getattr(self.model, "engine", None), "context", None)
        if not isinstance(most, int) or not answer.prompt_tokens:
            return
        used = answer.prompt_tokens + answer.generated_tokens
        words = _("{used:,} of {most:,} tokens").format(used=used, most=most)
        full = used + self.sampling.max_tokens.value > most
        hint = _("The next answer may not fit. Lower Max tokens, or begin a new conversation.") if full else ""
        self.meter = {"used": used, "most": most, "words": words, "hint": hint}


def _page_words() -> dict[str, str]:
    """The sentences of the page."""
    return {
        "log": _("Conversation"),
        "empty": _("No messages yet."),
        "message": _("Your message"),
        "keys": _("Enter sends, Shift+Enter begins a line, the arrow up brings your last message."),
        "send": _("Send"),
        "new": _("New conversation"),
        "new_hint": _("Forget all messages. The file keeps what was said."),
        "copy_all": _("Copy conversation"),
        "again": _("Again"),
        "again_hint": _("Ask the last question again. At temperature 0 the answer is the same."),
        "edit": _("Edit"),
        "edit_hint": _("Change this question. The conversation goes on from there."),
        "editing": _("You edit question {number}. Sending it replaces it, and takes away what follows."),
        "cancel": _("Cancel"),
        "tokens": _("See its tokens"),
        "settings": _("Settings"),
        "system": _("System prompt"),
        "context": _("Context:"),
        "kept": _("The notebook keeps this conversation; it is in the file when you save."),
        "not_kept": _("The page was loaded again, so the file does not keep this conversation. Run this in a cell:"),
        "lost": _("The new chat begins empty; what is here can still be copied."),
    }


def chat(
    model: Model | str | None = None,
    *,
    system: str = "",
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_tokens: int = 256,
) -> Chat:
    """Talk with a model in the notebook.

    The answer streams in, Stop ends it at the next token, and the next message continues the conversation. Errors
    appear in the conversation. The notebook's file keeps what was said, once it is saved.
    Without a mouse: `chat(...).send("…").wait()`, or `model.conversation().ask("…")`.

    Args:
        model: a `Model`, a role such as "instruct", or None for "instruct".
        system: the system prompt.
        temperature: 0 always takes the likeliest token.
        top_p: choose among the likeliest tokens that together have this probability.
        max_tokens: the longest answer.

    Returns:
        Chat: shows itself as the last line of a cell; `.send`, `.stop`, `.wait`, `.transcript`, `.last`,
            `.conversation`.

    Raises:
        BadRequest: unknown role.

    Example:
        from labs_helper import chat
        chat("instruct")
    """
    return Chat(model, system=system, temperature=temperature, top_p=top_p, max_tokens=max_tokens)
