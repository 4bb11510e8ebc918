"""`compare`: the same prompts to several models, side by side, with their statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import traitlets

from labs_helper.common.markup import Html, escape, printable
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure, Row, framed_table
from labs_helper.widgets.jobs import as_model, counted, error_words, still_answering
from labs_helper.widgets.view import JobView

if TYPE_CHECKING:
    import pandas

    from labs_helper.engines.base import Token
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model
    from labs_helper.models.requests import Options, Prompting

    Results = Mapping[tuple[int, int], Answer | str]  # (prompt, model) -> the answer, or the error in words


class Comparison(JobView):
    """The same prompts to several models. Made by `compare`; starts at once and fills its table as answers come.

    Attributes:
        typed: the prompts, one a line.
        table: the answers as HTML.
    """

    PAGE = ("compare",)

    typed = traitlets.Unicode().tag(sync=True)
    table = traitlets.Unicode().tag(sync=True)

    def __init__(self, models: Sequence[Model], prompts: Sequence[Prompting], options: Options) -> None:
        self.models = list(models)
        self.prompts = list(prompts)
        self.options: Options = options
        self._results: dict[tuple[int, int], Answer | str] = {}
        self._todo: list[tuple[int, int]] = []
        self._place = (0, 0)  # of the answer that is being made: (prompt, model)
        super().__init__(
            words={
                "title": _("Compare models"),
                "prompts": _("Prompts, one per line"),
                "run": _("Run"),
                "run_hint": _("Ask every model every prompt"),
            },
            typed="\n".join(_label(prompt).replace("\n", " ") for prompt in self.prompts),
        )
        self.on_page("run", self._run_typed, text=str)
        self._show()
        if self.prompts:
            self.run()
        else:
            self._say_what_to_do()

    def run(self) -> Comparison:
        """Ask again. Returns at once; `.wait()` waits for all answers."""
        if not self._begin():
            return self
        self._results = {}
        # One model after the other: each keeps its cache, and a machine with little memory swaps once.
        self._todo = [(p, m) for m in range(len(self.models)) for p in range(len(self.prompts))]
        self._show()
        if self._todo:
            self._next()
        else:
            self._say_what_to_do()
            self._end()
        return self

    def _run_typed(self, text: str) -> str | None:
        """Ask the prompts that the page holds; those that were given in code stay as they are until they are edited."""
        with self._lock:
            if self.busy:
                return still_answering()
            if text != self.typed:
                self.prompts = [line.strip() for line in text.splitlines() if line.strip()]
                self.typed = text
            self.run()
        return None

    def result(self) -> Figure:
        """The table so far as a `Figure`; `.frame()` of it is the table in pandas."""
        return _figure(self.models, self.prompts, self._results)

    def frame(self) -> pandas.DataFrame:
        """The answers and their statistics as a pandas DataFrame."""
        return self.result().frame()

    def static(self) -> Figure:
        return self.result()

    def _say_what_to_do(self) -> None:
        self.say(_("Type one prompt per line and press Run."))

    def _next(self) -> None:
        if self._stopping or not self._todo:
            words = _("Stopped before {count} more answers.") if self._stopping else _("Done.")
            self.say(words.format(count=len(self._todo)))
            self._todo = []
            self._show()
            self._end()
            return
        self._place = self._todo.pop(0)
        model = self.models[self._place[1]]
        self.say(_("{answer}, waiting…").format(answer=self._which_answer()))
        self._start(
            model.submit,
            self.prompts[self._place[0]],
            name=model.name,
            on_token=self._on_token,
            on_done=self._keep,
            **self.options,
        )

    def _which_answer(self) -> str:
        every = len(self.models) * len(self.prompts)
        return _("Answer {number} of {count}: {model}").format(
            number=every - len(self._todo), count=every, model=self.models[self._place[1]].name
        )

    def _on_token(self, _token: Token) -> None:
        if self._due() and not self._stopping:
            self.say(_("{answer}, generating…").format(answer=self._which_answer()), counted(self._count))

    def _keep(self, result: Answer | str) -> None:
        self._results[self._place] = result
        self._show()
        self._next()

    def _failed(self, error: BaseException) -> None:
        self._keep(error_words(error))

    def _show(self) -> None:
        self.table = self.result().html


@overload
def compare(
    models: Sequence[Model | str] | Model | str | None = None,
    prompts: Sequence[Prompting] | Prompting = (),
    *,
    system: str | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    widget: Literal[True] = True,
) -> Comparison: ...


@overload
def compare(
    models: Sequence[Model | str] | Model | str | None = None,
    prompts: Sequence[Prompting] | Prompting = (),
    *,
    system: str | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    widget: Literal[False],
) -> Figure: ...


def compare(
    models: Sequence[Model | str] | Model | str | None = None,
    prompts: Sequence[Prompting] | Prompting = (),
    *,
    system: str | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    widget: bool = True,
) -> Comparison | Figure:
    """Send the same prompts to several models and show the answers side by side.

    Args:
        models: `Model`s or roles; ("instruct-previous", "instruct") when left out.
        prompts: one prompt or several; each a string or a list of messages.
        system: the system prompt of prompts that are strings.
        max_tokens: for every answer, as the three below.
        temperature: see `Model.ask`.
        top_p: see `Model.ask`.
        seed: see `Model.ask`.
        widget: True gives controls and starts in the background (`.wait()`, `.result()`, `.frame()`); False waits
            and returns a `Figure`, whose `.frame()` is a pandas table.

    Raises:
        BadRequest: no model, or no prompt with `widget=False`. With `widget=False` also what `Model.ask` raises.

    Example:
        compare(["instruct-previous", "instruct"], "长沙在哪里?", widget=False).frame()
    """
    chosen = _models(models)
    asked = _prompts(prompts)
    options: Options = {
        "system": system,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }
    if widget:
        return Comparison(chosen, asked, options)
    if not asked:
        raise BadRequest(
            _("There is no prompt."), _("Give at least one, for example compare(models, 'Where is Changsha?').")
        )
    results = {(p, m): model.ask(prompt, **options) for m, model in enumerate(chosen) for p, prompt in enumerate(asked)}
    return _figure(chosen, asked, results)


def _models(models: Sequence[Model | str] | Model | str | None) -> list[Model]:
    if models is None:
        models = ("instruct-previous", "instruct")
    elif isinstance(models, str) or not isinstance(models, Sequence):
        models = [models]
    if not models:
        raise BadRequest(
            _("There is no model to ask."),
            _("Give at least one, for example compare(['instruct-previous', 'instruct'], ...)."),
        )
    return [as_model(model) for model in models]


def _prompts(prompts: Sequence[Prompting] | Prompting) -> list[Prompting]:
    """Several prompts; one alone, a string or a list of messages, is accepted."""
    if isinstance(prompts, str) or (prompts and isinstance(prompts[0], Mapping)):
        return [cast("Prompting", prompts)]
    return list(cast("Sequence[Prompting]", prompts))


def _label(prompt: Prompting) -> str:
    """What the reader asked: the text, or the last question of a list of messages."""
    if isinstance(prompt, str):
        return prompt
    questions = [str(message.get("content", "")) for message in prompt if message.get("role") == "user"]
    return questions[-1] if questions else ""


def _figure(models: Sequence[Model], prompts: Sequence[Prompting], results: Results) -> Figure:
    rows: list[Row] = []
    lines: list[str] = []
    cells: list[list[Html]] = []
    for p, prompt in enumerate(prompts):
        label = _label(prompt)
        lines.append(_("Prompt: {prompt}").format(prompt=printable(label)))
        cells.append([_cell(label)])
        for m, model in enumerate(models):
            text, note, facts = _told(results.get((p, m)))
            rows.append({"prompt": label, "model": model.name, **facts})
            lines.append(f"  {model.name}: {printable(text)}")
            cells[-1].append(_cell(text, note))
    names = _(" and ").join(model.name for model in models)
    summary = _n("One prompt to {models}.", "{count} prompts to {models}.", len(prompts)).format(
        count=len(prompts), models=names
    )
    return Figure(
        html=framed_table([_("Prompt"), *(model.name for model in models)], cells, "", grid=True),
        text="\n".join(lines or [summary]),
        alt=_("Table of answers. {summary}").format(summary=summary),
        rows=tuple(rows),
    )


def _told(result: Answer | str | None) -> tuple[str, str, dict[str, Any]]:
    """What a cell says of a result: the text, a note, and facts for the frame."""
    if result is None:
        return "…", _("no answer yet"), {}
    if isinstance(result, str):
        return _("Error: {error}").format(error=result), "", {"error": result}
    facts = {
        "answer": result.text,
        "finish_reason": result.finish_reason,
        "generated_tokens": result.generated_tokens,
        "prompt_tokens": result.prompt_tokens,
        "cached_tokens": result.cached_tokens,
        "seconds": result.seconds,
        "tokens_per_second": result.tokens_per_second,
    }
    # The answers are what is compared: one short line of statistics is enough where nothing went wrong.
    plain = result.finish_reason == "stop" and not result.prompt.notices
    note = counted(result.generated_tokens) if plain else result.statistics_line
    return result.text, note, facts


def _cell(text: str, note: str = "") -> Html:
    # The answers are what is read; what they cost stands below them.
    small = f'<small style="opacity:0.8">{escape(note)}</small>' if note else ""
    return Html(f'<div style="white-space:pre-wrap;font-size:1.15em">{escape(text)}</div>{small}')
