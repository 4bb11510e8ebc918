"""`experts`: type a prompt, see which experts every token goes to, and compare two prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, heading
from labs_helper.figures.experts import compare_experts, expert_load, expert_map, expert_tokens
from labs_helper.widgets.base import Explorer
from labs_helper.widgets.controls import dropdown, most_tokens, on_change, row, text_field
from labs_helper.widgets.jobs import as_model

if TYPE_CHECKING:
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model

VIEWS = ("tokens", "map", "load")


class ExpertExplorer(Explorer):
    """Two prompts over a view of their experts. Made by `experts`."""

    def __init__(
        self,
        model: Model | str | None = None,
        prompt: str = "",
        second: str = "",
        *,
        layer: int = 0,
        view: str = "tokens",
        max_tokens: int = 32,
    ) -> None:
        if view not in VIEWS or not isinstance(layer, int) or layer < 0:
            raise BadRequest(
                _("There is no view {view!r} or no layer {layer!r}.").format(view=view, layer=layer),
                _("Views: {views}; layers count from 0.").format(views=", ".join(VIEWS)),
            )
        self._questions: list[str] = []
        self._todo: list[str] = []
        self.second = text_field(
            _("Compare with"),
            second,
            enter=self._show_typed,
            label_width="10em",
            placeholder=_("a second prompt; may stay empty"),
        )
        self.max_tokens = most_tokens(max_tokens)
        self.layer = dropdown(
            _("Layer"),
            [_layer_option(layer)],
            layer,
            width="18em",
            label_width="10em",
            tooltip=_("Which layer's experts to show under the tokens"),
        )
        words = {"tokens": _("tokens by expert"), "map": _("layers by experts"), "load": _("load of the experts")}
        self.choice = dropdown(
            _("View"),
            [(words[name], name) for name in VIEWS],
            view,
            width="26em",
            label_width="10em",
            tooltip=_("What to draw of the same record"),
        )
        super().__init__(
            as_model(model or "moe"),
            label=_("Show experts"),
            tooltip=_("Answer and show the experts (or press Enter)"),
            prompt=prompt,
            label_width="10em",
        )
        on_change(self.layer, self._draw)
        on_change(self.choice, self._draw)
        self._arrange(self.second, row(self.choice, self.layer, self.max_tokens))
        if prompt.strip():
            self.show()

    def show(self, prompt: str | None = None, second: str | None = None) -> ExpertExplorer:
        """Answer and show. Returns at once; `.wait()` waits. The arguments replace what is in the boxes."""
        if prompt is not None:
            self.message.value, self.second.value = prompt, second or ""
        questions = [text for text in (self.message.value.strip(), self.second.value.strip()) if text]
        if self._take():
            self._questions, self._todo = questions, list(questions)
            self._next()
        return self

    def _show_typed(self) -> None:
        self.show()

    def _heading(self) -> str:
        return _("Experts of {model}").format(model=self.model.name)

    def _figure(self) -> Figure:
        """The chosen view of each answer; with two of them, the comparison comes last."""
        figures = [self._view_of(answer, text) for answer, text in zip(self.answers, self._questions, strict=False)]
        if len(figures) == 2:
            figures.append(compare_experts(self.answers[0], self.answers[1]))
        return Figure(
            html="".join(figure.html for figure in figures),
            text="\n\n".join(figure.text for figure in figures),
            alt=" ".join(figure.alt for figure in figures),
            takeaway=figures[-1].takeaway,
            rows=figures[0].rows,
        )

    def _view_of(self, answer: Answer, question: str) -> Figure:
        if self.choice.value == "tokens":
            return expert_tokens(answer, self.layer.value, title=question)
        figure = expert_map(answer) if self.choice.value == "map" else expert_load(answer)
        # Under its prompt as HTML: matplotlib could not write every script; the browser can.
        return Figure(
            html=heading(question) + figure.html,
            text=f"{question}\n{figure.text}",
            alt=figure.alt,
            takeaway=figure.takeaway,
            rows=figure.rows,
        )

    def _draw(self) -> None:
        if self.answers and not self._error and not self.busy:
            self.view.value = self.static().html

    def _next(self) -> None:
        self._ask(self._todo.pop(0), max_tokens=int(self.max_tokens.value), record_experts=True)

    def _on_done(self, answer: Answer) -> None:
        if answer.recorded is None:  # stopped before the model had read the prompt
            self.say(_("Stopped. There is no record of this prompt."))
            self._end()
            return
        self.answers.append(answer)
        if self._todo and not self._stopping:
            self._next()
            return
        layers = answer.recorded.experts.shape[1]
        wanted = min(self.layer.value, layers - 1)
        self.layer.options = [_layer_option(number) for number in range(layers)]
        self.layer.value = wanted
        self._show_answers()


def experts(
    model: Model | str | None = None,
    prompt: str = "",
    second: str = "",
    *,
    layer: int = 0,
    view: str = "tokens",
    max_tokens: int = 32,
) -> ExpertExplorer:
    """See which experts the tokens of a prompt and its answer go to.

    Without a mouse: `labs_helper.figures.expert_tokens(model.ask("…", record_experts=True), layer=2)`.

    Args:
        model: a `Model` with experts, a role, or None for "moe".
        prompt: asked at once when given.
        second: another prompt to compare it with.
        layer: the layer shown under the tokens, from 0.
        view: "tokens", "map" (layers by experts) or "load".
        max_tokens: first value of the field.

    Returns:
        ExpertExplorer: `.show(prompt, second)`, `.wait()`, `.answers`, `.static()`. A dense model says in it that it
            has no experts.

    Raises:
        BadRequest: unknown role, view or layer.
        ModelNotHere: it is not on this machine.

    Example:
        experts("moe", "What is 47 + 38?", "서울은 어디에 있나요?")
    """
    return ExpertExplorer(model, prompt, second, layer=layer, view=view, max_tokens=max_tokens)


def _layer_option(number: int) -> tuple[str, int]:
    return _("layer {number}").format(number=number), number
