"""`chat`: a conversation with a model, streaming, with a Stop button."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ipywidgets

from labs_helper.common.markup import escape, printable
from labs_helper.figures.base import Figure
from labs_helper.widgets.base import JobWidget, as_model, controls, counted, error_words, on_enter, statistics_line
from labs_helper.widgets.markdown import markdown, streaming


@dataclass
class Turn:
    """One question and what came back."""

    question: str
    answer: Any = None  # Answer, None while it is being made
    error: str = ""  # the sentence, when there was no answer

    @property
    def reply(self) -> str:
        return self.answer.text if self.answer is not None else ""


class TurnWidget(JobWidget):
    """A widget with a list of turns: the newest grows in `live`, finished ones are kept in `past`.

    A subclass has the controls `live` and `statistics`, sets `turns`, `_words` and `_finished`, and shows the finished
    turns in `_show`.
    """

    refused = "No answer. The reason is below; you can go on."

    def _turn_html(self, **how: Any) -> str:
        return turn_html(self.turns[-1], self.model.name, **how)

    def _on_token(self, token: Any) -> None:
        self._words.append(token.text)
        if self._due():
            self.live.value = self._turn_html(growing="".join(self._words))
            if not self._stopping:
                self.say(f"Generating… {counted(len(self._words))}")

    def _on_done(self, answer: Any) -> None:
        self.turns[-1].answer = answer
        self._close_turn()
        self.statistics.value = f"<small>{escape(statistics_line(answer))}</small>"
        self.say("Stopped." if answer.finish_reason == "cancelled" else "Done.")
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


class Chat(TurnWidget):
    """A conversation with one model. Made by `chat`."""

    refused = "No answer. The reason is in the conversation; you can go on."

    def __init__(
        self,
        model: Any = None,
        *,
        system: str = "",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
    ) -> None:
        self.model = as_model(model)
        self.turns: list[Turn] = []
        self._words: list[str] = []
        self._finished = ""
        self.settings = controls(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
        wide = ipywidgets.Layout(width="99%")
        style = {"description_width": "8em"}
        self.system = ipywidgets.Text(value=system, description="System prompt", style=style, layout=wide)
        self.message = ipywidgets.Text(description="Your message", style=style, layout=wide)
        self.send_button = ipywidgets.Button(
            description="Send", button_style="primary", tooltip="Send the message (or press Enter in it)"
        )
        self.new_button = ipywidgets.Button(description="New conversation", tooltip="Forget all messages")
        self.past = ipywidgets.HTML()
        self.live = ipywidgets.HTML()
        self.statistics = ipywidgets.HTML()
        # A reversed column stays at its end while text grows, unless the reader has scrolled up. The one child
        # keeps the order that screen readers and the Tab key follow.
        inside = ipywidgets.VBox([self.past, self.live], layout=ipywidgets.Layout(overflow="visible", flex="0 0 auto"))
        self.scroll = ipywidgets.Box(
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
        super().__init__()
        self.send_button.on_click(lambda _: self._send_typed())
        self.new_button.on_click(lambda _: self.new_conversation())
        on_enter(self.message, self._send_typed)
        row = ipywidgets.Layout(flex_flow="row wrap", overflow="visible")
        title = ipywidgets.HTML(f"<strong>Chat with {escape(self.model.name)}</strong>")
        self.children = (
            title,
            self.scroll,
            self.message,
            ipywidgets.HBox([self.send_button, self.stop_button, self.new_button], layout=row),
            self.status,
            self.statistics,
            self.system,
            ipywidgets.HBox(list(self.settings.values()), layout=row),
        )
        self._show()
        self.say(
            "Ready. The model is read at the first question." if not getattr(self.model, "loaded", True) else "Ready."
        )

    # -- what a learner or a notebook calls ---------------------------------------------------------------------

    def send(self, text: str) -> Chat:
        """Send a message, as the Send button does. Returns at once; `.wait()` waits for the answer.

        Arguments:
            text: the message; may have several lines.

        Example:
            >>> chat("instruct").send("Where is Changsha?").wait()        # doctest: +SKIP
        """
        text = text.strip()
        if not text:
            self.say("Type a message first.")
            return self
        if not self._begin():
            self.say("Still answering. Wait, or press Stop first.")
            return self
        self._words = []
        messages = self._messages() + [{"role": "user", "content": text}]
        self.turns.append(Turn(text))
        self.live.value = turn_html(Turn(text), self.model.name, waiting=True)
        self.statistics.value = ""
        self._show()
        self.say("Waiting for the model…")
        self._start(
            self.model,
            messages,
            on_token=self._on_token,
            on_done=self._on_done,
            **{name: field.value for name, field in self.settings.items()},
        )
        return self

    def new_conversation(self) -> None:
        """Forget all messages. Settings stay."""
        if self.busy:
            self.say("Still answering. Press Stop first.")
            return
        self.turns = []
        self._finished = ""
        self.live.value = self.statistics.value = ""
        self._show()
        self.say("New conversation.")

    @property
    def last(self) -> Any:
        """The last `Answer`, or None."""
        return next((turn.answer for turn in reversed(self.turns) if turn.answer is not None), None)

    def transcript(self) -> Figure:
        """The conversation so far as a `Figure`, to keep it in the notebook.

        Example:
            >>> talk.transcript()                                         # doctest: +SKIP
        """
        name = self.model.name
        if not self.turns:
            words = f"Chat with {name}: no messages yet."
            return Figure(html=f"<p>{escape(words)}</p>", text=words, alt=words)
        lines = [f"Chat with {name}"]
        parts = []
        for turn in self.turns:
            lines.append(f"You: {printable(turn.question)}")
            if turn.error:
                lines.append(f"Error: {printable(turn.error)}")
            elif turn.answer is not None:
                lines.append(f"{name}: {printable(turn.reply)}")
                if turn.answer.finish_reason == "cancelled":
                    lines.append("(stopped)")
                elif turn.answer.finish_reason == "length":
                    lines.append("(cut at max tokens)")
            parts.append(turn_html(turn, name))
        alt = f"A conversation of {len(self.turns)} questions with {name}."
        return Figure(
            html=f"<div><p><strong>Chat with {escape(name)}</strong></p>{''.join(parts)}</div>",
            text="\n".join(lines),
            alt=alt,
            rows=tuple(_row(turn) for turn in self.turns),
        )

    def static(self) -> Figure:
        return self.transcript()

    # -- the way of one message ---------------------------------------------------------------------------------

    def _send_typed(self) -> None:
        # Enter and a click can arrive together, in two threads. The first takes the text, the second finds none.
        with self._lock:
            if self.busy:
                self.say("Still answering. Wait, or press Stop first.")
                return
            text, self.message.value = self.message.value, ""
        self.send(text)

    def _messages(self) -> list[dict[str, str]]:
        """The conversation as the model gets it. Turns without an answer are left out: roles must alternate."""
        messages = [{"role": "system", "content": self.system.value}] if self.system.value.strip() else []
        for turn in self.turns:
            if turn.reply:
                messages += [
                    {"role": "user", "content": turn.question},
                    {"role": "assistant", "content": turn.reply},
                ]
        return messages

    def _show(self) -> None:
        self.past.value = (
            f'<div role="log" aria-label="Conversation">{self._finished or "<p>No messages yet.</p>"}</div>'
        )

    def _set_enabled(self, enabled: bool) -> None:
        self.send_button.disabled = not enabled
        self.new_button.disabled = not enabled


def chat(
    model: Any = None,
    *,
    system: str = "",
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_tokens: int = 256,
) -> Chat:
    """Talk with a model in the notebook.

    The answer streams in, Stop ends it at the next token, and the next message continues the conversation. Errors
    appear in the conversation. Without a mouse: `chat(...).send("…").wait()`, or `model.ask("…")`.

    Arguments:
        model: a `Model`, a role such as "instruct", or None for "instruct".
        system: the system prompt.
        temperature, top_p: sampling; temperature 0 always takes the likeliest token.
        max_tokens: the longest answer.

    Returns:
        Chat: shows itself as the last line of a cell; `.send`, `.stop`, `.wait`, `.transcript`, `.last`.

    Raises:
        BadRequest: unknown role.

    Example:
        >>> from labs_helper import chat                                  # doctest: +SKIP
        >>> chat("instruct")                                              # doctest: +SKIP
    """
    return Chat(model, system=system, temperature=temperature, top_p=top_p, max_tokens=max_tokens)


def turn_html(turn: Turn, name: str, *, growing: str | None = None, waiting: bool = False) -> str:
    """One question and its answer as HTML. Growing text is only escaped; a finished answer is Markdown."""
    if waiting:
        body = "<em>…</em>"
    elif turn.error:
        body = f"<p><strong>Error:</strong> {escape(turn.error)}</p>"
    elif growing is not None:
        body = streaming(growing)
    elif turn.answer is not None:
        body = markdown(turn.reply) or "<p><em>(empty answer)</em></p>"
        if turn.answer.finish_reason in ("cancelled", "length"):
            note = "stopped" if turn.answer.finish_reason == "cancelled" else "cut at max tokens"
            body += f"<p><em>({note})</em></p>"
    else:
        body = ""
    return (
        f'<div style="margin:0.3em 0"><strong>You</strong>'
        f'<div style="white-space:pre-wrap;line-height:1.4">{escape(turn.question)}</div></div>'
        f'<div style="margin:0.3em 0 0.8em 0;padding-left:0.8em;border-left:3px solid #888;line-height:1.4">'
        f"<strong>{escape(name)}</strong>{body}</div>"
    )


def _row(turn: Turn) -> dict[str, Any]:
    answer = turn.answer
    return {
        "question": turn.question,
        "answer": turn.reply,
        "error": turn.error,
        "finish_reason": getattr(answer, "finish_reason", None),
        "generated_tokens": getattr(answer, "generated_tokens", None),
        "prompt_tokens": getattr(answer, "prompt_tokens", None),
        "cached_tokens": getattr(answer, "cached_tokens", None),
    }
