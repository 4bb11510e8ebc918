"""`experts`: type a prompt, see which experts every token goes to, and compare two prompts."""

from __future__ import annotations

from typing import Any

import ipywidgets

from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure
from labs_helper.figures.experts import compare_experts, expert_load, expert_map, expert_tokens
from labs_helper.widgets.base import JobWidget, as_model, counted, error_words, most_tokens, on_enter, statistics_line

VIEWS = {"tokens": "tokens by expert", "map": "layers by experts", "load": "load of the experts"}


class ExpertExplorer(JobWidget):
    """Two prompts over a view of their experts. Made by `experts`."""

    def __init__(
        self,
        model: Any = None,
        prompt: str = "",
        second: str = "",
        *,
        layer: int = 0,
        view: str = "tokens",
        max_tokens: int = 32,
    ) -> None:
        if view not in VIEWS or not isinstance(layer, int) or layer < 0:
            raise BadRequest(
                f"There is no view {view!r} or no layer {layer!r}.", f"Views: {', '.join(VIEWS)}; layers count from 0."
            )
        self.model = as_model(model or "moe")
        self.answers: list[Any] = []
        self._questions: list[str] = []
        self._todo: list[str] = []
        self._error = ""
        self._words = 0
        style = {"description_width": "10em"}
        wide = ipywidgets.Layout(width="99%")
        self.message = ipywidgets.Text(value=prompt, description="Prompt", style=style, layout=wide)
        self.second = ipywidgets.Text(
            value=second,
            description="Compare with",
            style=style,
            layout=wide,
            placeholder="a second prompt; may stay empty",
        )
        self.max_tokens = most_tokens(max_tokens)
        self.layer = ipywidgets.Dropdown(
            options=[(f"layer {layer}", layer)],
            value=layer,
            description="Layer",
            style=style,
            layout={"width": "18em"},
            tooltip="Which layer's experts to show under the tokens",
        )
        self.choice = ipywidgets.Dropdown(
            options=[(words, name) for name, words in VIEWS.items()],
            value=view,
            description="View",
            style=style,
            layout={"width": "26em"},
            tooltip="What to draw of the same record",
        )
        self.run_button = ipywidgets.Button(
            description="Show experts", button_style="primary", tooltip="Answer and show the experts (or press Enter)"
        )
        self.view = ipywidgets.HTML()
        super().__init__()
        self.run_button.on_click(lambda _: self.show())
        on_enter(self.message, self.show)
        on_enter(self.second, self.show)
        for control in (self.layer, self.choice):
            control.observe(lambda _: self._draw(), "value")
        row = ipywidgets.Layout(flex_flow="row wrap", overflow="visible")
        self.children = (
            ipywidgets.HTML(f"<strong>Experts of {escape(self.model.name)}</strong>"),
            self.message,
            self.second,
            ipywidgets.HBox([self.choice, self.layer, self.max_tokens], layout=row),
            ipywidgets.HBox([self.run_button, self.stop_button], layout=row),
            self.status,
            self.view,
        )
        self.say("Type a prompt and press Show experts.")
        if prompt.strip():
            self.show()

    def show(self, prompt: str | None = None, second: str | None = None) -> ExpertExplorer:
        """Answer and show. Returns at once; `.wait()` waits. The arguments replace what is in the boxes."""
        if prompt is not None:
            self.message.value, self.second.value = prompt, second or ""
        questions = [text for text in (self.message.value.strip(), self.second.value.strip()) if text]
        if not self.message.value.strip():
            self.say("Type a prompt first.")
            return self
        if not self._begin():
            self.say("Still answering. Wait, or press Stop first.")
            return self
        self.answers, self._error, self._questions, self._todo = [], "", questions, list(questions)
        self.say("Waiting for the model…")
        self._next()
        return self

    def static(self) -> Figure:
        name = self.model.name
        if self._error:
            words = f"Experts of {name}. Error: {self._error}"
        elif not self.answers:
            words = f"Experts of {name}: no answer yet."
        else:
            return self._figure()
        return Figure(html=f"<p>{escape(words)}</p>", text=words, alt=words)

    def _figure(self) -> Figure:
        """The chosen view of each answer; with two of them, the comparison comes last."""
        draw = {
            "tokens": lambda answer, title: expert_tokens(answer, self.layer.value, title=title),
            "map": lambda answer, title: _titled(expert_map(answer), title),
            "load": lambda answer, title: _titled(expert_load(answer), title),
        }[self.choice.value]
        figures = [draw(answer, question) for answer, question in zip(self.answers, self._questions, strict=False)]
        if len(figures) == 2:
            figures.append(compare_experts(*self.answers))
        return Figure(
            html="".join(figure.html for figure in figures),
            text="\n\n".join(figure.text for figure in figures),
            alt=" ".join(figure.alt for figure in figures),
            takeaway=figures[-1].takeaway,
            rows=figures[0].rows,
        )

    def _draw(self) -> None:
        if self.answers and not self._error and not self.busy:
            self.view.value = self.static().html

    def _next(self) -> None:
        self._words = 0
        self._start(
            self.model,
            self._todo.pop(0),
            on_token=self._on_token,
            on_done=self._on_done,
            max_tokens=self.max_tokens.value,
            record_experts=True,
        )

    def _on_token(self, _token: Any) -> None:
        self._words += 1
        if self._due() and not self._stopping:
            self.say(f"Generating… {counted(self._words)}")

    def _on_done(self, answer: Any) -> None:
        if answer.experts is None:  # stopped before the model had read the prompt
            self.say("Stopped. There is no record of this prompt.")
            self._end()
            return
        self.answers.append(answer)
        layers = answer.routing.experts.shape[1]
        if self._todo and not self._stopping:
            self._next()
            return
        wanted = min(self.layer.value, layers - 1)
        self.layer.options = [(f"layer {number}", number) for number in range(layers)]
        self.layer.value = wanted
        self.view.value = self.static().html
        self.say(f"{'Stopped' if self._stopping else 'Done'}. {statistics_line(answer)}")
        self._end()

    def _failed(self, error: BaseException) -> None:
        self._error = error_words(error)
        self.view.value = f"<p><strong>Error:</strong> {escape(self._error)}</p>"
        self.say("No answer. Change the prompt or the model and try again.")
        self._end()

    def _set_enabled(self, enabled: bool) -> None:
        self.run_button.disabled = not enabled


def experts(
    model: Any = None,
    prompt: str = "",
    second: str = "",
    *,
    layer: int = 0,
    view: str = "tokens",
    max_tokens: int = 32,
) -> ExpertExplorer:
    """See which experts the tokens of a prompt and its answer go to.

    Without a mouse: `labs_helper.figures.expert_tokens(model.ask("…", record_experts=True), layer=2)`.

    Arguments:
        model: a `Model` with experts, a role, or None for "moe".
        prompt: asked at once when given. second: another prompt to compare it with.
        layer: the layer shown under the tokens, from 0.
        view: "tokens", "map" (layers by experts) or "load".
        max_tokens: first value of the field.

    Returns:
        ExpertExplorer: `.show(prompt, second)`, `.wait()`, `.answers`, `.static()`.

    Raises:
        BadRequest: unknown role, view or layer. ModelNotHere: it is not on this machine.
        A dense model says so in the widget.

    Example:
        >>> experts("moe", "What is 47 + 38?", "서울은 어디에 있나요?")               # doctest: +SKIP
    """
    return ExpertExplorer(model, prompt, second, layer=layer, view=view, max_tokens=max_tokens)


def _titled(figure: Figure, title: str) -> Figure:
    """A figure under the prompt it belongs to. matplotlib could not write every script; the browser can."""
    heading = f"<p><strong>{escape(title)}</strong></p>"
    return Figure(heading + figure.html, f"{title}\n{figure.text}", figure.alt, figure.takeaway, figure.rows)
