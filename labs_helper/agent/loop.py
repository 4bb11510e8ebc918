"""The way from a question to an answer: plan, at most one repair, tools, answer. Every step of it leaves a trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from labs_helper.agent.language import language_of
from labs_helper.agent.plan import (
    MAX_STEPS,
    Step,
    error_turn,
    plan_schema,
    read_plan,
    results_turn,
    run_step,
    system_prompt,
)
from labs_helper.agent.tools import TOOLS, Tool
from labs_helper.errors import BadPlan, BadRequest, CutOff, LabError
from labs_helper.figures.base import escape
from labs_helper.figures.text import printable

HIGHEST_STEPS = 9  # a reference is a dollar sign and one digit
REPAIRS = 1


class OutOfTime(LabError):
    """The agent had no time left. The trace shows how far it came."""


@dataclass(frozen=True)
class Event:
    """Something the agent did or heard.

    kind: "question", "plan", "error", "step", "answer" or "stopped".
    text: what was said; for a step, the call and its result.
    seconds: how long it took.

    Example:
        Event("answer", "The answer is 85.", 0.4)
    """

    kind: str
    text: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind:<8}  {printable(self.text)}".replace("\n", "\n" + " " * 10)


@dataclass
class Trace:
    """All that happened between a question and its answer; Jupyter shows it as a list.

    events: what happened, in order.
    plans: the texts of the plans that the model wrote.
    results: what the tools gave.
    answer: the model's last words; None if it did not come to them.
    error: why it did not, as a LabError.
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
    answers: list = field(default_factory=list, repr=False)

    @property
    def repaired(self) -> bool:
        """Whether the model needed a second plan."""
        return len(self.plans) > 1

    def __str__(self) -> str:
        return "\n".join(map(str, self.events))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li><strong>{escape(event.kind)}</strong> <small>({event.seconds:.2f} s)</small><br>"
            f'<code style="white-space:pre-wrap">{escape(event.text)}</code></li>'
            for event in self.events
        )
        return f'<ol aria-label="What the agent did, in order" style="max-width:60em">{items}</ol>'


def solve(
    model, question: str, *, tools: Mapping[str, Tool] = TOOLS, language: str | None = None, constrained: bool = True,
    max_steps: int = MAX_STEPS, max_tokens: int = 400, seconds: float = 120, detailed: bool | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Trace:  # fmt: skip
    """Answer a question with tools: ask for a plan, check it, run it, ask for the answer.

    A plan that cannot be used goes back to the model once, with what is wrong; the same plan again is not run a second
    time. What the model writes is only ever read: it chooses among `tools` and hands them values.

    model: from `load`, or anything whose `ask` takes messages and max_tokens and returns something with a `text`.
    language: the asker's, "en", "zh", "ko", "ja" or "es"; it decides where a name is the same in several languages.
        None takes it from the question's script and words.
    constrained: let the model write nothing but valid plans (see `Model.ask`, schema).
    max_steps, max_tokens, seconds: the most steps of a plan, tokens of one answer, and time in all.
    detailed: explain plans and tools in full; None does so for models that were not trained on plans.
    on_event: called with each Event as it happens.
    Raises BadRequest where the request makes no sense. A plan that stays unusable is in `Trace.error`.

    Example:
        solve(load("moe"), "What is the capital of Kenya? Then translate it into Chinese.")
    """
    if not isinstance(question, str) or not question.strip():
        raise BadRequest("The question is empty.", "Write at least one word.")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or not 1 <= max_steps <= HIGHEST_STEPS:
        raise BadRequest(f"max_steps is {max_steps!r}.", f"Use a whole number from 1 to {HIGHEST_STEPS}.")
    if not isinstance(tools, Mapping) or not tools or not all(isinstance(tool, Tool) for tool in tools.values()):
        raise BadRequest("An agent needs tools.", "Take TOOLS, or make some with toolbox(function).")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise BadRequest(f"seconds is {seconds!r}.", "Use a number above 0.")
    if detailed is None:
        detailed = getattr(model, "tier", "tiny") != "tiny"
    run = _Run(model, tools, language or language_of(question), max_tokens, time.monotonic() + seconds, on_event)
    messages = [
        {"role": "system", "content": system_prompt(tools, detailed, max_steps)},
        {"role": "user", "content": question},
    ]
    run.note("question", question)
    try:
        run.work(messages, plan_schema(tools, max_steps) if constrained else None, max_steps)
    except (BadPlan, CutOff, OutOfTime) as error:
        run.trace.error = error
        run.note("stopped", str(error))
    return run.trace


class _Run:
    """One question on its way."""

    def __init__(self, model, tools, language, max_tokens, deadline, on_event):
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

    def work(self, messages: list[dict], schema: dict | None, max_steps: int) -> None:
        failed: list[Step] | None = None
        problem: BadPlan | None = None
        for repair in range(REPAIRS + 1):
            text = self.ask(messages, schema)
            self.trace.plans.append(text)
            self.note("plan", text)
            messages.append({"role": "assistant", "content": text})
            try:
                steps = read_plan(text.strip(), self.tools, max_steps)
                if steps == failed:
                    raise BadPlan(problem.what)  # what a tool refused once it refuses again
                failed = steps
                self.trace.results = self.run(steps)
                break
            except BadPlan as error:
                if repair == REPAIRS:
                    raise self.final(error) from None
                problem = error
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

    def ask(self, messages: list[dict], schema: dict | None) -> str:
        options = {} if schema is None else {"schema": schema}
        self.left()
        try:
            answer = self.model.ask(
                list(messages), max_tokens=self.max_tokens, on_token=lambda token: self.left(), **options
            )
        except BadRequest as error:
            if not self.trace.plans:
                raise  # the caller's question or options
            # What the model itself wrote has filled its context.
            raise CutOff(error.what, "Ask in other words, or lower max_tokens.") from None
        self.trace.answers.append(answer)
        return answer.text

    def left(self) -> float:
        """Seconds that are left. Raises OutOfTime; inside a token's callback this also stops the model."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime("The agent has no time left.", "Give it more seconds, or ask for less.")
        return left

    def final(self, error: BadPlan) -> BadPlan:
        """The error of the last plan, with advice for people."""
        cut = getattr(self.trace.answers[-1], "finish_reason", "stop") == "length"
        advice = (
            f"The plan was cut off at max_tokens={self.max_tokens}: raise it."
            if cut
            else "The model was told once and did not manage: ask in other words."
        )
        return BadPlan(error.what, advice)
