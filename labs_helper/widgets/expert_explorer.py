"""`experts`: type a prompt, see which experts every token goes to, and compare two prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, heading
from labs_helper.figures.experts import compare_experts, expert_load, expert_map, expert_tokens
from labs_helper.widgets.explorer import Choice, Explorer, Line
from labs_helper.widgets.jobs import as_model
from labs_helper.widgets.numbers import longest_answer

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
        words = {"tokens": _("tokens by expert"), "map": _("layers by experts"), "load": _("load of the experts")}
        self._view = Choice("view", _("View"), [(words[name], name) for name in VIEWS], view)
        self._layer = Choice("layer", _("Layer"), [_layer_option(layer)], str(layer))
        self.max_tokens = longest_answer(max_tokens)
        super().__init__(
            as_model(model or "moe"),
            label=_("Show experts"),
            hint=_("Answer and show the experts (or press Enter)"),
            lines=[
                Line("prompt", _("Prompt"), prompt),
                Line("second", _("Compare with"), second, _("a second prompt; may stay empty")),
            ],
            numbers=[self.max_tokens],
            choices=[self._view, self._layer],
        )
        if prompt.strip():
            self.show()

    @property
    def layer(self) -> int:
        """The layer whose experts are shown under the tokens."""
        return int(self._layer.value)

    def show(self, prompt: str | None = None, second: str | None = None) -> ExpertExplorer:
        """Answer and show. Returns at once; `.wait()` waits. The arguments replace what is in the boxes."""
        if prompt is not None:
            self._type(prompt=prompt, second=second or "")
        questions = [text for text in (self.text("prompt"), self.text("second")) if text]
        if self._take():
            self._questions, self._todo = questions, list(questions)
            self._next()
        return self

    def _update_choices(self) -> None:
        self._view.acts = bool(self.answers)
        # The two other views show all layers at once.
        self._layer.acts = bool(self.answers) and self._view.value == "tokens"

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
        if self._view.value == "tokens":
            return expert_tokens(answer, self.layer, title=question)
        figure = expert_map(answer) if self._view.value == "map" else expert_load(answer)
        # Under its prompt as HTML: matplotlib could not write every script; the browser can.
        return Figure(
            html=heading(question) + figure.html,
            text=f"{question}\n{figure.text}",
            alt=figure.alt,
            takeaway=figure.takeaway,
            rows=figure.rows,
        )

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
        self._layer.options = [_layer_option(number) for number in range(layers)]
        self._layer.value = str(min(self.layer, layers - 1))
        self._show_controls()
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


def _layer_option(number: int) -> tuple[str, str]:
    return _("layer {number}").format(number=number), str(number)
