"""`compare`: the same prompts to several models, side by side, with their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets

from labs_helper.common.markup import escape, printable
from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure
from labs_helper.widgets.base import JobWidget, as_model, counted, error_words, statistics_line

_CELL = "text-align:left;vertical-align:top;padding:4px 8px;border:1px solid #bbb;white-space:normal;line-height:1.4"


class Comparison(JobWidget):
    """The same prompts to several models. Made by `compare`; starts at once and fills its table as answers come."""

    def __init__(self, models: Sequence[Any], prompts: Sequence[Any], **request: Any) -> None:
        self.models = list(models)
        self.prompts = list(prompts)
        self.request = request
        self._results: dict[tuple[int, int], Any] = {}
        self._todo: list[tuple[int, int]] = []
        self._typed = "\n".join(_label(prompt).replace("\n", " ") for prompt in self.prompts)
        wide = ipywidgets.Layout(width="99%", height=f"{min(8, max(2, len(self.prompts)) + 1) * 1.5}em")
        self.box = ipywidgets.Textarea(
            value=self._typed,
            description="Prompts, one a line",
            layout=wide,
            style={"description_width": "10em"},
        )
        self.run_button = ipywidgets.Button(
            description="Run", button_style="primary", tooltip="Ask every model every prompt"
        )
        self.table = ipywidgets.HTML()
        super().__init__()
        self.run_button.on_click(lambda _: self.run())
        self.children = (
            ipywidgets.HTML("<strong>Compare models</strong>"),
            self.box,
            ipywidgets.HBox([self.run_button, self.stop_button]),
            self.status,
            self.table,
        )
        self._show()
        if self.prompts:
            self.run()
        else:
            self.say("Type one prompt a line and press Run.")

    def run(self) -> Comparison:
        """Ask again. Returns at once; `.wait()` waits for all answers."""
        if not self._begin():
            self.say("Still answering. Wait, or press Stop first.")
            return self
        if self.box.value != self._typed:
            self.prompts = [line.strip() for line in self.box.value.splitlines() if line.strip()]
            self._typed = self.box.value
        self._results = {}
        # One model after the other: each keeps its cache, and a machine with little memory swaps once.
        self._todo = [(p, m) for m in range(len(self.models)) for p in range(len(self.prompts))]
        self._show()
        if not self._todo:
            self.say("Type one prompt a line and press Run.")
            self._end()
            return self
        self._next()
        return self

    def result(self) -> Figure:
        """The table so far as a `Figure`; `.frame()` of it is the table in pandas."""
        return _figure(self.models, self.prompts, self._results)

    def frame(self):
        """The answers and their statistics as a pandas DataFrame."""
        return self.result().frame()

    def static(self) -> Figure:
        return self.result()

    def _next(self) -> None:
        if self._stopping or not self._todo:
            missing = len(self._todo)
            self.say(f"Stopped; {missing} answers were not asked for." if self._stopping else "Done.")
            self._todo = []
            self._show()
            self._end()
            return
        place = self._todo.pop(0)
        prompt, model = self.prompts[place[0]], self.models[place[1]]
        number = len(self.models) * len(self.prompts) - len(self._todo)
        words = f"Answer {number} of {len(self.models) * len(self.prompts)}: {model.name}"
        self.say(f"{words}, waiting…")
        count = [0]

        def on_token(_token: Any) -> None:
            count[0] += 1
            if self._due() and not self._stopping:
                self.say(f"{words}, {counted(count[0])}")

        self._place = place
        self._start(model, prompt, on_token=on_token, on_done=self._on_done, **self.request)

    def _on_done(self, answer: Any) -> None:
        self._results[self._place] = answer
        self._show()
        self._next()

    def _failed(self, error: BaseException) -> None:
        self._results[self._place] = error_words(error)
        self._show()
        self._next()

    def _show(self) -> None:
        self.table.value = self.result().html

    def _set_enabled(self, enabled: bool) -> None:
        self.run_button.disabled = not enabled


def compare(
    models: Any = None,
    prompts: Any = (),
    *,
    system: str | None = None,
    max_tokens: int = 128,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    widget: bool = True,
):
    """Send the same prompts to several models and show the answers side by side.

    Arguments:
        models: `Model`s or roles; ("instruct-previous", "instruct") when left out.
        prompts: one prompt or several; each a string or a list of messages.
        system: the system prompt of prompts that are strings.
        max_tokens, temperature, top_p, seed: for every answer.
        widget: True gives controls and starts in the background (`.wait()`, `.result()`, `.frame()`); False waits
            and returns a `Figure`, whose `.frame()` is a pandas table.

    Raises:
        BadRequest: no model, or no prompt with `widget=False`. With `widget=False` also what `Model.ask` raises.

    Example:
        >>> compare(["instruct-previous", "instruct"], "长沙在哪里?", widget=False).frame()   # doctest: +SKIP
    """
    if models is None:
        models = ("instruct-previous", "instruct")
    elif isinstance(models, str) or hasattr(models, "submit"):
        models = [models]
    chosen = [as_model(model) for model in models]
    if not chosen:
        raise BadRequest(
            "There is no model to ask.",
            "Give at least one, for example compare(['instruct-previous', 'instruct'], ...).",
        )
    if isinstance(prompts, str) or (prompts and isinstance(prompts[0], dict)):
        prompts = [prompts]
    prompts = list(prompts)
    request = {
        "system": system,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }
    if widget:
        return Comparison(chosen, prompts, **request)
    if not prompts:
        raise BadRequest("There is no prompt.", "Give at least one, for example compare(models, 'Where is Changsha?').")
    results = {
        (p, m): model.ask(prompt, **request) for m, model in enumerate(chosen) for p, prompt in enumerate(prompts)
    }
    return _figure(chosen, prompts, results)


def _label(prompt: Any) -> str:
    """What the reader asked: the text, or the last question of a list of messages."""
    if isinstance(prompt, str):
        return prompt
    asked = [str(message.get("content", "")) for message in prompt if message.get("role") == "user"]
    return asked[-1] if asked else ""


def _figure(models: Sequence[Any], prompts: Sequence[Any], results: dict[tuple[int, int], Any]) -> Figure:
    rows, lines, body = [], [], ""
    for p, prompt in enumerate(prompts):
        label = _label(prompt)
        lines.append(f"Prompt: {printable(label)}")
        body += f'<tr><th scope="row" style="{_CELL}"><div style="white-space:pre-wrap">{escape(label)}</div></th>'
        for m, model in enumerate(models):
            found = results.get((p, m))
            row = {"prompt": label, "model": model.name}
            if found is None:
                text, note = "…", "no answer yet"
            elif isinstance(found, str):
                text, note = f"Error: {found}", ""
                row["error"] = found
            else:
                text, note = found.text, statistics_line(found)
                row.update(
                    answer=found.text,
                    finish_reason=found.finish_reason,
                    generated_tokens=found.generated_tokens,
                    prompt_tokens=found.prompt_tokens,
                    cached_tokens=found.cached_tokens,
                    seconds=found.seconds,
                    tokens_per_second=found.tokens_per_second,
                )
            rows.append(row)
            lines.append(f"  {model.name}: {printable(text)}")
            body += (
                f'<td style="{_CELL}"><div style="white-space:pre-wrap">{escape(text)}</div>'
                f'<small style="opacity:0.8">{escape(note)}</small></td>'
            )
        body += "</tr>"
    names = " and ".join(model.name for model in models)
    takeaway = f"{len(prompts)} prompts to {names}." if len(prompts) != 1 else f"One prompt to {names}."
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(model.name)}</th>' for model in models)
    html = (
        f'<figure style="margin:0.5em 0;overflow-x:auto"><table style="border-collapse:collapse;width:100%">'
        f'<thead><tr><th scope="col" style="{_CELL}">Prompt</th>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"<figcaption>{escape(takeaway)}</figcaption></figure>"
    )
    return Figure(
        html=html,
        text="\n".join(lines or [takeaway]),
        alt=f"Table of answers. {takeaway}",
        takeaway=takeaway,
        rows=tuple(rows),
    )
