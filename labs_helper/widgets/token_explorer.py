"""`tokens`: type a prompt, see every token of the answer with its probability and its rivals."""

from __future__ import annotations

from typing import Any

import ipywidgets

from labs_helper.common.markup import escape
from labs_helper.figures.base import Figure
from labs_helper.figures.tokens import token_view
from labs_helper.widgets.base import JobWidget, as_model, controls, counted, error_words, on_enter, statistics_line


class TokenExplorer(JobWidget):
    """A prompt box over a token view. Made by `tokens`."""

    def __init__(
        self,
        model: Any = None,
        prompt: str = "",
        *,
        max_tokens: int = 32,
        temperature: float = 0.0,
        top_p: float = 1.0,
        alternatives: int = 5,
    ) -> None:
        self.model = as_model(model)
        self.top_logprobs = alternatives
        self.answer: Any = None
        self._error = ""
        self._question = ""
        self._words: list[str] = []
        style = {"description_width": "8em"}
        self.settings = controls(max_tokens=max_tokens, temperature=temperature, top_p=top_p)
        self.message = ipywidgets.Text(
            value=prompt, description="Prompt", style=style, layout=ipywidgets.Layout(width="99%")
        )
        self.run_button = ipywidgets.Button(
            description="Show tokens",
            button_style="primary",
            tooltip="Generate an answer and show its tokens (or press Enter)",
        )
        self.view = ipywidgets.HTML()
        super().__init__()
        self.run_button.on_click(lambda _: self.show())
        on_enter(self.message, self.show)
        row = ipywidgets.Layout(flex_flow="row wrap", overflow="visible")
        self.children = (
            ipywidgets.HTML(f"<strong>Tokens of {escape(self.model.name)}</strong>"),
            self.message,
            ipywidgets.HBox(list(self.settings.values()), layout=row),
            ipywidgets.HBox([self.run_button, self.stop_button]),
            self.status,
            self.view,
        )
        self.say("Type a prompt and press Show tokens.")
        if prompt.strip():
            self.show()

    def show(self, prompt: str | None = None) -> TokenExplorer:
        """Generate and show. Returns at once; `.wait()` waits. `prompt` replaces what is in the box."""
        if prompt is not None:
            self.message.value = prompt
        text = self.message.value.strip()
        if not text:
            self.say("Type a prompt first.")
            return self
        if not self._begin():
            self.say("Still answering. Wait, or press Stop first.")
            return self
        self._words, self.answer, self._error, self._question = [], None, "", text
        self.say("Waiting for the model…")
        self._start(
            self.model,
            text,
            on_token=self._on_token,
            on_done=self._on_done,
            top_logprobs=self.top_logprobs,
            **{name: field.value for name, field in self.settings.items()},
        )
        return self

    def static(self) -> Figure:
        if self._error:
            words = f"Tokens of {self.model.name}. Error: {self._error}"
        elif self.answer is None:
            words = f"Tokens of {self.model.name}: no answer yet."
        else:
            return token_view(self.answer, title=self._question)
        return Figure(html=f"<p>{escape(words)}</p>", text=words, alt=words)

    def _on_token(self, token: Any) -> None:
        self._words.append(token.text)
        if self._due() and not self._stopping:
            self.say(f"Generating… {counted(len(self._words))}")

    def _on_done(self, answer: Any) -> None:
        self.answer = answer
        self.view.value = self.static().html
        self.say(f"Done. {statistics_line(answer)}")
        self._end()

    def _failed(self, error: BaseException) -> None:
        self._error = error_words(error)
        self.view.value = f"<p><strong>Error:</strong> {escape(self._error)}</p>"
        self.say("No answer. Change the prompt or the settings and try again.")
        self._end()

    def _set_enabled(self, enabled: bool) -> None:
        self.run_button.disabled = not enabled


def tokens(
    model: Any = None,
    prompt: str = "",
    *,
    max_tokens: int = 32,
    temperature: float = 0.0,
    top_p: float = 1.0,
    alternatives: int = 5,
) -> TokenExplorer:
    """Explore an answer token by token.

    Without a mouse: `token_view(model.ask("…", top_logprobs=5))`.

    Arguments:
        model: a `Model`, a role, or None for "instruct".
        prompt: asked at once when given.
        max_tokens, temperature, top_p: first values of the settings.
        alternatives: how many rivals to show for each token.

    Returns:
        TokenExplorer: `.show(prompt)`, `.wait()`, `.answer`, `.static()`.

    Raises:
        BadRequest: unknown role.

    Example:
        >>> tokens("instruct", "The capital of Kenya is")                 # doctest: +SKIP
    """
    return TokenExplorer(
        model, prompt, max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_logprobs=alternatives
    )
