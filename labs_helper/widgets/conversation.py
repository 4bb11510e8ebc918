"""`chat`: a conversation with a model, streaming, with a Stop button."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets

from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure, heading
from labs_helper.widgets.controls import SamplingFields, Widget, button, row, text_field, title
from labs_helper.widgets.jobs import as_model
from labs_helper.widgets.turns import Turn, TurnWidget, turn_html

if TYPE_CHECKING:
    from labs_helper.models.model import Model


class Chat(TurnWidget[Turn]):
    """A conversation with one model. Made by `chat`.

    Attributes:
        conversation: what the model gets with each question; its `messages` can be read and edited.
    """

    def __init__(
        self,
        model: Model | str | None = None,
        *,
        system: str = "",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
    ) -> None:
        self.log_label, self.nothing_yet = _("Conversation"), _("No messages yet.")
        self.refused = _("No answer. The reason is in the conversation; you can go on.")
        super().__init__(as_model(model))
        self.conversation = self.model.conversation()
        self.settings = SamplingFields(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
        self.system = text_field(_("System prompt"), system)
        self.message = text_field(_("Your message"), enter=self._send_typed)
        self.send_button = button(
            _("Send"), self._send_typed, _("Send the message (or press Enter in it)"), primary=True
        )
        self.new_button = button(_("New conversation"), self.new_conversation, _("Forget all messages"))
        self.children = (
            title(self._title()),
            self._scrolling(),
            self.message,
            row(self.send_button, self.stop_button, self.new_button),
            self.status,
            self.statistics,
            self.system,
            self.settings.row,
        )
        self.say(_("Ready.") if self.model.loaded else _("Ready. The model loads with the first question."))

    def _title(self) -> str:
        return _("Chat with {model}").format(model=self.model.name)

    def _scrolling(self) -> Widget:
        """The turns in a box that stays at its end while text grows, unless the reader has scrolled up.

        A reversed column does that. Its one child keeps the order that screen readers and the Tab key follow.
        """
        inside = ipywidgets.VBox([self.past, self.live], layout=ipywidgets.Layout(overflow="visible", flex="0 0 auto"))
        box: Widget = ipywidgets.Box(
            [inside],
            layout=ipywidgets.Layout(
                display="flex",
                flex_flow="column-reverse",
                overflow="auto",
                max_height="26em",
                min_height="3em",
                border="1px solid var(--jp-border-color1, #bbb)",
                padding="4px 8px",
            ),
        )
        return box

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
            self.conversation.system = self.system.value if self.system.value.strip() else None
            self._ask_turn(Turn(text), self.conversation.submit, **self.settings.options())
        return self

    def new_conversation(self) -> None:
        """Forget all messages. Settings stay."""
        if self._refuse_if_busy():
            return
        self.conversation.clear()
        self.turns = []
        self._finished = ""
        self.live.value = self.statistics.value = ""
        self._show()
        self.say(_("New conversation."))

    def transcript(self) -> Figure:
        """The conversation so far as a `Figure`, to keep it in the notebook.

        Example:
            talk.transcript()
        """
        name = self.model.name
        if not self.turns:
            return Figure.of_words(_("Chat with {model}: no messages yet.").format(model=name))
        lines = [self._title()]
        for turn in self.turns:
            lines += [_("You: {question}").format(question=printable(turn.question)), *turn.lines(name)]
        parts = [turn_html(turn, name) for turn in self.turns]
        return Figure(
            html=f"<div>{heading(self._title())}{''.join(parts)}</div>",
            text="\n".join(lines),
            alt=_("A conversation of {count} questions with {model}.").format(count=len(self.turns), model=name),
            rows=tuple(turn.row() for turn in self.turns),
        )

    def static(self) -> Figure:
        return self.transcript()

    def _send_typed(self) -> None:
        # Enter and a click can arrive together, in two threads. The first takes the text, the second finds none.
        with self._lock:
            if self._refuse_if_busy():
                return
            text, self.message.value = self.message.value, ""
        self.send(text)

    def _set_enabled(self, enabled: bool) -> None:
        self.send_button.disabled = not enabled
        self.new_button.disabled = not enabled


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
    appear in the conversation. Without a mouse: `chat(...).send("…").wait()`, or `model.conversation().ask("…")`.

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
