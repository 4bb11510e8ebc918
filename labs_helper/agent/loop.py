"""The way from a question to an answer: plan, at most one repair, tools, answer. Every step of it leaves a trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labs_helper.agent import sentences
from labs_helper.agent.language import language_of
from labs_helper.agent.plan import (
    MAX_STEPS,
    Schema,
    Step,
    error_turn,
    plan_schema,
    read_plan,
    results_turn,
    run_step,
    system_prompt,
)
from labs_helper.agent.tools import TOOLS, Tool
from labs_helper.common.markup import escape, printable
from labs_helper.common.numbers import is_real, is_whole
from labs_helper.common.translate import _
from labs_helper.errors import BadPlan, BadRequest, CutOff, LabError

if TYPE_CHECKING:
    from labs_helper.models.answers import Answer
    from labs_helper.models.model import Model

HIGHEST_STEPS = 9  # a reference is a dollar sign and one digit
REPAIRS = 1


class OutOfTime(LabError):
    """The agent had no time left. The trace shows how far it came."""


@dataclass(frozen=True)
class Event:
    """Something the agent did or heard.

    Attributes:
        kind: "question", "plan", "error", "step", "answer" or "stopped".
        text: what was said; for a step, the call and its result.
        seconds: how long it took.

    Example:
        Event("answer", "The answer is 85.", 0.4)
    """

    kind: str
    text: str
    seconds: float = 0.0

    @property
    def shown_kind(self) -> str:
        """The kind, for people."""
        return {
            "question": _("question"),
            "plan": _("plan"),
            "error": _("error"),
            "step": _("step"),
            "answer": _("answer"),
            "stopped": _("stopped"),
        }.get(self.kind, self.kind)

    def __str__(self) -> str:
        return f"{self.shown_kind:<8}  {printable(self.text)}".replace("\n", "\n" + " " * 10)


@dataclass
class Trace:
    """All that happened between a question and its answer; Jupyter shows it as a list.

    Attributes:
        events: what happened, in order.
        plans: the texts of the plans that the model wrote.
        results: what the tools returned.
        answer: the model's last words; None if there was no answer.
        error: why there was none.
        answers: the model's Answers, with their numbers.

    Example:
        trace = solve(load("moe"), "What is 47 + 38?")
        trace.answer, trace.results, len(trace.plans)
    """

    events: list[Event] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    answer: str | None = None
    error: LabError | None = None
    answers: list[Answer] = field(default_factory=list, repr=False)

    @property
    def repaired(self) -> bool:
        """Whether the model needed a second plan."""
        return len(self.plans) > 1

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li><strong>{escape(event.shown_kind)}</strong> <small>({event.seconds:.2f} s)</small><br>"
            f'<code style="white-space:pre-wrap">{escape(event.text)}</code></li>'
            for event in self.events
        )
        label = escape(_("What the agent did, in order"))
        return f'<ol aria-label="{label}" style="max-width:60em">{items}</ol>'


def solve(
    model: Model,
    question: str,
    *,
    tools: Mapping[str, Tool] = TOOLS,
    language: str | None = None,
    constrained: bool = True,
    max_steps: int = MAX_STEPS,
    max_tokens: int = 400,
    seconds: float = 120,
    detailed: bool | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Trace:
    """Answer a question with tools: ask for a plan, check it, run it, ask for the answer.

    A plan that cannot be used goes back to the model once, with what is wrong; the same plan again is not run a second
    time. What the model writes is only ever read: it chooses among `tools` and hands them values.

    Args:
        model: from `load`, or a stand-in whose `ask` takes messages, max_tokens, on_token and schema, and returns
            something with a `text`.
        question: what to answer.
        tools: the tools that a plan may use.
        language: the asker's, "en", "zh", "ko", "ja" or "es"; it decides where a name is the same in several languages.
            None takes it from the question's script and words.
        constrained: let the model write nothing but valid plans, whose names and texts are parts of the question
            (see `Model.ask`, schema, and `plan_schema`).
        max_steps: the most steps of a plan.
        max_tokens: the most tokens of one answer.
        seconds: the most time in all.
        detailed: explain plans and tools in full; None does so for models that were not trained on plans.
        on_event: called with each Event as it happens.

    Raises:
        BadRequest: the request makes no sense. A plan that stays unusable is in `Trace.error`.

    Example:
        solve(load("moe"), "What is the capital of Kenya? Then translate it into Chinese.")
    """
    _check_request(question, tools, max_steps, seconds)
    if detailed is None:
        detailed = getattr(model, "tier", "tiny") != "tiny"
    run = _Run(model, tools, language or language_of(question), max_tokens, time.monotonic() + seconds, on_event)
    messages = [
        {"role": "system", "content": system_prompt(tools, detailed, max_steps)},
        {"role": "user", "content": question},
    ]
    run.note("question", question)
    try:
        run.work(messages, plan_schema(tools, max_steps, question=question) if constrained else None, max_steps)
    except (BadPlan, CutOff, OutOfTime) as error:
        run.trace.error = error
        run.note("stopped", str(error))
    return run.trace


def _check_request(question: object, tools: object, max_steps: object, seconds: object) -> None:
    if not isinstance(question, str) or not question.strip():
        raise BadRequest(_("The question is empty."), _("Write at least one word."))
    if not is_whole(max_steps) or not 1 <= max_steps <= HIGHEST_STEPS:
        raise BadRequest(
            _("max_steps is {value!r}.").format(value=max_steps),
            _("Use a whole number from 1 to {most}.").format(most=HIGHEST_STEPS),
        )
    if not isinstance(tools, Mapping) or not tools or not all(isinstance(tool, Tool) for tool in tools.values()):
        raise BadRequest(_("An agent needs tools."), _("Take TOOLS, or make some with toolbox(function)."))
    if not is_real(seconds) or not seconds > 0:
        raise BadRequest(_("seconds is {value!r}.").format(value=seconds), _("Use a number above 0."))


class _Run:
    """One question on its way."""

    def __init__(
        self,
        model: Model,
        tools: Mapping[str, Tool],
        language: str | None,
        max_tokens: int,
        deadline: float,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.model, self.tools, self.language, self.max_tokens = model, tools, language, max_tokens
        self.deadline, self.on_event = deadline, on_event
        self.trace = Trace()
        self._since = time.monotonic()

    def note(self, kind: str, text: str) -> None:
        now = time.monotonic()
        event = Event(kind, text, now - self._since)
        self._since = now
        self.trace.events.append(event)
        if self.on_event is not None:
            self.on_event(event)

    def work(self, messages: list[dict[str, str]], schema: Schema | None, max_steps: int) -> None:
        refused: list[Step] | None = None
        problem = ""
        for repair in range(REPAIRS + 1):
            text = self.ask(messages, schema)
            self.trace.plans.append(text)
            self.note("plan", text)
            messages.append({"role": "assistant", "content": text})
            try:
                if self.cut_off:
                    raise BadPlan(sentences.PLAN_TOO_LONG)
                steps = read_plan(text.strip(), self.tools, max_steps)
                if steps == refused:
                    raise BadPlan(problem)  # what a tool refused once it refuses again
                refused = steps
                self.trace.results = self.run(steps)
                break
            except BadPlan as error:
                if repair == REPAIRS:
                    raise self.final(error) from None
                problem = error.what
                messages.append({"role": "user", "content": error_turn(error)})
                self.note("error", messages[-1]["content"])
        messages.append({"role": "user", "content": results_turn(self.trace.results)})
        self.trace.answer = self.ask(messages, None)
        self.note("answer", self.trace.answer)

    def run(self, steps: list[Step]) -> list[str]:
        results: list[str] = []
        for step in steps:
            filled, result = run_step(step, results, self.tools, self.language, self.left())
            results.append(result)
            call = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in filled.items())
            self.note("step", f"${len(results)} = {step.tool}({call}) = {result}")
        return results

    def ask(self, messages: list[dict[str, str]], schema: Schema | None) -> str:
        self.left()
        try:
            answer = self.model.ask(list(messages), max_tokens=self.max_tokens, on_token=self.check_time, schema=schema)
        except CutOff:
            # A plan without an end is a bad plan: it goes back like any other.
            part = getattr(self.model, "last", None)
            if part is None:
                raise
            self.trace.answers.append(part)
            return str(part.text)
        except BadRequest as error:
            if not self.trace.plans:
                raise  # the caller's question or options
            # What the model itself wrote has filled its context.
            raise CutOff(error.what, _("Rephrase the question, or lower max_tokens.")) from None
        self.trace.answers.append(answer)
        return answer.text

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            OutOfTime: none are.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime(_("The agent has no time left."), _("Give it more seconds, or ask for less."))
        return left

    def check_time(self, _token: object) -> None:
        """Called with each token of an answer: an error here stops the model."""
        self.left()

    @property
    def cut_off(self) -> bool:
        """Whether the newest answer ended at max_tokens."""
        return getattr(self.trace.answers[-1], "finish_reason", "stop") == "length"

    def final(self, error: BadPlan) -> BadPlan:
        """The error of the last plan, with advice for people."""
        if self.cut_off:
            advice = _("The plan was cut off at max_tokens={most}: raise it.").format(most=self.max_tokens)
        else:
            advice = _("The model had one more try and failed again: rephrase the question.")
        return BadPlan(error.what, advice)
