"""What is wrong with a textbook before anything is trained: length, doubles, leaks, templates, missing answers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labs_helper.common.translate import _, _n
from labs_helper.tuning.textbook import answer_of, question_of, trouble

_MARKS = re.compile(r"<\|\w+\|>|\[/?INST\]|</?s>|###\s*(Instruction|Response)", re.IGNORECASE)
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing about a textbook.

    Attributes:
        kind: "form", "double", "contradiction", "leak", "length" or "marks".
        words: a sentence.
        examples: the places of the examples, from 1.
    """

    kind: str
    words: str
    examples: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.examples:
            return self.words
        shown = ", ".join(map(str, self.examples[:_SHOWN])) + (" ..." if len(self.examples) > _SHOWN else "")
        return _("{words} (examples {numbers})").format(words=self.words, numbers=shown)


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found.

    Attributes:
        findings: empty if all is well.
        count, held_out: how many examples there are.
        tokens: of each example, if they could be counted.

    Example:
        check_data(train, held_out).ok
    """

    findings: tuple[Finding, ...]
    count: int
    held_out: int
    tokens: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        sizes = _("{count} examples to learn from, {held_out} held out").format(
            count=self.count, held_out=self.held_out
        )
        if self.tokens:
            sizes += _(", {least} to {most} tokens each").format(least=min(self.tokens), most=max(self.tokens))
        if self.ok:
            return _("{sizes}. Nothing is wrong with their form.").format(sizes=sizes)
        return "\n".join([f"{sizes}.", *(f"- {finding}" for finding in self.findings)])

    __repr__ = __str__


def check_data(
    train: Sequence[Any],
    held_out: Sequence[Any] = (),
    *,
    count: Callable[[Any], int] | None = None,
    longest: int = 1024,
) -> DataReport:
    """Look at a textbook before it is trained on. Raises nothing: what is wrong is in the report.

    Args:
        train: what the model will learn from.
        held_out: what it will be asked afterwards.
        count: gives the tokens of an example; None leaves lengths out.
        longest: tokens that an example may have.

    Example:
        check_data(train, held_out, count=lambda example: model.count_tokens(question_of(example)))
    """
    findings = list(_forms(train, _("Training")))
    findings += _forms(held_out, _("Held-out"))
    good = [(place, example) for place, example in enumerate(train, 1) if not trouble(example)]
    findings += _doubles(good)
    findings += _leaks(good, [example for example in held_out if not trouble(example)])
    findings += _marks(good)
    tokens: tuple[int, ...] = ()
    if count is not None and good:
        tokens = tuple(count(example) for _place, example in good)
        long = tuple(place for (place, _example), size in zip(good, tokens) if size > longest)
        if long:
            words = _n(
                "{number} example is longer than {longest} tokens: its end would be cut off.",
                "{number} examples are longer than {longest} tokens: their ends would be cut off.",
                len(long),
            )
            findings.append(Finding("length", words.format(number=len(long), longest=longest), long))
    return DataReport(tuple(findings), len(train), len(held_out), tokens)


def _forms(examples: Sequence[Any], which: str) -> list[Finding]:
    if not examples:
        return [] if which != _("Training") else [Finding("form", _("There is no example to learn from."))]
    wrong: dict[str, list[int]] = {}
    for place, example in enumerate(examples, 1):
        if why := trouble(example):
            wrong.setdefault(why, []).append(place)
    return [
        Finding("form", _("{which} example: {why}.").format(which=which, why=why), tuple(places))
        for why, places in wrong.items()
    ]


def normal(text: str) -> str:
    """A text without case, punctuation and double spaces, to compare what people would call the same.

    Example:
        normal("Where  does Ana live?") == normal("where does ana live")      # True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w\s]", " ", folded).split())


def _doubles(examples: Sequence[tuple[int, Mapping[str, Any]]]) -> list[Finding]:
    asked: dict[str, dict[str, list[int]]] = {}
    for place, example in examples:
        system = "".join(m["content"] for m in example["messages"][:-2])  # what came before the question
        key = normal(system + " " + question_of(example))  # type: ignore[arg-type]
        asked.setdefault(key, {}).setdefault(normal(answer_of(example)), []).append(place)  # type: ignore[arg-type]
    findings = []
    double = tuple(place for answers in asked.values() for places in answers.values() for place in places[1:])
    if double:
        words = _n("{number} example is there twice.", "{number} examples are there twice.", len(double))
        findings.append(Finding("double", words.format(number=len(double)), double))
    torn = tuple(places[0] for answers in asked.values() if len(answers) > 1 for places in answers.values())
    if torn:
        findings.append(Finding("contradiction", _("One question has different answers."), torn))
    return findings


def _leaks(train: Sequence[tuple[int, Any]], held_out: Sequence[Any]) -> list[Finding]:
    asked = {normal(question_of(example)) for example in held_out}
    leaked = tuple(place for place, example in train if normal(question_of(example)) in asked)
    if not leaked:
        return []
    words = _n(
        "{number} training question is in the held-out set: it would measure memory.",
        "{number} training questions are in the held-out set: it would measure memory.",
        len(leaked),
    )
    return [Finding("leak", words.format(number=len(leaked)), leaked)]


def _marks(examples: Sequence[tuple[int, Any]]) -> list[Finding]:
    marked = tuple(
        place
        for place, example in examples
        if any(_MARKS.search(message["content"]) for message in example["messages"])
    )
    if not marked:
        return []
    words = _("A text holds marks of a chat template, such as <|end|>. The template adds them by itself.")
    return [Finding("marks", words, marked)]
