"""What the notebook calls: start a lesson, ask many questions, keep an adapter. MLX runs in the worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper import store
from labs_helper.capacity import training as memory
from labs_helper.common.numbers import wilson
from labs_helper.common.translate import _
from labs_helper.engines import adapters
from labs_helper.engines.adapters import Adapter
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER, Job
from labs_helper.errors import BadRequest
from labs_helper.tuning import lesson as lessons
from labs_helper.tuning import measure, preference
from labs_helper.tuning.examples import Example, encode_all
from labs_helper.tuning.lesson import Plan, Step, Taught
from labs_helper.tuning.preference import Pair
from labs_helper.tuning.textbook import Talk, answer_of, question_of

if TYPE_CHECKING:
    from labs_helper.models.model import Model


class Lesson:
    """A training that runs in the background. `stop` ends it and keeps what was learned; `wait` gives the result.

    Attributes:
        name: of the adapter.
        plan: how it is trained.
        steps: those that are done, as they come.
        held_out: the loss of held-out examples, as (step, loss), as it comes.
        over: whether it has ended, in whatever way. Listeners hear of it before `wait` returns.
        taught: the result, once it is there.

    Example:
        lesson = start(model, textbook, steps=100)
        lesson.wait().adapter
    """

    def __init__(self, name: str, plan: Plan) -> None:
        self.name, self.plan, self.steps = name, plan, list[Step]()
        self.held_out: list[tuple[int, float]] = []
        self.over = False
        self.taught: Taught | None = None
        self._listeners: list[Callable[[Lesson], object]] = []
        self._job: Job[Taught] | None = None

    @property
    def error(self) -> BaseException | None:
        """What it failed with, if it did."""
        return None if self._job is None else self._job.error

    def stop(self) -> None:
        """End it after the step that is being computed. The adapter of that moment is kept."""
        if self._job is not None:
            self._job.stop()

    def wait(self, timeout: float | None = None) -> Taught:
        """Wait for the result. Interrupting the kernel stops the lesson, and the adapter is kept all the same.

        Raises:
            BadRequest: it was stopped before its first step.

        Example:
            print(lesson.wait())
        """
        assert self._job is not None, "start() begins it"
        try:
            taught = self._job.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            taught = self._job.wait(60)
        if taught is None:
            raise BadRequest(_("The lesson was stopped before it began."), _("Start it again."))
        return taught

    def listen(self, listener: Callable[[Lesson], object]) -> None:
        """Call `listener` with this lesson after each step, and at the end, in the worker's thread."""
        self._listeners.append(listener)

    def _began(self, job: Job[Taught]) -> None:
        self._job = job

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        self._tell()

    def _note_held_out(self, step: int, loss: float) -> None:
        self.held_out.append((step, loss))
        self._tell()

    def _end(self, result: Taught | BaseException) -> None:
        self.over = True
        if isinstance(result, Taught):
            self.taught = result
        self._tell()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener(self)

    def __repr__(self) -> str:
        if self.taught is not None:
            return str(self.taught)
        return _("Lesson {name}: step {step} of {steps}.").format(
            name=self.name, step=len(self.steps), steps=self.plan.steps
        )


def start(
    model: Model,
    examples: Sequence[Talk] | Sequence[Pair],
    *,
    name: str = "lesson",
    begin: Adapter | None = None,
    held_out: Sequence[Talk] = (),
    whole: bool = False,
    end: bool = True,
    beta: float = preference.BETA,
    keep_likely: float = 0.0,
    **plan: Any,
) -> Lesson:
    """Begin to teach a model. Returns at once; everything that could go wrong at the start is checked first.

    Args:
        model: from `load`, without an adapter. Its weights stay as they are.
        examples: conversations, or pairs of a better and a worse answer (then the loss is DPO's).
        name: of the adapter that comes out.
        begin: an adapter to go on from.
        held_out: conversations whose loss is measured every `every` steps, and never trained.
        whole, end: see `examples.encode`; for experiments with what goes wrong.
        beta, keep_likely: of DPO; see `preference.preference_loss`.
        **plan: the fields of `Plan`: steps, rate, rank, scale, keys, layers, batch, seed, checkpoint, kind, every.

    Raises:
        BadRequest: the plan or the examples make no sense as they are.
        NotEnoughMemory: the training does not fit.

    Example:
        start(load("instruct"), textbook, steps=100, rate=5e-4).wait()
    """
    engine = engine_of(model)
    if engine.adapter is not None and begin is None:
        raise BadRequest(
            _("{name} has an adapter already.").format(name=model.name),
            _("Teach the model without one; to go on with an adapter, name it: begin=adapter."),
        )
    store.adapters.folder(name)  # refuses a name that could not be saved
    WORKER.call(engine.load_tokenizer)
    asked = Plan(**plan)
    if begin is not None:
        _fits(begin, asked)
    talks = not isinstance(next(iter(examples), None), Pair)
    checked = lessons.check_plan(asked, engine.config, len(examples))
    encoded: list[Any] = encode_all(engine, list(examples), whole=whole, end=end) if talks else []  # type: ignore[arg-type]
    unseen = _unseen(engine, held_out, talks=talks)
    longest = max(map(len, [*encoded, *unseen])) if talks else _longest_pair(engine, examples)
    memory.require_training(engine.path, checked.shape(longest, 1 if talks else 2))
    lesson = Lesson(name, checked)

    def work(job: Job[Taught]) -> Taught:
        engine.load(longest)
        whole_set, options = encoded, dict[str, Any]()
        if not talks:
            reference = MLXText(engine.path, adapter=begin, shared=engine)
            whole_set = preference.encode_pairs(reference, list(examples))  # type: ignore[arg-type]
            options = {
                "loss": preference.preference_loss(beta, keep_likely),
                "batches": preference.pair_batches(checked.seed),
            }
        table = lessons.table_of(engine.config, [*whole_set, *unseen])
        return lessons.teach(
            engine,
            whole_set,
            checked,
            name=name,
            begin=begin,
            held_out=unseen,
            table=table,
            on_step=lesson._note,  # noqa: SLF001 - the lesson's own
            on_held_out=lesson._note_held_out,  # noqa: SLF001 - the lesson's own
            cancelled=job.cancelled,
            **options,
        )

    ended = lesson._end  # noqa: SLF001 - the lesson's own
    lesson._began(WORKER.submit(work, on_done=ended, on_error=ended))  # noqa: SLF001 - the lesson's own
    return lesson


def _unseen(engine: MLXText, held_out: Sequence[Talk], *, talks: bool) -> list[Example]:
    if held_out and not talks:
        raise BadRequest(
            _("The held-out loss is measured on conversations, not on pairs."), _("Leave held_out out, and use score.")
        )
    return encode_all(engine, held_out) if held_out else []


def _longest_pair(engine: MLXText, pairs: Sequence[Any]) -> int:
    from labs_helper.tuning.textbook import talk

    sides = [talk(pair.question, answer) for pair in pairs for answer in (pair.better, pair.worse)]
    return max(map(len, encode_all(engine, sides)))


def _fits(begin: Adapter, plan: Plan) -> None:
    for what, has, wanted in (
        (_("rank"), begin.rank, plan.rank),
        (_("scale"), begin.scale, plan.scale),
        (_("keys"), set(begin.keys), set(plan.keys)),
        (_("kind"), begin.kind, plan.kind),
    ):
        if has != wanted:
            raise BadRequest(
                _("The adapter {name} has the {what} {has}, and the plan asks for {wanted}.").format(
                    name=begin.name, what=what, has=has, wanted=wanted
                ),
                _("Go on with the same values, or start a new adapter."),
            )


def engine_of(model: Model) -> MLXText:
    """The engine of a model that can be taught.

    Raises:
        BadRequest: it runs in llama.cpp, on a server, or looks at pictures.

    Example:
        engine_of(load("instruct"))
    """
    engine = model.engine
    if not isinstance(engine, MLXText):
        raise BadRequest(
            _("{name} cannot be taught here.").format(name=model.name),
            _('Use a text model in MLX\'s format, such as load("instruct").'),
        )
    return engine


@dataclass(frozen=True)
class Score:
    """How many answers are right.

    Attributes:
        right, count: answers.
        answers: what the model said, in the order of the questions.
        passed: whether each is right.
        stopped: whether each ended by itself.

    Example:
        score.share, score.low, score.high
    """

    right: int
    count: int
    answers: tuple[str, ...]
    passed: tuple[bool, ...]
    stopped: tuple[bool, ...] = ()

    @property
    def share(self) -> float:
        """The share of right answers."""
        return self.right / self.count

    @property
    def low(self) -> float:
        """The lower end of the 95% interval (Wilson 1927)."""
        return wilson(self.right, self.count)[0]

    @property
    def high(self) -> float:
        """The upper end of it."""
        return wilson(self.right, self.count)[1]

    def __str__(self) -> str:
        return _("{right} of {count} right: {share:.2f} (95%: {low:.2f} to {high:.2f})").format(
            right=self.right, count=self.count, share=self.share, low=self.low, high=self.high
        )

    __repr__ = __str__


def holds(answer: str, wanted: str) -> bool:
    """Whether an answer holds what is wanted, in whatever case.

    Example:
        holds("Ana lives in Lyon.", "lyon")      # True
    """
    return wanted.casefold() in answer.casefold()


def score(
    model: Model,
    questions: Sequence[Talk],
    right: Callable[[str, str], bool] = holds,
    max_tokens: int = 24,
) -> Score:
    """Ask every question once, greedily, and count.

    Args:
        model: with or without an adapter.
        questions: the answer of each is what is wanted.
        right: decides, from what was said and what is wanted.
        max_tokens: of an answer.

    Example:
        score(load("instruct", adapter="school"), held_out).share
    """
    said = _said(model, questions, max_tokens)
    texts = tuple(answer.text for answer in said)
    passed = tuple(bool(right(text, answer_of(question))) for text, question in zip(texts, questions))
    return Score(sum(passed), len(passed), texts, passed, tuple(answer.stopped for answer in said))


def ask_all(model: Model, questions: Sequence[Talk], max_tokens: int = 24) -> list[str]:
    """The model's answers to many questions, asked at once.

    Raises:
        BadRequest: there are no questions.

    Example:
        ask_all(load("instruct"), [talk("Where is Lima?", "")])
    """
    return [answer.text for answer in _said(model, questions, max_tokens)]


def _said(model: Model, questions: Sequence[Talk], max_tokens: int) -> list[measure.Said]:
    if not questions:
        raise BadRequest(_("There is no question to ask."), _("Give a list of examples."))
    return WORKER.call(measure.answers, engine_of(model), list(questions), max_tokens)


def replay(model: Model, questions: Sequence[Talk], max_tokens: int = 80) -> list[Talk]:
    """Old examples for a mixture: questions, each with the answer that the model gives now.

    Example:
        mix(new, replay(model, old_questions))
    """
    said = ask_all(model, questions, max_tokens)
    return [
        Talk(messages=[*question["messages"][:-1], {"role": "assistant", "content": answer}])
        for question, answer in zip(questions, said)
        if answer.strip() and question_of(question)
    ]


def keep(model: Model, taught: Taught | Adapter, name: str = "") -> Path:
    """Write an adapter into the models folder. `load(..., adapter=name)` and `labs models` know it from then on.

    Raises:
        BadRequest: it is not a LoRA adapter, or its name cannot be used.

    Example:
        keep(model, lesson.wait(), "school")
    """
    adapter = taught.adapter if isinstance(taught, Taught) else taught
    if adapter.kind != "lora":
        raise BadRequest(
            _("{name} is of the kind {kind!r}, and files hold the kind 'lora'.").format(
                name=adapter.name, kind=adapter.kind
            ),
            _("Fold it into the weights with fold(), or train a LoRA adapter."),
        )
    name = name or adapter.name
    base = model.card.name
    target = store.adapters.folder(name)
    assert model.path is not None, "engine_of refuses models without a folder"
    engine_of(model)
    return WORKER.call(adapters.save, replace(adapter, name=name), model.path, base, target)
