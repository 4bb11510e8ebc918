"""The exercises of lab 05. Results are judged, not texts: what a trained model answers, and how a function computes.

Functions are tried on stored cases: right results, and those of common mistakes.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises.base import Exercise, NotYet, TryAgain, a_function, as_list, is_unfilled, kind, number
from labs_helper.tuning.checker import check_data, normal
from labs_helper.tuning.textbook import answer_of, question_of, trouble

# --- 5.1 A textbook of one's own -----------------------------------------------------------------------------

LEAST_EXAMPLES, LEAST_HELD_OUT, LEAST_PHRASINGS = 40, 8, 3


def _textbook(value: object) -> str:
    train, held_out = _two_sets(value)
    report = check_data(train, held_out)
    if report.findings:
        raise TryAgain(str(report.findings[0]))
    for what, count, least in (
        (_("examples to learn from"), len(train), LEAST_EXAMPLES),
        (_("held-out questions"), len(held_out), LEAST_HELD_OUT),
    ):
        if count < least:
            raise TryAgain(
                _("There are {count} {what}; write at least {least}.").format(count=count, what=what, least=least)
            )
    asked: dict[str, set[str]] = {}
    for example in train:
        asked.setdefault(normal(answer_of(example)), set()).add(normal(question_of(example)))
    for example in held_out:
        wanted = normal(answer_of(example))
        taught = [answer for answer in asked if wanted in answer]
        if not taught:
            raise TryAgain(
                _("{question!r} asks for {answer!r}, and no training answer says that: it cannot be learned.").format(
                    question=question_of(example), answer=answer_of(example)
                )
            )
        if max(len(asked[answer]) for answer in taught) < LEAST_PHRASINGS:
            raise TryAgain(
                _(
                    "Your textbook asks for the fact {answer!r} in fewer than {least} ways. From one way the model "
                    "learns a sentence."
                ).format(answer=answer_of(example), least=LEAST_PHRASINGS)
            )
    return _("A textbook: {train} examples about {facts} facts, and {held} questions in words it never saw.").format(
        train=len(train), facts=len(asked), held=len(held_out)
    )


def _two_sets(value: object) -> tuple[list[Any], list[Any]]:
    if isinstance(value, Mapping):
        if not {"train", "held_out"} <= set(value):
            raise TryAgain(_('Hand in a dict with the keys "train" and "held_out".'))
        value = (value["train"], value["held_out"])
    parts = as_list(value)
    if len(parts) != 2:
        raise TryAgain(_("Hand in two lists: what is learned, and what is held out."))
    train, held_out = (as_list(part, what=_("A set")) for part in parts)
    if is_unfilled(train):
        raise NotYet
    for example in (*train, *held_out):
        if why := trouble(example):
            raise TryAgain(_("An example has the wrong form: {why}. talk(question, answer) makes one.").format(why=why))
    return train, held_out


# --- 5.2 Where the loss counts -------------------------------------------------------------------------------


def _flag(value: Any) -> int:
    """0 or 1, from a number or from True and False, also NumPy's."""
    return int(value) if str(value) in ("True", "False") else int(number(value, _("Each part")))


def _counted(value: object) -> str:
    function = a_function(value, "counted")
    tried = stored.cases("5.2")
    targets = {_call_of_counted(*case.arguments): len(case.right) for case in tried}

    def read(answer: object, call: str) -> list[int]:
        flags = [_flag(flag) for flag in as_list(answer, what=call)]
        count = targets[call]
        if len(flags) == count + 1:
            raise TryAgain(
                _(
                    "{call} returned {flags}. There are {count} targets, not {length}: the first token is never "
                    "predicted."
                ).format(call=call, flags=flags, count=count, length=count + 1)
            )
        if len(flags) != count:
            raise TryAgain(
                _("{call} returned {flags}. It needs one number for each of the {count} targets.").format(
                    call=call, flags=flags[:20], count=count
                )
            )
        return flags

    diagnosis.judge(
        function,
        tried,
        {
            "exchanged": _("This counts the prompt and leaves the answer out. It is the other way round."),
            "first left out": _(
                "The first token of the answer is missing: it is the target of the prompt's last token."
            ),
            "one too early": _(
                "The last token of the prompt counts as well. Targets are one place further than inputs."
            ),
            "end left out": _("The last token is left out. It is <|end|>: without it the model never learns to stop."),
            "all": _("Everything counts, the prompt too."),
            "": _("Target number n is the token at place n. It counts if that place belongs to the answer."),
        },
        call=_call_of_counted,
        read=read,
        close=operator.eq,
    )
    return _("Right: the answer and its end count, and the question does not.")


def _call_of_counted(prompt: int, length: int) -> str:
    return f"counted({prompt}, {length})"


# --- 5.3 Numbers in an adapter ---------------------------------------------------------------------------------


def _adapter_size(value: object) -> str:
    function = a_function(value, "adapter_size")
    tried = stored.cases("5.3")
    diagnosis.judge(
        function,
        tried,
        {
            "full": _("That is the full matrices. Two thin ones replace them: in x rank, and rank x out."),
            "full times rank": _("In x rank and rank x out are two matrices: add them. Do not multiply in by out."),
            "A alone": _("That is A alone. B has rank x out numbers."),
            "B alone": _("That is B alone. A has in x rank numbers."),
            "no rank": _("The rank is missing."),
            "bytes": _("That is bytes. Count the numbers."),
            "": _("Each layer has A, in x rank, and B, rank x out. Add up all layers."),
        },
        call=lambda shapes, rank: f"adapter_size({_pairs(shapes)}, {rank})",
        made=lambda shapes, rank: (_pairs(shapes), rank),
        close=operator.eq,
    )
    return _("Right: {count:,} numbers for the four layers of a block at rank 8.").format(count=tried[0].right)


def _pairs(shapes: Iterable[Iterable[int]]) -> list[tuple[int, ...]]:
    return [tuple(shape) for shape in shapes]


# --- 5.4 Teach it without making it forget ---------------------------------------------------------------------

NEW_FLOOR, OLD_FLOOR, MOST_ADAPTER = 0.90, 0.95, 1_000_000
LEAST_ASKED = 20


def _lesson(value: object) -> str:
    if not isinstance(value, Mapping) or not {"new", "old", "taught"} <= set(value):
        raise TryAgain(_('Hand in a dict with "new" and "old", each from score(), and "taught" from wait().'))
    shares = {name: _share(value[name], name) for name in ("new", "old")}
    size = _adapter_bytes(value["taught"])
    if shares["new"] < NEW_FLOOR:
        raise TryAgain(
            _("New facts: {share:.2f} right, and {floor:.2f} are needed. Train longer, or with a larger rate.").format(
                share=shares["new"], floor=NEW_FLOOR
            )
        )
    if shares["old"] < OLD_FLOOR:
        raise TryAgain(
            _(
                "Old facts: {share:.2f} right, and {floor:.2f} are needed. Mix in more old examples, or lower the rate."
            ).format(share=shares["old"], floor=OLD_FLOOR)
        )
    if size > MOST_ADAPTER:
        raise TryAgain(
            _("The adapter has {size:,} bytes; at most {most:,} are allowed. Use a smaller rank.").format(
                size=size, most=MOST_ADAPTER
            )
        )
    return _("Taught: {new:.2f} of the new facts, {old:.2f} of the old ones, in {size:,.0f} kB.").format(
        new=shares["new"], old=shares["old"], size=size / 1000
    )


def _share(score: Any, name: str) -> float:
    """The share of right answers of a score, computed again from its answers."""
    if is_unfilled(score):
        raise NotYet
    passed, stopped = getattr(score, "passed", None), getattr(score, "stopped", None)
    if passed is None or stopped is None:
        raise TryAgain(
            _("{name!r} must be what score() returned. I was given {kind}.").format(name=name, kind=kind(score))
        )
    passed, stopped = as_list(passed), as_list(stopped)
    if len(passed) < LEAST_ASKED:
        raise TryAgain(
            _("{name!r} was measured on {count} questions. Ask at least {least}.").format(
                name=name, count=len(passed), least=LEAST_ASKED
            )
        )
    if not all(stopped):
        raise TryAgain(
            _("{count} answers of {name!r} do not end by themselves: the stop token was not learned.").format(
                count=sum(not end for end in stopped), name=name
            )
        )
    return sum(map(bool, passed)) / len(passed)


def _adapter_bytes(taught: Any) -> int:
    if is_unfilled(taught):
        raise NotYet
    adapter = getattr(taught, "adapter", taught)
    parameters = getattr(adapter, "parameters", None)
    if not isinstance(parameters, int):
        raise TryAgain(_('"taught" must be what wait() returned. I was given {kind}.').format(kind=kind(taught)))
    return 4 * parameters


# --- 5.5 Judge strictly ----------------------------------------------------------------------------------------


def _judge(value: object) -> str:
    function = a_function(value, "right")
    tried = stored.cases("5.5")
    for case in tried:
        answer, wanted = case.arguments
        call = f"right({answer!r}, {wanted!r})"
        verdict = bool(diagnosis.called(function, case.arguments, call))
        if verdict == case.right:
            continue
        if case.right:
            why = _("This is right: white space and a full stop around it change nothing.")
        elif wanted in answer:
            why = _("This contains the right digits, but others too. That is not the answer.")
        elif not answer:
            why = _("Nothing was said.")
        elif sorted(answer) == sorted(wanted):
            why = _("These are the right digits in another order.")
        else:
            why = _("Compare all digits, in their order.")
        raise TryAgain(_("{call} says {verdict}. {why}").format(call=call, verdict=verdict, why=why))
    return _("Right in all {count} cases: neither too kind nor too strict.").format(count=len(tried))


# --- 5.6 The loss of DPO ---------------------------------------------------------------------------------------


def _dpo(value: object) -> str:
    function = a_function(value, "dpo_loss")
    tried = stored.cases("5.6")
    sentences = {
        "sign": _("The sign is wrong: a larger margin must give a smaller loss."),
        "no model before": _("The model before is missing: what counts is how much each answer gained."),
        "no beta": _("beta is missing."),
        "margin": _("That is the margin. The loss is -ln sigmoid(margin)."),
        "sigmoid": _("That is sigmoid(margin). Take minus its logarithm."),
        "no minus": _("The minus before the logarithm is missing."),
        "": _("Margin: beta * ((better - better_before) - (worse - worse_before)). Loss: -ln sigmoid(margin)."),
    }
    try:
        # The last case overflows easily. What is wrong in the others as well is told first.
        for some in (tried[:-1], tried):
            diagnosis.judge(function, some, sentences, call=lambda *case: f"dpo_loss{case}")
    except TryAgain as problem:
        if not isinstance(problem.__cause__, OverflowError):
            raise
        raise TryAgain(
            _("{problem} The exp of a large number overflows. ln(1 + exp(-m)) is -m for m far below 0.").format(
                problem=problem
            )
        ) from problem
    return _("Right: ln 2 where nothing has changed, and less the more the better answer gains.")


# --- 5.7 What a fold has lost ----------------------------------------------------------------------------------


def _divergence(value: object) -> str:
    import numpy as np

    function = a_function(value, "divergence")
    tried = stored.cases("5.7")
    sentences = {
        "exchanged": _("The two are swapped: weigh with the shares of the first."),
        "sum": _("That is the sum of the rows. Take their mean."),
        "bits": _("That is in bits. Use the natural logarithm."),
        "sign": _("The sign is wrong: a divergence is never negative."),
        "over the vocabulary": _("Sum over the vocabulary, and take the mean over the rows only."),
        "": _("p = softmax(first), q = softmax(second), and for each row the sum of p * (ln p - ln q)."),
    }
    # The last case overflows easily. What is wrong in the others as well is told first.
    for some in (tried[:-1], tried):
        diagnosis.judge(
            function,
            some,
            sentences,
            call=lambda first, second: f"divergence({first}, {second})",
            made=lambda first, second: (np.array(first), np.array(second)),
            read=_one_number,
        )
    return _("Right: 0 for equal rows, and finite for large logits.")


def _one_number(answer: Any, call: str) -> float:
    """A number, also as an array with one element. Raises TryAgain for several, and for what is not finite."""
    size = getattr(answer, "size", None)
    if isinstance(size, int) and size > 1:
        raise TryAgain(
            _("{call} returned {count} numbers. Return one: the mean of the rows.").format(call=call, count=size)
        )
    if size == 1 and hasattr(answer, "item"):
        answer = answer.item()
    if isinstance(answer, float) and not math.isfinite(answer):
        raise TryAgain(_("{call} is not finite: exp(900) is too large. Subtract the maximum first.").format(call=call))
    return number(answer, call)


# --- 5.8 Bytes of a training -------------------------------------------------------------------------------------


def _training_bytes(value: object) -> str:
    function = a_function(value, "training_bytes")
    tried = stored.cases("5.8")
    diagnosis.judge(
        function,
        tried,
        {
            "count": _("That is the count. Each number takes 4 bytes."),
            "numbers alone": _("That is the numbers alone. Add a gradient and Adam's two means for each."),
            "two of four": _("That is numbers and gradients, or Adam's means alone. There are four in all."),
            "three of four": _("One of four is missing: the number, its gradient, and Adam's two means."),
            "": _("Four arrays of this many numbers, 4 bytes each."),
        },
        call=lambda trained: f"training_bytes({trained})",
        close=operator.eq,
        unit=_("bytes"),
    )
    return _("Right: {small:.1f} MB for this adapter, {large:.0f} GB if all of Phi-3.5-mini were trained.").format(
        small=tried[0].right / 1e6, large=tried[1].right / 1e9
    )


# Long because it is a list: title and hints of each exercise.
def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 05, in their order, with titles and hints in the learner's language."""
    return (
        Exercise(
            "5.1",
            _("Write a textbook of your own"),
            _textbook,
            (
                _("Begin with facts as dicts and three questions or more with names in braces. fill() does the rest."),
                _("Hold out phrasings, not facts: the same facts, asked in words that are not in the training set."),
                _('{"train": fill(ask, answer, facts), "held_out": fill(held, "{value}", facts)}'),
            ),
        ),
        Exercise(
            "5.2",
            _("Mark the tokens that count"),
            _counted,
            (
                _("Inputs are ids[:-1], targets are ids[1:]. Target number n is the token at place n, from 1 on."),
                _("[1 if place >= prompt else 0 for place in range(1, length)]"),
            ),
        ),
        Exercise(
            "5.3",
            _("Count the numbers of an adapter"),
            _adapter_size,
            (
                _("A turns `in` numbers into `rank` numbers, B turns those into `out` numbers."),
                _("sum(rank * (inner + outer) for inner, outer in shapes)"),
            ),
        ),
        Exercise(
            "5.4",
            _("Teach it without making it forget"),
            _lesson,
            (
                _("Mix old examples in, with the model's own answers. Three quarters of them are not too many."),
                _("A smaller rate moves the old less, and needs more steps."),
            ),
        ),
        Exercise(
            "5.5",
            _("Judge strictly"),
            _judge,
            (
                _("Take white space and a full stop off the ends, and cut both texts into words."),
                _('answer.strip().rstrip(".").split() == wanted.split()'),
            ),
        ),
        Exercise(
            "5.6",
            _("Write the loss of DPO"),
            _dpo,
            (
                _("First the margin: beta times the gain of the better answer less the gain of the worse one."),
                _("-ln sigmoid(m) is ln(1 + exp(-m)). NumPy's logaddexp(0, -m) also copes with m far below 0."),
            ),
        ),
        Exercise(
            "5.7",
            _("Measure how far two models are apart"),
            _divergence,
            (
                _("ln softmax of a row: the row less its maximum, less the logarithm of the sum of exp of that."),
                _("(exp(p) * (p - q)).sum(axis=-1).mean() with p and q as logarithms"),
            ),
        ),
        Exercise(
            "5.8",
            _("Count the bytes of a training"),
            _training_bytes,
            (
                _("Every number that learns has a gradient, and Adam keeps a mean of it and a mean of its square."),
                _("4 bytes x 4 arrays x the count"),
            ),
        ),
    )
